"""Groups of log lines beside Drain3: how many lines are grouped right, and how fast.

    python tests/benchmarks/groups.py [--logs FOLDER] [--rounds 7] [--json FILE]

FOLDER is loghub's (github.com/logpai/loghub), or one like it: `*/*_structured.csv` with the columns `Content`
and `EventId`. Both group the same masked lines, each system by itself; Drain3 (`pip install drain3`) has its
defaults and is left out where it is not installed.

Grouping accuracy is the share of lines whose group has exactly the lines of their event; its F1 counts groups
instead of lines. Rates are CPU time of one thread, the median of interleaved rounds: Millstream finds the
groups of lines, Drain3 matches them to the clusters that it has learned. The goals are a grouping accuracy
0.05 above Drain3's, an F1 and an adjusted Rand index not below, and ten times its rate; exit code 1 says that
one was missed.
"""

import argparse
import csv
import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]

import numpy as np
import pyarrow as pa
from sklearn.metrics import adjusted_rand_score

from distill.heads.groups import fit_groups, templates_of
from distill.heads.sequences import Sequences
from encoder.arrays.texts import read_texts
from encoder.heads.scoring import Heads
from encoder.masks import KINDS, Masks

DATA = ROOT.parent / "shared/data/loghub"
DIM = 2  # groups without vectors need none
LEAST = 20_000  # lines of a round
FIGURES = ("grouping accuracy", "F1", "Rand index")
GOALS = {"grouping accuracy": 0.05, "F1": 0.0, "Rand index": 0.0}
RATE_GOAL = 10


def quality(events, groups):
    """Grouping accuracy, its F1, and the adjusted Rand index."""
    pairs = Counter(zip(events, groups, strict=True))
    of_event, of_group = Counter(events), Counter(groups)
    same = [(event, n) for (event, one), n in pairs.items() if n == of_event[event] == of_group[one]]
    f1 = 2 * len(same) / (len(of_event) + len(of_group))
    return sum(n for _, n in same) / len(events), f1, adjusted_rand_score(events, groups)


class Millstream:
    """Groups of lines: fitted once, then found."""

    def __init__(self, lines):
        sequences = Sequences()
        for part in read_texts(pa.array(lines, pa.large_string())):
            sequences.add(part)
        self.heads = Heads([fit_groups("event", templates_of(sequences), DIM)])
        self.texts = pa.array(lines * -(-LEAST // len(lines)), pa.large_string())
        self.vectors = np.zeros((len(self.texts), DIM), np.float32)

    def groups(self, lines):
        (found,) = self.heads(self.vectors[: len(lines)], lines)
        return found.group.tolist()

    def find(self):
        self.heads(self.vectors, self.texts)
        return len(self.texts)


class Drain3:
    """Clusters of lines: learned one after the other, then matched."""

    def __init__(self, lines):
        from drain3.drain import Drain

        logging.disable(logging.INFO)
        self.drain, self.lines = Drain(), lines
        self.learned = [self.drain.add_log_message(line)[0].cluster_id for line in lines]

    def groups(self, _lines):
        return self.learned

    def find(self):
        for line in self.lines:
            self.drain.match(line)
        return len(self.lines)


def measure(lines, events, ways, rounds):
    """The figures of each way, and lines a second, `(rounds,)`."""
    made = {name: way(lines) for name, way in ways.items()}
    rates = {name: [] for name in made}
    for one in made.values():
        one.find()
    for _ in range(rounds):
        for name, one in made.items():
            start = time.process_time()
            n = one.find()
            rates[name].append(n / (time.process_time() - start))
    figures = {name: quality(events, one.groups(lines)) for name, one in made.items()}
    return {
        name: {**dict(zip(FIGURES, figures[name], strict=True)), "lines/s": float(np.median(rates[name]))}
        for name in made
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--logs", type=Path, default=DATA, help="loghub's folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tables = sorted(options.logs.glob("*/*_structured.csv"))
    if not tables:
        parser.error(f"{options.logs} has no */*_structured.csv")
    ways = {"Millstream": Millstream, "Drain3": Drain3}
    try:
        import drain3  # noqa: F401 - whether it is there
    except ImportError:
        print("Drain3 is not installed: pip install drain3", file=sys.stderr)
        del ways["Drain3"]
    systems = {}
    for path in tables:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.DictReader(file))
        lines = Masks(KINDS)([row["Content"] for row in rows]).to_pylist()
        systems[path.parent.name] = measure(lines, [row["EventId"] for row in rows], ways, options.rounds)
    columns = (*FIGURES, "lines/s")
    means = {
        way: {name: float(np.mean([one[way][name] for one in systems.values()])) for name in columns}
        for way in ways
    }
    print(f"{'':12}{'':12}" + "".join(f"{name:>20}" for name in columns))
    for system, found in {**systems, "mean": means}.items():
        for way, figures in found.items():
            shown = "".join(f"{figures[name]:20.3f}" for name in FIGURES)
            print(f"{system:12}{way:12}{shown}{figures['lines/s']:20,.0f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"systems": systems, "mean": means}))
    if "Drain3" not in ways:
        return 0
    ours, theirs = means["Millstream"], means["Drain3"]
    missed = [name for name, more in GOALS.items() if ours[name] < theirs[name] + more]
    missed += ["lines/s"] * (ours["lines/s"] < RATE_GOAL * theirs["lines/s"])
    print(f"goals missed: {', '.join(missed) or 'none'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
