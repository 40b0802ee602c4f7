r"""Decide from `tokenizer.json` which tokenizers can work piece by piece.

`tokenizers` handles everything that this module does not recognise. So it is strict: it accepts a setting
only if the ids of a text are always the concatenated ids of its pieces. The reasons why they are:

- Byte-level BPE splits by a pattern whose matches never extend over a space that follows a visible character.
  NFC never changes a character because of an ASCII character after it.
- Metaspace splits before each space, and `WhitespaceSplit` at it. Normalisers work on single characters and
  the marks after them, so they keep a boundary between a visible character and a space.
- Unigram after a `Metaspace` that does not split finds the best path through the whole text. No token crosses
  the boundary before a space, so that path consists of the best paths of the pieces. If another path comes so
  close that rounding might decide, the library tokenises the text.
- BPE without pre-tokens never merges across a boundary if no token has a space after another character.
"""

from dataclasses import dataclass
from typing import Any

from encoder.tokenizer.spec import added_fit, flat_parts

__all__ = ["META", "Recipe", "recipe"]

META = "\u2581"  # Metaspace's symbol for a space
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_NEWER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DIGITS = {_NEWER % r"\p{N}": 1, _NEWER % r"\p{N}{1,3}": 3}
_ALL = 1 << 30
_MARGIN = 1e-5  # the rounding error of scores is below 1e-6 for texts of up to 65,536 bytes
_SPACES = ({"Regex": " {2,}"}, {"String": " "})
_FORMS = {"NFC", "NFD", "NFKC", "NFKD"}
_ALONE = {"Lowercase", "Replace", "Prepend", "Strip"}  # these ignore a character's neighbours


@dataclass(frozen=True)
class Recipe:
    """How to tokenise piece by piece.

    Attributes:
        regex: where to split: 0 at spaces, 1 by GPT-2's pattern, 2 by its successors'.
        digits: how many digits stay together.
        blanks: how to treat several blanks before a plain piece: 0 leave it to the library, 1 as one blank,
            2 as one symbol each.
        prefix: what to put before a text: 0 nothing, 1 a space unless it has one, 2 always a space.
        spaced: whether to put a space before each pre-token that does not start with one.
        model: the model for plain pieces: 0 the library, 1 BPE of bytes, 2 BPE of characters, 3 Unigram.
        margin: the difference in score below which two paths of a piece are too close to decide; 0 if pieces
            are whole pre-tokens.
        contextual: whether the normaliser looks at a character's neighbours.
        parted: whether the text between two added tokens is tokenised as a text of its own.
        strict: whether the kernel handles plain characters only, because added tokens are matched in the
            normalised text.
        normalizer: the normaliser for single pieces, as in `tokenizer.json`.
        pre_tokenizer: the pre-tokeniser for single pieces.
    """

    prefix: int
    model: int
    parted: bool
    strict: bool
    normalizer: dict[str, Any] | None
    pre_tokenizer: dict[str, Any] | None
    regex: int = 0
    digits: int = 0
    blanks: int = 0
    spaced: bool = False
    margin: float = 0.0
    contextual: bool = False


def recipe(spec: dict[str, Any]) -> Recipe | None:
    """The recipe for a parsed `tokenizer.json`, or None if only the library is exact."""
    normalizers = flat_parts(spec.get("normalizer"))
    splitters = flat_parts(spec.get("pre_tokenizer"))
    model = spec["model"]
    strict = _strictness(spec, normalizers)
    known = model.get("type") in ("BPE", "Unigram") and not model.get("dropout") and _known(normalizers)
    if not known or strict is None:
        return None
    kinds = [part["type"] for part in splitters]
    if kinds in (["ByteLevel"], ["Split", "ByteLevel"]):
        return _byte_level(spec, normalizers, splitters, strict=strict)
    if kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) and _splits(spec, splitters[-1]):
        return _metaspace(spec, normalizers, splitters, strict=strict)
    if kinds in ([], ["Metaspace"]) and model["type"] == "BPE":
        return _whole(spec, normalizers, splitters, strict=strict)
    return None


def _known(normalizers: list[dict[str, Any]]) -> bool:
    """Whether all normalisers keep boundaries before spaces."""
    for place, part in enumerate(normalizers):
        kind = part["type"]
        if kind == "Replace":
            if not _keeps_borders(part):
                return False
        elif kind == "Precompiled":
            if place:  # it works on grapheme clusters, which are known for the original text only
                return False
        elif kind == "Prepend":
            if place or part["prepend"] != META:
                return False
        elif kind not in (*_FORMS, "Lowercase", "Strip"):
            return False
    return True


def _keeps_borders(part: dict[str, Any]) -> bool:
    """Whether a replacement involves no spaces, or only runs of spaces."""
    pattern, content = part["pattern"], part["content"]
    if pattern in _SPACES:
        return content in (" ", META) if "Regex" in pattern else content == META
    text = pattern.get("String", "")
    return bool(text and content) and not any(char.isspace() or char == META for char in text + content)


def _strictness(spec: dict[str, Any], normalizers: list[dict[str, Any]]) -> bool | None:
    """Whether added tokens make the kernel strict; None if it cannot support one of them."""
    added = spec.get("added_tokens", [])
    if any(not token["content"] for token in added) or not added_fit(spec):
        return None
    normalized = [token["content"] for token in added if token["normalized"]]
    if not normalized or not normalizers:
        return False
    visible = all(token.isascii() and token.isprintable() and " " not in token for token in normalized)
    # These keep visible ASCII, so a token in the normalised text is also in the original one.
    kept = all(part["type"] in (*_FORMS, "Prepend") or _is_for_spaces(part) for part in normalizers)
    return True if visible and kept else None


