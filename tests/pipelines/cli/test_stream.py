"""`millstream stream` in this process; on engines it is tested in `tests/engines`."""

import json

import numpy as np
import pytest

N = 60
START = 1_800_000_000


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(3):
        records = [{"id": i, "text": f"login failed {i}", "at": START + i} for i in range(k, N, 3)]
        lines = [json.dumps(record) for record in records] + ["broken", '{"id": 99, "text": "paid"}']
        (tmp_path / f"in/{k}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def stream(millstream, folder, model):
    def run(*arguments):
        own = ("--model", model, "--input", f"files:{folder / 'in'}", "--output", f"parquet:{folder / 'out'}")
        times = ("--event-time", "at", "--window", "10s", "--out-of-orderness", "1h", "--idle", "1h")
        return millstream("stream", *own, *times, *arguments)

    return run


def test_records_are_written_by_windows(stream, folder, rows, matrix, encoder, letters):
    assert stream("--stop-at-end", "--keep", "id,text").code == 0
    names = sorted(path.name for path in (folder / "out").glob("*.parquet"))
    assert names == [f"window-20270115T0800{second}0Z-10s-00000.parquet" for second in range(6)]
    found = rows(folder / "out")
    assert found.column_names == ["id", "text", "embedding", "model_version"]
    assert found["id"].to_pylist() == list(range(N))
    assert np.array_equal(matrix(found), encoder.encode(found["text"]))
    reasons = sorted(letter["reason"] for letter in letters(folder / "out"))
    assert reasons[:3] == ["no event time in the field at"] * 3
    assert len(reasons) == 6


def test_the_same_command_writes_the_same_files(stream, folder):
    read = lambda: {path: path.read_bytes() for path in folder.glob("out/**/*.*") if path.is_file()}
    assert stream("--stop-at-end").code == 0
    before = read()
    assert stream("--stop-at-end").code == 0
    assert read() == before


def test_the_old_name_of_out_of_orderness_still_works_and_is_not_shown(stream, millstream):
    ended = stream("--stop-at-end", "--disorder", "soon")
    assert "--out-of-orderness 'soon' is no duration" in ended.err.splitlines()[-1]
    shown = millstream("stream", "--help").out
    assert "--out-of-orderness" in shown
    assert "--disorder" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "writes windows only when the source ends: add --stop-at-end, or name another runner"),
        (("--stop-at-end", "--window", "soon"), "--window 'soon' is no duration: write 30s, 5m, 1h or 2d"),
        (("--stop-at-end", "--follow", "latest"), "never changes: to follow a model"),
        (("--stop-at-end", "--", "--runner=NoRunner"), "Beam cannot use the options after --"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, says, stream):
    ended = stream(*arguments)
    assert ended.code == 2
    assert says in ended.err.splitlines()[-1]
