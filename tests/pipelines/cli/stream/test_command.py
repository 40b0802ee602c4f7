"""`millstream stream` in this process; on engines it is tested in `tests/engines`."""

import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

N = 60
START = 1_705_305_600


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


@pytest.mark.slow
def test_records_are_written_by_windows(stream, folder, rows, matrix, encoder, letters):
    assert stream("--stop-at-end", "--keep", "id,text").code == 0
    names = sorted(path.name for path in (folder / "out").glob("*.parquet"))
    assert names == [f"window-20240115T0800{second}0Z-10s-00000.parquet" for second in range(6)]
    found = rows(folder / "out")
    assert found.column_names == ["id", "text", "embedding", "model_version"]
    assert found["id"].to_pylist() == list(range(N))
    assert np.array_equal(matrix(found), encoder.encode(found["text"]))
    reasons = sorted(letter["reason"] for letter in letters(folder / "out"))
    assert reasons[:3] == ["no event time in the field at"] * 3
    assert len(reasons) == 6


@pytest.mark.slow
def test_the_same_command_writes_the_same_files(stream, folder):
    read = lambda: {path: path.read_bytes() for path in folder.glob("out/**/*.*") if path.is_file()}
    assert stream("--stop-at-end").code == 0
    before = read()
    assert stream("--stop-at-end").code == 0
    assert read() == before


def write(folder, name, *records):
    (folder / f"in/{name}.jsonl").write_text(
        "".join(json.dumps({"text": "paid", **record}) + "\n" for record in records)
    )


def by_file(folder):
    found = sorted((folder / "out").glob("window-*.parquet"))
    return {path.name.split("-", 1)[1]: pq.read_table(path)["id"].to_pylist() for path in found}


def all_ids(folder):
    return sorted(i for ids in by_file(folder).values() for i in ids)


@pytest.fixture
def empty(folder):
    for path in (folder / "in").iterdir():
        path.unlink()
    return folder


@pytest.mark.slow
def test_a_restart_without_the_archived_input_keeps_its_rows(stream, empty):
    write(empty, "a", {"id": 1, "at": START}, {"id": 2, "at": START + 1})
    assert stream("--stop-at-end").code == 0
    (empty / "in/a.jsonl").rename(empty / "a.jsonl")
    write(empty, "b", {"id": 3, "at": START + 2})
    assert stream("--stop-at-end").code == 0
    name = "20240115T080000Z-10s-00000"
    both = {f"{name}-1.parquet": [3], f"{name}.parquet": [1, 2]}
    assert by_file(empty) == both
    (empty / "a.jsonl").rename(empty / "in/a.jsonl")  # it comes back from the archive
    assert stream("--stop-at-end").code == 0
    assert by_file(empty) == both


@pytest.mark.slow
def test_another_file_of_the_same_name_takes_no_rows_away(stream, empty):
    write(empty, "a", {"id": 1, "at": START}, {"id": 2, "at": START + 1})
    assert stream("--stop-at-end").code == 0
    write(empty, "a", {"id": 3, "at": START}, {"id": 4, "at": START + 1})
    assert stream("--stop-at-end").code == 0
    assert all_ids(empty) == [1, 2, 3, 4]


@pytest.mark.slow
def test_dead_letters_of_an_archived_input_stay(stream, empty, letters):
    write(empty, "a", {"id": 1, "at": START}, {"id": 2})
    assert stream("--stop-at-end").code == 0
    (empty / "in/a.jsonl").unlink()
    write(empty, "b", {"id": 3, "at": START}, {"id": 4})
    for _ in range(2):
        assert stream("--stop-at-end").code == 0
    assert sorted(json.loads(letter["record"])["id"] for letter in letters(empty / "out")) == [2, 4]


@pytest.mark.slow
def test_one_record_of_a_far_future_closes_no_windows(stream, empty, letters):
    far = "2099-01-01T00:00:00Z"
    records = [{"id": 0, "at": far}, *({"id": i, "at": f"2024-01-15T08:00:{i:02d}Z"} for i in range(1, 50))]
    for i, record in enumerate(records):
        write(empty, f"{i:02d}", record)
    assert stream("--stop-at-end", "--out-of-orderness", "1h", "--lateness", "0s").code == 0
    assert all_ids(empty) == list(range(1, 50))
    [letter] = letters(empty / "out")
    assert letter["reason"] == (
        "the event time 2099-01-01T00:00:00Z is too far ahead of the clock (--max-ahead)"
    )
    assert json.loads(letter["record"])["id"] == 0


