"""The full counts of what CI does little of, and all benchmarks: `make soak`, or `make soak ONLY=kafka`.

python tests/soak.py [--only PART,PART] [--again]

Runs every file of tests with `MILLSTREAM_SOAK=1`, and every benchmark as a program. After each it writes
the results into the tables of docs/notes/soak.md and docs/notes/worker-faults.md, so you can stop it at any
time: what passed today does not run again, unless you give `--again`. Rows of parts that do not run stay.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from faults.scenarios import SCENARIOS

ROOT = Path(__file__).parents[1]
FAULTS_TEST = "tests/pipelines/worker/test_faults.py"
FAULTS_TABLE, TABLE = ROOT / "docs/notes/worker-faults.md", ROOT / "docs/notes/soak.md"
COUNTS = ("records", "lost", "repeated", "dead_wrong", "dead_repeated", "restarts")
FAULTS_HEAD = ("scenario", "faults", "records", "lost", "repeated", "letters wrong", "letters repeated")
FAULTS_HEAD += ("restarts", "run on")
HEAD = ("part", "what", "result", "seconds", "run on")
FOLDERS = {  # whose tests belong to which part; the innermost folder counts
    "tests/deploy": "kafka",
    "tests/distill": "quality",
    "tests/encoder": "encoder",
    "tests/encoder/store": "store",
    "tests/engines": "engines",
    "tests/pipelines": "store",
    "tests/pipelines/beam": "engines",
    "tests/pipelines/cli": "kafka",
    "tests/pipelines/demo": "kafka",
    "tests/pipelines/kafka": "kafka",
    "tests/pipelines/worker": "kafka",
}
PARTS = {  # their benchmarks
    "kafka": ["worker.py", "latency.py", "formats.py", "tables.py"],
    "engines": ["backfill.py", "beam.py", "scale.py", "dataframes.py", "spark.py"],
    "encoder": [
        "encoder.py",
        "start.py",
        "threads.py",
        "browser.py",
        "masks.py",
        "groups.py",
        "drift.py",
        "cases.py",
    ],
    "store": ["trust.py"],
    "quality": ["distill.py", "teacher.py", "corpus_memory.py", "domain.py", "quality.py"],
}


def read_table(path):
    """The cells of the rows of the table in a file; no rows if there is no file."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line[:2] == "| "]
    return rows[1:]


def write_table(path, head, rows):
    """Put a table where the old one was: behind the text of the file."""
    text = path.read_text("utf-8").partition("\n|")[0].rstrip() if path.exists() else f"# {path.stem}"
    first, *others = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    lines = [first, "|" + "---|" * len(head), *others]
    new = path.with_suffix(".new")
    new.write_text("\n".join([text, "", *lines, ""]), "utf-8")
    new.replace(path)


def keep(path, head, row, key):
    """Put a row into a table: in the place of the one with the same first `key` cells, or at the end."""
    rows = {one[:key]: one for one in read_table(path)}
    rows[row[:key]] = row
    write_table(path, head, rows.values())


def run_tests(*arguments):
    """Run tests in full counts.

    Returns:
        How many had which outcome, the seconds that they took, and the properties that they recorded.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-m", "", *arguments]
        command += ["-o", "junit_family=xunit1"]  # the other one has no properties
        environment = {**os.environ, "MILLSTREAM_SOAK": "1", "PYTEST_ADDOPTS": ""}
        subprocess.run(command, cwd=ROOT, env=environment, check=False)
        if not report.exists():
            return Counter(crashed=1), 0.0, []
        return summary(ET.parse(report).getroot().iter("testcase"))


def summary(cases):
    """The outcomes, seconds and properties of the test cases of a JUnit report."""
    outcomes, seconds, properties = Counter(), 0.0, []
    for case in cases:
        tags = {child.tag for child in case}
        outcomes[
            "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        ] += 1
        seconds += float(case.get("time"))
        properties += [(one.get("name"), one.get("value")) for one in case.iter("property")]
    return outcomes, seconds, properties


def is_fine(outcomes):
    return not outcomes["failed"] and not outcomes["crashed"]


def today():
    return dt.datetime.now(tz=dt.UTC).date().isoformat()


def soak_file(part, path):
    """Run one file of tests; whether nothing failed."""
    outcomes, seconds, _ = run_tests(path)
    said = ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items()))
    keep(TABLE, HEAD, (part, f"`{path}`", said, f"{seconds:.0f}", today()), 2)
    return is_fine(outcomes)


def soak_fault(name):
    """Run one scenario of faults; whether nothing failed."""
    outcomes, _, properties = run_tests(
        f"{FAULTS_TEST}::test_nothing_is_lost_and_nothing_comes_twice[{name}]"
    )
    for key, value in properties:
        if key == "faults":
            _, times, verdict = json.loads(value)
            cells = [str(times), *(str(verdict[count]) for count in COUNTS)]
            keep(FAULTS_TABLE, FAULTS_HEAD, (name, *cells, today()), 1)
    return is_fine(outcomes)


def soak_benchmark(part, name):
    """Run one benchmark; whether it reached its goals."""
    figures = ROOT / "build/bench" / Path(name).with_suffix(".json").name
    begin = time.monotonic()
    command = [sys.executable, f"tests/benchmarks/{name}", "--json", str(figures)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    said = "goals reached" if code == 0 else f"failed with {code}"
    what = f"`tests/benchmarks/{name}`"
    keep(TABLE, HEAD, (part, what, said, f"{time.monotonic() - begin:.0f}", today()), 2)
    return code == 0


def passed_today():
    """What need not run again: files, programs and scenarios."""
    date = today()
    rows = [row for row in read_table(TABLE) if row[-1] == date and "failed" not in row[2]]
    faults = {
        name
        for name, _, _, lost, repeated, wrong, wrong_repeated, _, run_on in read_table(FAULTS_TABLE)
        if run_on == date and lost == wrong == "0"
        if name.endswith("at least once") or repeated == wrong_repeated == "0"
    }
    return {row[1].strip("`") for row in rows} | faults


def part_of(path):
    """The part of a file of tests; None for one that has no full counts."""
    folders = [folder for folder in FOLDERS if path.startswith(f"{folder}/")]
    return FOLDERS[max(folders, key=len)] if folders else None


def tasks(part):
    """What a part does: (name, function that does it)."""
    found = (path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    for path in (path for path in found if part_of(path) == part):
        if path == FAULTS_TEST:
            yield from ((name, lambda name=name: soak_fault(name)) for name in SCENARIOS)
        yield path, lambda path=path: soak_file(part, path)
    for name in PARTS[part]:
        yield f"tests/benchmarks/{name}", lambda name=name: soak_benchmark(part, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--again", action="store_true", help="also what passed today")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part {unknown.pop()!r}: there are {', '.join(PARTS)}")
    failed = []
    for part in parts:
        for name, do in tasks(part):
            if not options.again and name in passed_today():
                continue
            print(f"== {part}: {name}", flush=True)
            if not do():
                failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
