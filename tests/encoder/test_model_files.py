"""Files of a model folder are read if they are plain files in it, of a plausible size."""

import os

import pytest

from encoder.errors import ModelFormatError
from encoder.model_files import SETTINGS_LIMIT, plain_file, read_json, read_text


def test_texts_and_json_are_read(tmp_path):
    (tmp_path / "a.json").write_text('{"é": 1}', encoding="utf-8")
    assert read_text(tmp_path / "a.json", tmp_path, 9) == '{"é": 1}'
    assert read_json(tmp_path / "a.json", tmp_path) == {"é": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\xff", "is not UTF-8"), (b"{", "is not JSON"), (b"[" * 100_000, "is not JSON"), (b"", "is not JSON")],
)
def test_other_bytes_are_refused_by_the_name_of_the_file(data, reason, tmp_path):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ModelFormatError, match=f"{tmp_path / 'a.json'} {reason}"):
        read_json(tmp_path / "a.json", tmp_path)


def test_a_larger_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(b" " * (SETTINGS_LIMIT + 1))
    with pytest.raises(ModelFormatError, match="is larger than 1,048,576 bytes"):
        read_json(tmp_path / "a.json", tmp_path)


def test_a_missing_file_and_a_link_to_itself_are_named(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    for name in ("missing", "circle"):
        with pytest.raises(ModelFormatError, match=f"cannot read {tmp_path / name}: "):
            plain_file(tmp_path / name, tmp_path)


def test_a_fifo_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(ModelFormatError, match="is a FIFO: it must be a plain file"):
        read_text(tmp_path / "a", tmp_path, 10)


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("x")
    (tmp_path / "link").symlink_to("real")
    assert read_text(tmp_path / "link/a", tmp_path / "link", 10) == "x"
