"""Read `tokenizer.json`, and refuse one that would exhaust the process.

`tokenizers` follows whatever the file says: rules that double a text forty times, words of any length. So the
limits here are far above those of published tokenizers and low enough that a text stays harmless. Errors name
the file.
"""

import base64
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from encoder.errors import InputError, MillstreamError, ModelFormatError

__all__ = [
    "LARGEST_FILE",
    "LONGEST_TOKEN",
    "added_fit",
    "flat_parts",
    "highest_id",
    "library_errors",
    "read_spec",
]

LARGEST_FILE = 48 << 20
"""The most bytes of a `tokenizer.json`; Gemma 3's, the largest known one, has 33 million."""

LONGEST_TOKEN = 1000
"""The most characters of a token; `tokenizers` needs time in proportion to them for each place in a text."""
_LONGEST_WORD = 1000  # characters; WordPiece needs time in proportion to their square
_MOST_ADDED = 1 << 17  # bytes of the kernels' table of added tokens, which they read at each place in a text
_MOST_GROWTH = 1000  # characters that a rule may make of one; XLM-R's make 18
_BYTES_OF_CHARACTER = 4
_MOST_PARTS = 100  # normalisers and pre-tokenisers; published tokenizers have fewer than ten
_SHOWN = 300  # characters of a foreign error
_RUST_MODULE = "pyo3_runtime"  # of PanicException, which can be imported from nowhere


@contextmanager
def library_errors(kind: type[InputError], what: str) -> Iterator[None]:
    """Turn whatever a tokenizer raises into an error of ours.

    `tokenizers` raises bare `Exception`; where it panics, PyO3 raises a `BaseException`.

    Args:
        kind: the error to raise.
        what: what failed, the beginning of the message.

    Raises:
        InputError: the block failed.
    """
    try:
        yield
    except MillstreamError:
        raise
    except MemoryError as error:
        raise kind(f"{what}: it needs too much memory") from error
    except Exception as error:
        raise kind(f"{what}: {_reason(error)}") from error
    except BaseException as error:
        if type(error).__module__ != _RUST_MODULE:  # Ctrl-C, for one
            raise
        raise kind(f"{what}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """An error's message in one line, or its type if it has none that says more."""
    text = " ".join(str(error).split())[:_SHOWN]  # `tokenizers` quotes values of any length
    return (
        text
        if isinstance(error, ValueError) or not isinstance(error, LookupError | TypeError)
        else repr(error)
    )


def read_spec(tokenizer_json: str) -> dict[str, Any]:
    """Parse the text of a `tokenizer.json`.

    Raises:
        ModelFormatError: it is not a tokenizer's, or beyond the limits.
    """
    with library_errors(ModelFormatError, "tokenizer.json is not a tokenizer"):
        spec: Any = json.loads(tokenizer_json)
        if not (isinstance(spec, dict) and isinstance(spec.get("model"), dict)):
            raise ModelFormatError("tokenizer.json holds no tokenizer: it must be an object with a model")
        _check(spec)
        return spec


def highest_id(spec: dict[str, Any]) -> int:
    """The highest token id that a tokenizer can give, -1 if it has no tokens.

    Entries of the vocabulary have the ids that the file says. Added tokens have those of their entries, or
    else `tokenizers` numbers them from the size of the vocabulary on; it ignores the file's numbers.
    """
    vocabulary = spec["model"].get("vocab") or {}
    own = spec.get("added_tokens") or []
    if isinstance(vocabulary, dict):
        ids = np.fromiter(vocabulary.values(), np.int64, len(vocabulary))
        entries: Any = vocabulary
        if ids.min(initial=0) < 0:
            raise ModelFormatError(f"tokenizer.json gives a token the id {ids.min()}: ids begin at 0")
    else:
        ids, entries = np.arange(len(vocabulary)), {token for token, _ in vocabulary}
    more = len({token["content"] for token in own if token["content"] not in entries})
    return max(int(ids.max(initial=-1)), len(vocabulary) + more - 1 if more else -1)


def added_fit(spec: dict[str, Any]) -> bool:
    """Whether the kernels' table of added tokens, a row of equal length for each, stays small."""
    lengths = [len(token["content"].encode()) for token in spec.get("added_tokens") or []]
    return len(lengths) * max(lengths, default=0) <= _MOST_ADDED


def _check(spec: dict[str, Any]) -> None:
    model = spec["model"]
    vocabulary = model.get("vocab") or {}
    entries = vocabulary if isinstance(vocabulary, dict) else (token for token, _ in vocabulary)
    added = (token["content"] for token in spec.get("added_tokens") or [])
    longest = max(max(map(len, entries), default=0), max(map(len, added), default=0))
    if longest > LONGEST_TOKEN:
        raise ModelFormatError(
            f"tokenizer.json has a token of {longest:,} characters: the limit is {LONGEST_TOKEN:,}"
        )
    if (word := model.get("max_input_chars_per_word") or 0) > _LONGEST_WORD:
        raise ModelFormatError(
            f"tokenizer.json has max_input_chars_per_word {word:,}: the limit is {_LONGEST_WORD:,}"
        )
    parts = [*flat_parts(spec.get("normalizer")), *flat_parts(spec.get("pre_tokenizer"))]
    if len(parts) > _MOST_PARTS:
        raise ModelFormatError(f"tokenizer.json has {len(parts):,} rules: the limit is {_MOST_PARTS}")
    growth = math.prod(map(_growth, parts))
    if growth > _MOST_GROWTH:
        raise ModelFormatError(
            f"the rules of tokenizer.json can make a text {growth:.3g} times as long: the limit is "
            f"{_MOST_GROWTH:,}"
        )


def flat_parts(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The members of a sequence of normalisers or pre-tokenisers, flattened."""
    if part is None:
        return []
    if part.get("type") != "Sequence":
        return [part]
    members = part["normalizers"] if "normalizers" in part else part["pretokenizers"]
    return [member for inner in members for member in flat_parts(inner)]


def _growth(part: dict[str, Any]) -> float:
    """How many characters a normaliser or a pre-tokeniser may make of one, about."""
    kind = part.get("type")
    if kind == "Replace":
        replaced = len(part["pattern"].get("String", ""))  # an expression may match the empty string as well
        return max(1.0, len(part["content"]) / replaced) if replaced else 1.0 + len(part["content"])
    if kind == "Prepend":
        return 1.0 + len(part["prepend"])
    if kind == "ByteLevel":
        return _BYTES_OF_CHARACTER
    if kind == "Precompiled":
        return _longest_replacement(part["precompiled_charsmap"])
    return 1.0


def _longest_replacement(charsmap: str) -> float:
    """The most bytes that SentencePiece's normaliser puts in the place of a character.

    Its data are the size of a trie, the trie, and the replacements, each of which ends in a zero.
    `tokenizers` allocates whatever the size says.
    """
    data = base64.b64decode(charsmap)
    trie = int.from_bytes(data[:4], "little")
    if trie % 4 or not 0 < trie <= len(data) - 4:
        raise ModelFormatError("tokenizer.json has a damaged precompiled_charsmap")
    return max(1.0, *map(len, data[4 + trie :].split(b"\0")))
