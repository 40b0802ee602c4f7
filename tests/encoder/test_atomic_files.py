import pytest

from encoder.atomic_files import check_new_folder, new_file, new_folder, write_synced
from encoder.errors import ConfigurationError, OutputConflict


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    file = tmp_path / "page.html"
    for text in (b"first", b"second"):
        with new_file(file) as staged:
            staged.write(text)
            assert not file.exists() or file.read_bytes() == b"first"
        assert file.read_bytes() == text
    assert list(tmp_path.iterdir()) == [file]


def test_after_an_error_the_old_file_stays_and_nothing_else(tmp_path):
    file = tmp_path / "page.html"
    file.write_text("old")

    def write_half():
        with new_file(file) as staged:
            staged.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_of_a_file_do_not_mix(tmp_path):
    file = tmp_path / "page.html"
    with new_file(file) as one, new_file(file) as other:
        one.write(b"one")
        other.write(b"other")
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


def test_a_symbolic_link_stays_one_and_its_target_keeps_its_mode(tmp_path):
    file, link = tmp_path / "page.html", tmp_path / "link"
    file.touch(mode=0o600)
    link.symlink_to(file)
    with new_file(link) as staged:
        staged.write(b"text")
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("text", 0o600)


def test_a_file_in_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file or directory; name another file"):
        new_file(tmp_path / "missing/file").__enter__()


def test_a_folder_appears_when_the_block_ends(tmp_path):
    folder = tmp_path / "a/b"
    with new_folder(folder) as staging:
        (staging / "file").write_text("text")
        assert not folder.exists()
    assert (folder / "file").read_text() == "text"
    assert list(folder.parent.iterdir()) == [folder]


def test_after_an_error_no_folder_is_left(tmp_path):
    def write_half():
        with new_folder(tmp_path / "new") as staging:
            (staging / "file").write_text("text")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def _made(folder):
    folder.mkdir()
    return folder


def test_a_folder_that_another_process_fills_in_the_meantime_is_kept(tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(OutputConflict, match="in the meantime"), new_folder(folder):
        write_synced(_made(folder) / "theirs", b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (folder / "theirs").read_text() == "text"


def test_a_folder_that_cannot_be_created_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputConflict, match="already exists"):
        check_new_folder(tmp_path)
    with pytest.raises(ConfigurationError, match="not writable; name another folder"):
        check_new_folder(tmp_path / "file/new")
