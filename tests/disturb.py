"""A bad machine: runs a command beside busy loops, and stops its processes at random.

python tests/disturb.py [--loops N] [--seed N] COMMAND ARGUMENT…

While the command runs, N processes burn the cores, and every few seconds one of the processes below the
command is stopped (SIGSTOP) for up to 3 s. The exit code is that of the command.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

from engines.processes import children

LONGEST_STOP = 3.0  # seconds
LONGEST_PAUSE = 4.0  # between two stops


def descendants(pid):
    """The processes below one, at this moment."""
    found = []
    with suppress(OSError):  # it has ended
        found = children(pid)
    return [*found, *(one for child in found for one in descendants(child))]


def stop_for_a_while(pid, seconds):
    """Stop a process, and let it go on."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    dice, stops = random.Random(options.seed), 0
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.loops)]
    process = subprocess.Popen(options.command, stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            time.sleep(dice.uniform(0.5, LONGEST_PAUSE))
            if victims := descendants(process.pid):
                stop_for_a_while(dice.choice(victims), dice.uniform(0.1, LONGEST_STOP))
                stops += 1
    finally:
        process.kill()
        for loop in loops:
            loop.kill()
    sys.stderr.write(f"disturbed by {options.loops} busy loops and {stops} stops\n")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
