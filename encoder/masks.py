"""Masks replace what identifies a record but does not tell what kind it is, with one token a kind.

>>> from encoder import Masks
>>> masks = Masks.parse(["ip,card", "order=ORD-[0-9]+"])
>>> masks(["10.0.0.7:443 paid ORD-77 with 4111 1111 1111 1111", None]).to_pylist()
['<ip> paid <order> with <card>', None]

`docs/reference/masks.md` says what each mask matches. Masks belong to a model version: they stand in the
folder's `config.json` and in the manifest, `Encoder` applies them to each text, and a head that was fitted to
texts with other masks does not load.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoder.arrays.texts import TextBuffers, read_texts
from encoder.errors import ConfigurationError
from encoder.kernels.masks.scan import KINDS, find, replace
from encoder.kernels.wordpiece.pieces import ROOM

__all__ = ["KINDS", "Masks"]

_NAME = re.compile(r"[a-z][a-z_]{0,29}\Z")
_LONGEST = 1000  # characters of an own mask's expression
_ROUNDS = 20
_MOST = 32  # own masks


@dataclass(frozen=True)
class Masks:
    """Masks, ready to use: call them with texts.

    `masks(texts)` takes texts as `Encoder.encode` does, and returns them masked: a large_string array of
    `(n_texts,)`, chunked like the input, in which null stays null. If the texts are not strings, it raises
    `InputError`.

    Attributes:
        kinds: the names of built-in masks, in the order of `KINDS`.
        own: names and regular expressions (RE2) of own masks, which come before the others, in this order.
    """

    kinds: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, texts: str | Iterable[str] | None) -> Self:
        """Parse masks as a user writes them.

        Args:
            texts: names separated by commas, such as `ip,number`, or `NAME=REGEX`; `none`, or None, for no
                masks.

        Raises:
            ConfigurationError: a name is unknown or given twice, or an expression cannot be used.
        """
        names: list[str] = []
        own: list[tuple[str, str]] = []
        for text in [texts] if isinstance(texts, str) else texts or ():
            name, equals, regex = text.partition("=")
            if equals:
                own.append((name.strip(), regex))
            else:
                names += filter(None, map(str.strip, text.split(",")))
        return cls._checked([] if names == ["none"] and not own else names, own)

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """Read masks from the JSON of `to_json`: a list of texts for `parse`.

        Raises:
            ConfigurationError: it is no such list, or a mask of it cannot be used.
        """
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
            raise ConfigurationError(f"masks must be a list of texts, not {value!r:.100}")
        return cls.parse(value)

    def to_json(self) -> tuple[str, ...]:
        """The masks as texts for `parse`, each one by itself; equal masks give equal texts."""
        return (*(f"{name}={regex}" for name, regex in self.own), *self.kinds)

    @classmethod
    def _checked(cls, names: Sequence[str], own: Sequence[tuple[str, str]]) -> Self:
        for name in names:
            if name not in KINDS:
                raise ConfigurationError(
                    f"there is no mask {name!r}: use {', '.join(sorted(KINDS))}, or NAME=REGEX for your own"
                )
        every = [*(name for name, _ in own), *names]
        if twice := sorted({name for name in every if every.count(name) > 1}):
            raise ConfigurationError(f"the mask {twice[0]!r} is given twice: keep one of them")
        if len(own) > _MOST:
            raise ConfigurationError(f"there are {len(own)} own masks: at most {_MOST} work")
        masks = cls(tuple(kind for kind in KINDS if kind in names), tuple(own))
        for name, regex in own:
            _check_own(name, regex, masks)
        return masks

    def __bool__(self) -> bool:
        """Whether there is any mask."""
        return bool(self.kinds or self.own)

    def __str__(self) -> str:
        """The masks as a person reads them."""
        return ", ".join(self.to_json()) or "none"

    def __call__(self, texts: Any) -> pa.Array | pa.ChunkedArray:
        """Mask texts.

        Args:
            texts: as for `Encoder.encode`.

        Returns:
            `(n_texts,)` large_string, chunked like the input; null stays null. What no mask matches is the
            same byte for byte.

        Raises:
            InputError: the texts are not strings.
        """
        parts = [_array(self.buffers(part)) for part in read_texts(texts)]
        if isinstance(texts, pa.ChunkedArray):
            return pa.chunked_array(parts, pa.large_string())
        return parts[0]

    def thoroughly(self, texts: Any) -> pa.Array | pa.ChunkedArray:
        """Mask texts again until no mask matches any more, for what must not leave; otherwise as a call.

        Masking once can uncover a match: in `10.0.0.11111fe80`, `1111fe80` is a hexadecimal number, and only
        once it is masked, `10.0.0` is a number.
        """
        masked = self(texts)
        for _ in range(_ROUNDS):
            before, masked = masked, self(masked)
            if masked.equals(before):
                break
        return masked

    def text(self, text: str) -> str:
        """Mask one text. Lone surrogates in it, which UTF-8 cannot hold, become `?`."""
        found: str = self([text.encode(errors="replace").decode()])[0].as_py()
        return found

    def buffers(self, texts: TextBuffers) -> TextBuffers:
        """Mask texts as the encoder holds them."""
        if self.own:
            texts = self._by_own(texts)
        return self._by_kernel(texts) if self.kinds else texts

    def _by_kernel(self, texts: TextBuffers) -> TextBuffers:
        data, offsets, n_texts = texts.data, texts.offsets, len(texts.offsets) - 1
        n_bytes = int(offsets[-1] - offsets[0])
        first, last = np.empty(n_bytes, np.int64), np.empty(n_bytes, np.int64)
        kinds, ends = np.empty(n_bytes, np.uint8), np.empty(n_texts, np.int64)
        n = find(data, offsets, self._wanted, first, last, kinds, ends)
        if not n:
            return texts
        lengths = _LENGTHS[kinds[:n]]
        out = np.empty(n_bytes + int(lengths.sum() - (last[:n] - first[:n]).sum()) + ROOM, np.uint8)
        out[-ROOM:] = 0
        out_offsets = np.empty(n_texts + 1, np.int64)
        replace(data, offsets, first, last, kinds, ends, _TOKENS, out, out_offsets)
        out.flags.writeable = False  # as those of Arrow are
        return TextBuffers(out, out_offsets, texts.valid)

    def _by_own(self, texts: TextBuffers) -> TextBuffers:
        array = _array(texts)
        for name, regex in self.own:
            array = pc.replace_substring_regex(array, regex, f"<{name}>")
        (found,) = read_texts(array)
        return found.block(0, len(found.offsets) - 1)

    @cached_property
    def _wanted(self) -> int:
        return sum(1 << KINDS.index(kind) for kind in self.kinds)


def _check_own(name: str, regex: str, masks: Masks) -> None:
    """Raise ConfigurationError unless a mask of the user can be used beside the others."""
    if name in KINDS or not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} is not a name for your own mask: use lower-case letters and '_', as in order_id, and "
            "no built-in mask's name"
        )
    if len(regex) > _LONGEST:
        raise ConfigurationError(
            f"the mask {name!r} has {len(regex):,} characters: at most {_LONGEST:,} work"
        )
    tokens = [f"<{each}>" for each in (*KINDS, *(own for own, _ in masks.own))]
    try:
        matched = pc.match_substring_regex(pa.array(["", *tokens]), regex).to_pylist()
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise ConfigurationError(f"the mask {name!r} is not a regular expression of RE2: {error}") from error
    if matched[0]:
        raise ConfigurationError(
            f"the mask {name!r} matches the empty text: write an expression that does not"
        )
    if any(matched):
        token = tokens[matched.index(True) - 1]
        raise ConfigurationError(
            f"the mask {name!r} matches {token}, which masks put in: write an expression that does not"
        )


def _array(texts: TextBuffers) -> pa.Array:
    """Texts as an Arrow array, without a copy."""
    valid = pa.array(texts.valid).buffers()[1] if len(texts.valid) else None
    buffers = [valid, pa.py_buffer(texts.offsets), pa.py_buffer(texts.data)]
    return pa.Array.from_buffers(pa.large_string(), len(texts.offsets) - 1, buffers)


def _token_table() -> NDArray[np.uint8]:
    tokens = [f"<{kind}>".encode() for kind in KINDS]
    width = max(map(len, tokens))
    table = np.array([list(token.ljust(width, b"\0")) for token in tokens], np.uint8)
    table.flags.writeable = False
    return table


_TOKENS = _token_table()
_LENGTHS = np.count_nonzero(_TOKENS, axis=1)
