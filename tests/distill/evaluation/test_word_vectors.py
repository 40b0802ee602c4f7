"""Word vectors in the format of GloVe and fastText."""

import gzip

import numpy as np
import pytest

from distill.evaluation.word_vectors import is_word_vectors, load_word_vectors
from encoder.errors import InputError

GLOVE = "card 1 0 0\nrefused 0 1 0\n. . . 0 0 1\nThe 2 2 2\n"


def load(tmp_path, content, texts, name="words.vec"):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return load_word_vectors(str(tmp_path / name), texts)


@pytest.mark.parametrize("header", ["", "4 3\n"])
def test_a_text_is_the_mean_of_its_words(tmp_path, header):
    texts = ["card refused", "Card, CARD!", "nothing known", "", "the The"]
    found = load(tmp_path, header + GLOVE, texts).embed(texts)
    expected = [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [2, 2, 2]]
    assert np.array_equal(found, np.array(expected, np.float32))


def test_only_the_words_of_the_texts_are_kept(tmp_path):
    vectors = load(tmp_path, GLOVE, ["a Card"])
    assert (len(vectors), vectors.dim) == (1, 3)


def test_word_vectors_may_be_compressed(tmp_path):
    path = tmp_path / "glove.txt.gz"
    path.write_bytes(gzip.compress(GLOVE.encode()))
    assert is_word_vectors(str(path))
    assert load_word_vectors(str(path), ["card"]).embed(["card"]).tolist() == [[1, 0, 0]]


def test_what_is_a_file_of_word_vectors(tmp_path):
    (tmp_path / "x.vec").touch()
    (tmp_path / "x.json").touch()
    assert is_word_vectors(str(tmp_path / "x.vec"))
    for name in ("x.json", "missing.vec", ""):
        assert not is_word_vectors(str(tmp_path / name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("card 1 0\nrefused 1\n", "line 2 of .*words.vec has 1 values, the first has 2"),
        ("card 1 zero\n", "line 1 of .*words.vec has a value that is not a number"),
        ("\n", "holds no word vectors"),
    ],
)
def test_damaged_files_are_named_with_the_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, content, ["card refused"])


def test_a_broken_archive_is_named(tmp_path):
    (tmp_path / "words.vec.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot read the word vectors"):
        load_word_vectors(str(tmp_path / "words.vec.gz"), ["card"])
