"""The tables of `make soak`: rows of what was not run stay, and a report is summed up right."""

import xml.etree.ElementTree as ET

import pytest
import soak

HEAD = ("part", "what", "result")
REPORT = """
<testsuites><testsuite>
  <testcase name="a" time="1.5"><properties><property name="faults" value="[]"/></properties></testcase>
  <testcase name="b" time="2"><failure message="no"/></testcase>
  <testcase name="c" time="0.5"><skipped message="no GPU"/></testcase>
  <testcase name="d" time="0"><error message="no server"/></testcase>
</testsuite></testsuites>
"""


def test_a_table_keeps_other_rows_and_the_text(tmp_path):
    path = tmp_path / "soak.md"
    path.write_text("# Soak\n\nWhat was done.\n")
    soak.keep(path, HEAD, ("kafka", "`a`", "1 failed"), 2)
    soak.keep(path, HEAD, ("store", "`b`", "2 passed"), 2)
    soak.keep(path, HEAD, ("kafka", "`a`", "1 passed"), 2)
    assert soak.read_table(path) == [("kafka", "`a`", "1 passed"), ("store", "`b`", "2 passed")]
    assert path.read_text().startswith("# Soak\n\nWhat was done.\n\n| part | what | result |\n")
    assert [one.name for one in tmp_path.iterdir()] == ["soak.md"]


def test_a_report_is_summed_up():
    outcomes, seconds, properties = soak.summary(ET.fromstring(REPORT).iter("testcase"))
    assert outcomes == {"passed": 1, "failed": 2, "skipped": 1}
    assert seconds == 4.0
    assert properties == [("faults", "[]")]
    assert not soak.is_fine(outcomes)
    assert soak.is_fine({"passed": 1, "failed": 0, "crashed": 0})


@pytest.mark.slow
def test_what_a_test_records_is_in_the_report(tmp_path):
    path = tmp_path / "test_one.py"
    path.write_text("def test_one(record_property):\n    record_property('faults', '[]')\n")
    outcomes, _, properties = soak.run_tests("-c", "pyproject.toml", str(path))
    assert (outcomes, properties) == ({"passed": 1}, [("faults", "[]")])


def test_every_slow_test_and_every_benchmark_is_in_a_part():
    files = {name for part in soak.PARTS for name, _ in soak.tasks(part)}
    programs = {f"tests/benchmarks/{path.name}" for path in (soak.ROOT / "tests/benchmarks").glob("*.py")}
    assert programs <= files
    marked = {
        path.relative_to(soak.ROOT).as_posix()
        for path in (soak.ROOT / "tests").rglob("test_*.py")
        if any(f"mark.{marker}" in path.read_text("utf-8") for marker in ("slow", "server", "soak"))
    }
    assert marked - files <= {
        f"tests/test_{name}.py" for name in ("benchmarks", "docs", "house", "readme", "site", "soak")
    }


def test_the_innermost_folder_says_the_part():
    assert soak.part_of("tests/encoder/test_model.py") == "encoder"
    assert soak.part_of("tests/encoder/store/test_cloud.py") == "store"
    assert soak.part_of("tests/test_docs.py") is None


def test_what_passed_today_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "TABLE", tmp_path / "soak.md")
    monkeypatch.setattr(soak, "FAULTS_TABLE", tmp_path / "faults.md")
    soak.keep(soak.TABLE, soak.HEAD, ("store", "`a`", "1 passed", "3", soak.today()), 2)
    soak.keep(soak.TABLE, soak.HEAD, ("store", "`b`", "1 failed, 1 passed", "3", soak.today()), 2)
    soak.keep(soak.TABLE, soak.HEAD, ("store", "`c`", "1 passed", "3", "2026-01-01"), 2)
    fine = ("1", "10", "0", "4", "0", "0", "0")
    soak.keep(soak.FAULTS_TABLE, soak.FAULTS_HEAD, ("SIGTERM, at least once", *fine, soak.today()), 1)
    soak.keep(soak.FAULTS_TABLE, soak.FAULTS_HEAD, ("SIGTERM", "1", "10", "2", *fine[3:], soak.today()), 1)
    assert soak.passed_today() == {"a", "SIGTERM, at least once"}
