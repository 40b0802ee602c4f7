"""Real logs and events are read whole, whatever the cut."""

import csv
import json
import zipfile
from pathlib import Path

import pytest

from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file

DATA = Path(__file__).parents[5] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real inputs are not at {DATA}")


def column(pattern, name, target_bytes, chunk_rows, form=None):
    files = find_inputs(str(pattern), form)
    schema = infer_schema(files, [name], [])
    parts = [
        c for file in files for s in split_file(file, target_bytes) for c in read_split(s, schema, chunk_rows)
    ]
    assert not [bad for part in parts for bad in part.bad]
    assert sum(part.n_bytes for part in parts) == sum(file.size for file in files)
    return [value for part in parts for value in part.batch.column(0).to_pylist()]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [(10_000, 333), (1 << 25, 65_536)])
def test_logs_and_their_tables_are_read_as_python_reads_them(cut):
    logs = sorted(DATA.glob("loghub/*/*.log"))
    expected = [line for log in logs for line in log.read_bytes().decode().removesuffix("\n").split("\n")]
    assert column(DATA / "loghub/*/*.log", "text", *cut) == [line.removesuffix("\r") for line in expected]
    contents = []
    for table in sorted(DATA.glob("loghub/*/*_structured.csv")):
        with table.open(newline="", encoding="utf-8") as file:
            contents += [row["Content"] for row in csv.DictReader(file)]
    assert column(DATA / "loghub/*/*_structured.csv", "Content", *cut) == contents


@pytest.mark.slow
def test_windows_events_are_read_as_python_reads_them(tmp_path):
    with zipfile.ZipFile(next(DATA.glob("events/empire*.zip"))) as archive:
        archive.extractall(tmp_path)
    [path] = tmp_path.glob("*.json")
    expected = [json.loads(line).get("Message") for line in path.read_bytes().splitlines()]
    assert column(tmp_path, "Message", 1 << 20, 1000) == expected
    assert column(DATA / "events/nginxplus_json_logs", "requests.total", 100_000, 7, "jsonl")[0]["total"] > 0
