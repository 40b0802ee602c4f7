"""What is read of `tokenizer.json`: the ids that it can give, and limits that no real tokenizer meets."""

import json

import pretokenizers
import pytest
import tiny_tokenizers
from tokenizers import Tokenizer

from encoder.errors import InputError, ModelFormatError
from encoder.tokenizer.spec import added_fit, highest_id, library_errors, read_spec

ALL = [
    *((tiny_tokenizers, name) for name in (*tiny_tokenizers.KERNEL, *tiny_tokenizers.LIBRARY)),
    *((pretokenizers, name) for name in (*pretokenizers.PIECES, *pretokenizers.LIBRARY)),
]


def _added(*contents):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [{"id": 7, "content": content, **flags} for content in contents]


@pytest.mark.parametrize(("module", "name"), ALL, ids=lambda one: one if isinstance(one, str) else "")
def test_the_highest_id_is_that_of_tokenizers(module, name):
    spec = read_spec(module.named(name).to_str())
    for more in ((), ("new", "[x]"), ("new", "new", "a")):
        changed = {**spec, "added_tokens": spec["added_tokens"] + _added(*more)}
        text = json.dumps(changed)
        assert highest_id(read_spec(text)) == max(Tokenizer.from_str(text).get_vocab().values())


def test_added_tokens_are_numbered_from_the_size_of_the_vocabulary_on():
    spec = json.loads(tiny_tokenizers.named("WordLevel").to_str())
    spec["model"]["vocab"]["far"] = 5000
    spec["added_tokens"] += _added("new")
    assert highest_id(spec) == max(Tokenizer.from_str(json.dumps(spec)).get_vocab().values()) == 5000


@pytest.mark.parametrize("text", ["[]", "{}", '{"model": 1}', '{"model": {"vocab": 3}}', "null", ""])
def test_what_is_no_tokenizer_is_refused(text):
    with pytest.raises(ModelFormatError, match=r"tokenizer\.json"):
        read_spec(text)


def test_many_or_long_added_tokens_are_left_to_the_library():
    assert added_fit({"added_tokens": _added(*(f"<|reserved_{k}|>" for k in range(256)))})
    assert not added_fit({"added_tokens": _added(*(f"<{k}>" for k in range(500)), "x" * 900)})


def test_errors_of_libraries_are_one_short_line_and_others_pass():
    with pytest.raises(InputError, match=r"^it fails: a b$"), library_errors(InputError, "it fails"):
        raise Exception("a\n b")  # noqa: TRY002 - as tokenizers does
    with pytest.raises(InputError) as caught, library_errors(InputError, "it fails"):
        raise ValueError("x" * 10_000)
    assert len(str(caught.value)) < 400
    for kind in (KeyboardInterrupt, SystemExit, ModelFormatError):
        with pytest.raises(kind), library_errors(InputError, "it fails"):
            raise kind("stop")