@pytest.mark.slow
def test_max_ahead_says_how_far(stream, empty):
    write(empty, "a", {"id": 1, "at": time.time() + 3600})
    assert stream("--stop-at-end", "--max-ahead", "2h").code == 0
    assert all_ids(empty) == [1]
    assert stream("--stop-at-end", "--max-ahead", "never").code == 2


@pytest.mark.slow
def test_very_early_times_have_their_windows(stream, empty):
    days = ("0001-01-01", "0999-12-31", "1582-10-15", "1969-12-31", "1970-01-01")
    write(empty, "a", *({"id": i, "at": f"{day}T00:00:01Z"} for i, day in enumerate(days)))
    assert stream("--stop-at-end", "--window", "1d", "--out-of-orderness", "900000d").code == 0
    assert by_file(empty) == {
        f"{day.replace('-', '')}T000000Z-86400s-00000.parquet": [i] for i, day in enumerate(days)
    }


@pytest.mark.slow
def test_times_at_the_bounds_of_a_column_are_dead_letters(stream, empty, letters):
    bounds = [-(2**63) + 1, 2**63 - 1, 0]
    table = pa.table(
        {"id": [1, 2, 3], "text": ["paid"] * 3, "at": pa.array(bounds, pa.int64()).cast(pa.timestamp("us"))}
    )
    pq.write_table(table, empty / "in/a.parquet")
    assert stream("--stop-at-end").code == 0
    assert by_file(empty) == {"19700101T000000Z-10s-00000.parquet": [3]}
    assert (
        sorted(letter["reason"] for letter in letters(empty / "out"))
        == ["the event time is not in the years 1 to 9999"] * 2
    )


DAMAGED = b"\x1f\x8b\x08\x00" + bytes(200)


@pytest.mark.slow
def test_damaged_files_are_listed_and_all_else_is_done(stream, folder, letters):
    for name in ("3.jsonl.gz", "4.jsonl.gz"):
        (folder / f"in/{name}").write_bytes(DAMAGED)
    ended = stream("--stop-at-end", "--keep", "id")
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert "2 of the files cannot be read to the end: all else is written" in last
    assert "into another --output" in last
    assert sorted(all_ids(folder)) == list(range(N))
    found = [one for one in letters(folder / "out") if one["reason"].startswith("the rest of the file")]
    assert len(found) == 2
    lines = ended.out[ended.out.index("damaged ") :].splitlines()
    assert ["3.jsonl.gz" in lines[0], "4.jsonl.gz" in lines[1], len(lines)] == [True, True, 2]


def test_strict_stops_at_a_damaged_file(stream, folder):
    (folder / "in/3.jsonl.gz").write_bytes(DAMAGED)
    ended = stream("--stop-at-end", "--strict")
    assert ended.code == 1
    assert "3.jsonl.gz" in ended.error
    assert not list(folder.glob("out/*.parquet"))


def test_the_old_name_of_out_of_orderness_still_works_and_is_not_shown(stream, millstream):
    ended = stream("--stop-at-end", "--disorder", "soon")
    assert "--out-of-orderness 'soon' is not a duration" in ended.err.splitlines()[-1]
    shown = millstream("stream", "--help").out
    assert "--out-of-orderness" in shown
    assert "--disorder" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "writes windows only when the source ends: add --stop-at-end, or name another runner"),
        (("--stop-at-end", "--window", "soon"), "--window 'soon' is not a duration: write 30s, 5m, 1h or 2d"),
        (("--stop-at-end", "--follow", "latest"), "never changes: to follow a model"),
        (("--stop-at-end", "--", "--runner=NoRunner"), "Beam cannot use the options after --"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, says, stream):
    ended = stream(*arguments)
    assert ended.code == 2
    assert says in ended.err.splitlines()[-1]
