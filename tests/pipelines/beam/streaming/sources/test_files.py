import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from encoder.errors import UnreadableFile
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.sources.files import FileSource
from pipelines.beam.streaming.watermark import WatermarkPolicy

SCHEMA = pa.schema([("id", pa.int64()), ("at", pa.float64())])
SECOND = 10**6
NOW = 1_705_305_600


def write(folder, name, ids, age=0.0):
    path = folder / name
    path.write_text("".join(json.dumps({"id": i, "at": NOW + i}) + "\n" for i in ids))
    os.utime(path, (NOW - age, NOW - age))
    return path


@pytest.fixture
def source(tmp_path):
    def make(**changes):
        policy = WatermarkPolicy(out_of_orderness=0, idle=3600 * SECOND)
        own = {"poll_seconds": 0.0, "parts": 1, "windows": Windows(10 * SECOND, field="at")}
        return FileSource(str(tmp_path / "*.jsonl"), None, SCHEMA, policy=policy, **{**own, **changes})

    return make


def read(reader):
    """All that is there now."""
    found, more = [], reader.advance()
    while more:
        found.append(reader.get_current())
        more = reader.advance()
    return found


def ids(batches):
    return [i for batch in batches for i in batch.records["id"].to_pylist()]


def test_files_are_read_once_as_they_come_the_oldest_first(source, tmp_path):
    reader = source().create_reader(None, None)
    assert not reader.start()
    write(tmp_path, "b.jsonl", [3, 4], age=5)
    write(tmp_path, "a.jsonl", [5], age=1)
    assert ids(read(reader)) == [3, 4, 5]
    assert read(reader) == []
    write(tmp_path, "_unfinished.jsonl", [6])
    write(tmp_path, "c.jsonl", [7])
    assert ids(read(reader)) == [7]


def test_a_reader_goes_on_behind_its_mark(source, tmp_path):
    write(tmp_path, "a.jsonl", range(20_000), age=2)
    write(tmp_path, "b.jsonl", range(20_000, 20_010))
    of = source()
    coder = of.get_checkpoint_mark_coder()
    reader, seen = of.create_reader(None, None), []
    while reader.advance():
        seen += ids([reader.get_current()])
        mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
        assert mark.watermark == (NOW + max(seen)) * SECOND
        reader = of.create_reader(None, mark)
    assert seen == list(range(20_010))
    assert of.create_reader(None, reader.get_checkpoint_mark()).get_watermark() == reader.get_watermark()


def test_files_that_are_gone_are_forgotten(source, tmp_path):
    path = write(tmp_path, "a.jsonl", [1])
    reader = source().create_reader(None, None)
    read(reader)
    assert reader.get_checkpoint_mark().done == (str(path),)
    path.unlink()
    read(reader)
    assert reader.get_checkpoint_mark().done == ()


def test_the_watermark_follows_the_records(source, tmp_path):
    reader = source().create_reader(None, None)
    write(tmp_path, "a.jsonl", [1, 9, 4])
    [batch] = read(reader)
    assert batch.times.tolist() == [(NOW + i) * SECOND for i in (1, 9, 4)]
    assert reader.get_watermark().micros == (NOW + 9) * SECOND


def test_a_source_that_ends_says_so_when_all_is_read(source, tmp_path):
    write(tmp_path, "a.jsonl", [1])
    reader = source(ends=True).create_reader(None, None)
    assert reader.start()
    assert reader.get_watermark() < MAX_TIMESTAMP
    assert not reader.advance()
    assert reader.get_watermark() == MAX_TIMESTAMP


def test_without_a_field_the_time_is_that_of_the_file(source, tmp_path):
    write(tmp_path, "a.jsonl", [1, 2], age=7)
    [batch] = read(source(windows=Windows(10 * SECOND)).create_reader(None, None))
    assert batch.times.tolist() == [(NOW - 7) * SECOND] * 2


def test_a_damaged_file_is_a_bad_row_and_stops_nothing(source, tmp_path, caplog):
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(200))
    write(tmp_path, "b.jsonl", [1])
    batches = read(replace(source(), pattern=str(tmp_path)).create_reader(None, None))
    [bad] = [bad for batch in batches for bad in batch.bad]
    assert bad.reason.startswith("the rest of the file cannot be read, from row 1 and byte ")
    assert caplog.messages == [f"{tmp_path}/a.jsonl.gz: {bad.reason}"]
    assert ids(batches) == [1]


def test_a_strict_source_stops_at_a_damaged_file(source, tmp_path):
    write(tmp_path, "a.jsonl", [1])
    (tmp_path / "b.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(200))
    reader = replace(source(), pattern=str(tmp_path), strict=True).create_reader(None, None)
    with pytest.raises(UnreadableFile, match=r"b\.jsonl\.gz"):
        read(reader)


def test_parallel_readers_share_the_files(source, tmp_path):
    for i in range(30):
        write(tmp_path, f"{i}.jsonl", [i])
    parts = source(parts=3).split(20)
    found = [ids(read(part.create_reader(None, None))) for part in parts]
    assert sorted(i for part in found for i in part) == list(range(30))
    assert all(found)


def test_it_looks_only_now_and_then(source, tmp_path):
    reader = source(poll_seconds=3600.0).create_reader(None, None)
    assert not reader.start()
    write(tmp_path, "a.jsonl", [1])
    assert not reader.advance()


def test_files_of_any_encoding_are_read_and_what_was_guessed_is_logged_once(source, tmp_path, caplog):
    for number in (1, 2):
        line = json.dumps({"id": number, "at": NOW}) + "\n"
        (tmp_path / f"{number}.jsonl").write_bytes(line.encode("utf-16"))
    assert sorted(ids(read(source().create_reader(None, None)))) == [1, 2]
    [message] = caplog.messages
    assert message.endswith("guessed encoding utf-16-le; to change it, set --encoding")


def test_names_that_say_nothing_keep_no_other_file_out(source, tmp_path, caplog):
    reader = replace(source(), pattern=str(tmp_path)).create_reader(None, None)
    write(tmp_path, "a.jsonl", [1])
    assert ids(read(reader)) == [1]
    write(tmp_path, "b.jsonl.tmp", [2])
    odd = os.fsencode(tmp_path) + b"/\xff.jsonl"
    Path(os.fsdecode(odd)).touch()
    write(tmp_path, "c.jsonl", [3])
    assert ids(read(reader)) == [3]
    nameless, unknown = sorted(caplog.messages)
    assert nameless == f"not read: the name of the file {odd!r} is not UTF-8: rename it"
    assert unknown.startswith(f"not read: unknown extension of {tmp_path}/b.jsonl.tmp: set --input-format")


def test_a_folder_that_cannot_be_read_is_no_end(source, tmp_path, monkeypatch, caplog):
    write(tmp_path, "a.jsonl", [1])

    def refused(*_arguments, **_options):
        raise UnreadableFile("cannot read x: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.beam.streaming.sources.files.find_inputs", refused)
        with pytest.raises(UnreadableFile):
            read(source(ends=True).create_reader(None, None))
        reader = source().create_reader(None, None)
        assert read(reader) == []
        assert caplog.messages == ["not read: cannot read x: Permission denied"]
    assert ids(read(reader)) == [1]