def _parted(spec: dict[str, Any]) -> bool:
    """Whether added tokens are matched in the original text and leave their neighbours alone."""
    flags = ("normalized", "lstrip", "rstrip", "single_word")
    return not any(token[flag] for token in spec.get("added_tokens", []) for flag in flags)


def _is_for_spaces(part: dict[str, Any]) -> bool:
    return part["type"] == "Replace" and part["pattern"] in _SPACES


def _splits(spec: dict[str, Any], metaspace: dict[str, Any]) -> bool:
    """Whether there is a boundary before each space: Metaspace splits, or no token of Unigram crosses it."""
    if metaspace["replacement"] != META:
        return False
    model = spec["model"]
    tokens = {token for token, _ in model["vocab"]} if model["type"] == "Unigram" else set()
    return bool(metaspace.get("split", True)) or (
        META in tokens and not any(META in token[1:] for token in tokens)
    )


def _is_plain_bpe(model: dict[str, Any]) -> bool:
    """Whether the model is BPE without prefixes and suffixes."""
    return (
        model["type"] == "BPE"
        and not model.get("continuing_subword_prefix")
        and not model.get("end_of_word_suffix")
    )


def _byte_level(
    spec: dict[str, Any], normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]], *, strict: bool
) -> Recipe | None:
    last = splitters[-1]
    if not _is_plain_bpe(spec["model"]) or any(part["type"] != "NFC" for part in normalizers):
        return None
    pre_tokenizer = spec["pre_tokenizer"]
    if len(splitters) == 1:
        if not last.get("use_regex", True):
            return None
        regex, digits, spaced = 1, _ALL, False
        prefix = int(last["add_prefix_space"])
        pre_tokenizer = {**last, "add_prefix_space": False}
    else:
        first = splitters[0]
        pattern = first["pattern"].get("Regex")
        if last.get("use_regex", True) or first["behavior"] != "Isolated" or first["invert"]:
            return None
        if pattern != _GPT2 and pattern not in _DIGITS:
            return None
        regex, digits = (1, _ALL) if pattern == _GPT2 else (2, _DIGITS[pattern])
        prefix, spaced = 0, bool(last["add_prefix_space"])
    return Recipe(
        regex=regex,
        digits=digits,
        prefix=prefix,
        spaced=spaced,
        model=1,
        contextual=bool(normalizers),
        parted=_parted(spec),
        strict=strict,
        normalizer=spec.get("normalizer"),
        pre_tokenizer=pre_tokenizer,
    )


def _metaspace(
    spec: dict[str, Any], normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]], *, strict: bool
) -> Recipe | None:
    scheme = _scheme(splitters[-1])
    at_white_space = len(splitters) > 1
    kinds = {part["type"] for part in normalizers}
    if "Prepend" in kinds or (at_white_space and scheme != "always"):
        return None
    if any(part["type"] == "Strip" and part["strip_left"] for part in normalizers) and not at_white_space:
        return None
    if any(part.get("content") == META for part in normalizers) and at_white_space:
        return None
    collapsed = any(part.get("pattern") == _SPACES[0] for part in normalizers)
    model = spec["model"]
    native = 3 if model["type"] == "Unigram" else 2 if _is_plain_bpe(model) else 0
    if model.get("ignore_merges"):
        native = 0
    prefix = 0 if scheme == "never" else 1
    return Recipe(
        blanks=int(at_white_space or collapsed),
        prefix=prefix,
        model=native,
        margin=0.0 if splitters[-1].get("split", True) else _MARGIN,
        contextual=not kinds <= _ALONE,
        parted=_parted(spec) and scheme != "first",
        strict=strict,
        normalizer=spec.get("normalizer"),
        pre_tokenizer=spec["pre_tokenizer"],
    )


def _scheme(metaspace: dict[str, Any]) -> str:
    """When Metaspace puts its symbol before a text; older files write it differently."""
    before = "always" if metaspace.get("add_prefix_space", True) else "never"
    return str(metaspace.get("prepend_scheme", before))


def _whole(
    spec: dict[str, Any], normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]], *, strict: bool
) -> Recipe | None:
    model = spec["model"]
    kinds = [part["type"] for part in normalizers]
    if not _is_plain_bpe(model) or model.get("ignore_merges") or META not in model["vocab"]:
        return None
    if not set(kinds) <= {"Replace", "Prepend"} or any(
        "Regex" in part.get("pattern", {}) for part in normalizers
    ):
        return None
    if any(META in token for token in _merged(model)):
        return None
    normalizer = spec.get("normalizer")
    if splitters:
        if kinds or splitters[0]["replacement"] != META:
            return None
        prefix = 0 if _scheme(splitters[0]) == "never" else 1
    else:
        if {"type": "Replace", "pattern": {"String": " "}, "content": META} not in normalizers:
            return None
        prefix = 2 if "Prepend" in kinds else 0
        kept = [part for part in normalizers if part["type"] != "Prepend"]
        normalizer = {"type": "Sequence", "normalizers": kept}
    return Recipe(
        blanks=2,
        prefix=prefix,
        model=2,
        parted=_parted(spec) and not (splitters and _scheme(splitters[0]) == "first"),
        strict=strict,
        normalizer=normalizer,
        pre_tokenizer=spec.get("pre_tokenizer"),
    )


def _merged(model: dict[str, Any]) -> list[str]:
    """The results of all merges, without leading spaces."""
    pairs = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"]]
    return [(left + right).lstrip(META) for left, right in pairs]
