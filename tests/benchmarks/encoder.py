"""The encoder beside its peers on one core, on the same tables: records a second, and the goals.

    python tests/benchmarks/encoder.py [--environments] [--json FILE] [--plot FILE.svg]

Each system is a process of its own, pinned to the same core. In a round they take turns, so that all meet the
same machine; a turn is as many texts as the system does in about `--seconds`. Shown are the medians of the
rounds. Before that, ours must give model2vec's vectors and the ids of `tokenizers`. Exits with 1 when a goal
is missed; the goals hold for one core of the machine that docs/notes/encoder-benchmark.md names.

Log lines and sentences are those of ../shared/data; without it name files: --texts 'log lines=FILE'
--texts sentences=FILE. A run takes some minutes, and the first one some more to make the tables.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from benchmarks.speed.cases import CASES, GROUPS
from benchmarks.speed.goals import goals
from benchmarks.speed.plot import plot
from benchmarks.speed.processes import OWN_ENVIRONMENTS, install, versions
from benchmarks.speed.report import report
from benchmarks.speed.texts import load_texts
from tokenizers import Tokenizer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds; the figures are rough")
    parser.add_argument("--cases", default=",".join(GROUPS), help="groups, of " + ", ".join(GROUPS))
    parser.add_argument("--texts", action="append", default=[], metavar="KIND=FILE", help="a text a line")
    parser.add_argument("--most", type=int, default=200_000, help="texts of a kind")
    parser.add_argument("--model", type=Path, help="a folder instead of the distilled all-MiniLM-L6-v2")
    parser.add_argument(
        "--environments", action="store_true", help="make those of " + ", ".join(OWN_ENVIRONMENTS)
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a system's turn in a round, about")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build/bench", help="for tables and environments"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw the main cases: .svg, .png or .pdf")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.seconds = options.seconds or (0.02 if options.quick else 0.25)
    options.cases = options.cases.split(",")
    if unknown := set(options.cases) - set(GROUPS):
        parser.error(f"no cases named {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    options.texts = {kind: Path(file) for kind, _, file in (text.partition("=") for text in options.texts)}
    if missing := [file for file in options.texts.values() if not file.is_file()]:
        parser.error(f"--texts is KIND=FILE, and there is no file {missing[0]}")
    return options


def model_folder(case, base, texts, folder):
    from benchmarks.speed.tables import other_table, other_tokenizer

    if case.tokenizer == "WordPiece":
        return str(other_table(base, folder, case.dtype, case.dim))
    return str(other_tokenizer(case.tokenizer, texts["sentences"], folder, case.dim))


def run_cases(options, scratch):
    from benchmarks.speed.measure import entries, measure
    from benchmarks.speed.tables import distilled, other_table

    base = options.model or distilled(options.folder)
    texts = load_texts(options.texts, Tokenizer.from_file(f"{base}/tokenizer.json"), options.most)
    cases = [case for case in CASES if case.group in options.cases]
    folders = {case: model_folder(case, base, texts, options.folder) for case in cases}
    float32 = str(other_table(base, options.folder, "float32", 256))
    os.sched_setaffinity(0, {options.core})  # the workers inherit it
    results = []
    for case in cases:
        print(f"{len(results) + 1} of {len(cases)}: {case.name}", file=sys.stderr, flush=True)
        systems = list(entries(case, folders[case], float32, options.folder))
        results.append(measure(case, systems, texts, scratch, options))
    return results


def machine():
    """The processor's name, and how many of its cores there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", platform.processor() or platform.machine())
    family = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else ""
    return f"one core of {name}{family}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def main():
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.environments:
        for requirement in OWN_ENVIRONMENTS:
            install(options.folder, requirement)
    with tempfile.TemporaryDirectory() as scratch:
        results = run_cases(options, Path(scratch))
    found = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(),
        "versions": versions(),
        "method": f"median of {options.rounds} rounds of about {options.seconds:g} s a system, "
        "all of the same texts save where each is done once",
        "cases": results,
        "goals": goals(results),
    }
    print(report(found))
    for file in filter(None, (options.json, options.plot)):
        file.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if options.plot:
        plot(found, options.plot)
    sys.exit(0 if all(goal["reached"] for goal in found["goals"]) else 1)


if __name__ == "__main__":
    main()
