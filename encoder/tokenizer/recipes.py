r"""Which tokenizers can be done piece by piece, read from `tokenizer.json` alone.

What is not recognised here is left to `tokenizers`, so this module is strict: each setting that it lets pass
keeps the promise that the ids of a text are those of its pieces, one behind the other. Why they are:

- Byte-level BPE cuts by a pattern whose every match ends before a space that follows no white space, whatever
  stands there. NFC never changes a character because of an ASCII one behind it.
- Metaspace cuts before each space, and `WhitespaceSplit` at it. Normalisers work on single characters and the
  marks that follow them, so a border between a visible character and a space stays where it is.
- Unigram behind `Metaspace` that does not split finds the best path through a whole text. No token reaches
  across the border before a space, so it is made of the best paths of pieces; where another path comes so
  near that rounding might decide, the text is for the library.
- BPE without pre-tokens never merges across a border where no token holds a space behind another character.
"""

from dataclasses import dataclass
from typing import Any

__all__ = ["META", "Recipe", "recipe"]

META = "\u2581"  # Metaspace's sign for a space
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_NEWER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DIGITS = {_NEWER % r"\p{N}": 1, _NEWER % r"\p{N}{1,3}": 3}
_ALL = 1 << 30
_MARGIN = 1e-5  # sums of 65,536 bytes are rounded by less than 1e-6
_SPACES = ({"Regex": " {2,}"}, {"String": " "})
_FORMS = {"NFC", "NFD", "NFKC", "NFKD"}
_ALONE = {"Lowercase", "Replace", "Prepend", "Strip"}  # these do not look at a character's neighbours


@dataclass(frozen=True)
class Recipe:
    """How a tokenizer is done piece by piece.

    Attributes:
        regex: 0 to cut at spaces, 1 at GPT-2's pattern, 2 at its successors'.
        digits: how many digits stay together.
        blanks: what several blanks before a plain piece are: 0 for the library, 1 as one, 2 each a sign.
        prefix: 0 where nothing is put before a text, 1 a space where there is none, 2 a space in any case.
        spaced: whether a space is put before each pre-token that begins with none.
        model: 0 for the library, 1 BPE of bytes, 2 BPE of characters, 3 Unigram, for plain pieces.
        margin: how near two paths of a piece may come in score for it to be sure, or 0 where pieces are whole
            pre-tokens.
        contextual: whether the normaliser looks at a character's neighbours.
        parted: whether what stands between two added tokens is cut as a text by itself.
        strict: whether only plain characters are for the kernel, because an added token is looked for in the
            normalised text.
        normalizer: the part of `tokenizer.json` that is right for a piece by itself.
        pre_tokenizer: likewise.
    """

    regex: int
    digits: int
    blanks: int
    prefix: int
    spaced: bool
    model: int
    margin: float
    contextual: bool
    parted: bool
    strict: bool
    normalizer: dict[str, Any] | None
    pre_tokenizer: dict[str, Any] | None


def recipe(spec: dict[str, Any]) -> Recipe | None:
    """How to do the tokenizer of a parsed `tokenizer.json`, or None where that is for the library."""
    normalizers = _parts(spec.get("normalizer"), "normalizers")
    splitters = _parts(spec.get("pre_tokenizer"), "pretokenizers")
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


def _parts(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The members of a sequence, nested or not."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [member for inner in part[key] for member in _parts(inner, key)]


def _known(normalizers: list[dict[str, Any]]) -> bool:
    """Whether all normalisers leave borders before spaces where they are."""
    for place, part in enumerate(normalizers):
        kind = part["type"]
        if kind == "Replace":
            if not _keeps_borders(part):
                return False
        elif kind == "Precompiled":
            if place:  # it works on grapheme clusters, and these are known of the text as it stands alone
                return False
        elif kind == "Prepend":
            if place or part["prepend"] != META:
                return False
        elif kind not in (*_FORMS, "Lowercase", "Strip"):
            return False
    return True


def _keeps_borders(part: dict[str, Any]) -> bool:
    """Whether a replacement touches no space, or runs of spaces alone."""
    pattern, content = part["pattern"], part["content"]
    if pattern in _SPACES:
        return content in (" ", META) if "Regex" in pattern else content == META
    text = pattern.get("String", "")
    return bool(text and content) and not any(char.isspace() or char == META for char in text + content)


def _strictness(spec: dict[str, Any], normalizers: list[dict[str, Any]]) -> bool | None:
    """Whether an added token makes the kernel strict; None where one cannot be done at all."""
    added = spec.get("added_tokens", [])
    if any(not token["content"] for token in added):
        return None
    normalized = [token["content"] for token in added if token["normalized"]]
    if not normalized or not normalizers:
        return False
    visible = all(token.isascii() and token.isprintable() and " " not in token for token in normalized)
    # These leave visible ASCII as it is: what is found in the normalised text stands in the text.
    kept = all(part["type"] in (*_FORMS, "Prepend") or _is_for_spaces(part) for part in normalizers)
    return True if visible and kept else None


def _parted(spec: dict[str, Any]) -> bool:
    """Whether added tokens are found in the text as it stands, and take nothing from what is around them."""
    flags = ("normalized", "lstrip", "rstrip", "single_word")
    return not any(token[flag] for token in spec.get("added_tokens", []) for flag in flags)


def _is_for_spaces(part: dict[str, Any]) -> bool:
    return part["type"] == "Replace" and part["pattern"] in _SPACES


def _splits(spec: dict[str, Any], metaspace: dict[str, Any]) -> bool:
    """Whether there is a border before each space: Metaspace's, or no token of Unigram reaches across."""
    if metaspace["replacement"] != META:
        return False
    model = spec["model"]
    tokens = {token for token, _ in model["vocab"]} if model["type"] == "Unigram" else set()
    return bool(metaspace.get("split", True)) or (
        META in tokens and not any(META in token[1:] for token in tokens)
    )


def _is_plain_bpe(model: dict[str, Any]) -> bool:
    """Whether the model is BPE whose merges are all there is to know."""
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
        blanks=0,
        prefix=prefix,
        spaced=spaced,
        model=1,
        margin=0.0,
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
        regex=0,
        digits=0,
        blanks=int(at_white_space or collapsed),
        prefix=prefix,
        spaced=False,
        model=native,
        margin=0.0 if splitters[-1].get("split", True) else _MARGIN,
        contextual=not kinds <= _ALONE,
        parted=_parted(spec) and scheme != "first",
        strict=strict,
        normalizer=spec.get("normalizer"),
        pre_tokenizer=spec["pre_tokenizer"],
    )


def _scheme(metaspace: dict[str, Any]) -> str:
    """When Metaspace puts its sign in front, in older files too."""
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
        regex=0,
        digits=0,
        blanks=2,
        prefix=prefix,
        spaced=False,
        model=2,
        margin=0.0,
        contextual=False,
        parted=_parted(spec) and not (splitters and _scheme(splitters[0]) == "first"),
        strict=strict,
        normalizer=normalizer,
        pre_tokenizer=spec.get("pre_tokenizer"),
    )


def _merged(model: dict[str, Any]) -> list[str]:
    """What the merges make, without the spaces at its beginning."""
    pairs = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"]]
    return [(left + right).lstrip(META) for left, right in pairs]
