"""What CI did: the seconds of each step, and the slowest tests.

report.py FOLDER    with steps.tsv (seconds, step) and JUnit's reports (*.xml)
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

SLOWEST = 20


def main(folder: Path) -> None:
    steps = [line.split("\t") for line in (folder / "steps.tsv").read_text().splitlines()]
    print(f"{'seconds':>8}  step")
    for seconds, step in steps:
        print(f"{seconds:>8}  {step}")
    print(f"{sum(int(seconds) for seconds, _ in steps):>8}  all\n")
    tests = [
        (float(case.get("time", 0)), report.stem, f"{case.get('classname')}.{case.get('name')}")
        for report in sorted(folder.glob("*.xml"))
        for case in ET.parse(report).getroot().iter("testcase")
    ]
    print(f"{'seconds':>8}  the {SLOWEST} slowest of {len(tests)} tests")
    for seconds, run, name in sorted(tests, reverse=True)[:SLOWEST]:
        print(f"{seconds:>8.1f}  {run}: {name}")


main(Path(sys.argv[1]))
