"""Unicode texts to try a tokenizer on: strategies for hypothesis, and a fast generator of many."""

import unicodedata

import numpy as np
from hypothesis import strategies as st

ADDED = (
    "[CLS]",
    "[MASK]",
    "[UNK]",
    "[PAD]",
    "[SEP]",
    "[ MASK ]",
    "[mask]",
    "[MASK",
    "<mail>",
    "unk",
    "##",
    "@@",
)
TRICKY = (
    "\0\x01\x02\x03\x04\x1f\x7f\x80\x85\xa0\xad\t\n\r "  # NUL, controls and white space
    "\u0345\u0300\u0301\u0308\u0327\u0344\u302e\u302f\u20e3\u093f\u0903"  # marks of several classes
    "\u200b\u200c\u200d\u200e\u202e\u2060\ufeff\ufe0f\ufffd\u2028\u3000"  # zero width, direction, separators
    "ßİıŒǅÅÅΣςϓﬁỊ̇\U0001d538"  # case and decompositions
    "가각힣각中㐀豈你"  # Hangul syllables, jamo, Han
    "\u0378\u0e5c\U000e0fff\U0010ffff\ue000\ufdd0"  # unassigned, private, no characters
    '!"#$+<=>^`|~§¿‽、।״\u2010'  # what splits, and what looks like it
)
LONG_PARTS = ("a", "Z", "é", "e\u0301", "각", "ж", "\u0301", "İ", "7", "\U0001d538")

characters = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(TRICKY),
    st.characters(max_codepoint=0x24F),
    st.sampled_from([c for c in map(chr, range(0x3000)) if unicodedata.combining(c)]),
)
words = st.text(characters, max_size=12)
long_words = st.builds(
    lambda part, n, tail: part * n + tail,
    st.sampled_from(LONG_PARTS),
    st.sampled_from([6, 7, 8, 33, 34, 99, 100, 101, 127, 128, 129, 511, 513, 999, 1000, 1001]),
    st.sampled_from(["", "b", "é", "\u0301", " x"]),
)
texts = st.lists(
    st.one_of(
        words, words, words, long_words, st.sampled_from(ADDED), st.sampled_from(["card", "Failed", "ssh2"])
    ),
    max_size=8,
).flatmap(lambda parts: st.sampled_from(["", " ", "\u00a0", "-"]).map(lambda between: between.join(parts)))

_COMMON = (
    np.arange(0x20, 0x7F),
    np.arange(0x61, 0x7B),
    np.arange(0x80, 0x800),
    np.array([ord(c) for c in TRICKY]),
    np.arange(0x300, 0x370),
    np.arange(0xAC00, 0xAE00),
    np.arange(0x3000, 0x3100),
    np.arange(0x4E00, 0x5000),
)
_ANYWHERE = (
    np.arange(0x80, 0x3000),
    np.array([code for code in range(0x30000) if unicodedata.combining(chr(code))]),
    np.arange(0x3000, 0xD800),
    np.array([code for code in range(0x32000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]),
)


def many(count: int, random: np.random.Generator, *, anywhere: bool = False, longest: int = 40) -> list[str]:
    """`count` random texts, more than half of them ASCII; the rest of a few scripts, or from anywhere."""
    pools = (*_COMMON, *_ANYWHERE) if anywhere else _COMMON
    shares = np.array([8, 8] + [1] * (len(pools) - 2), float)
    lengths = random.integers(0, longest + 1, count)
    n_codes = int(lengths.sum())
    # One script for a few characters in a row, as texts have it.
    numbers = random.choice(len(pools), size=n_codes // 4 + 1, p=shares / shares.sum())
    runs = np.repeat(numbers, 4)[:n_codes]
    codes = np.zeros(n_codes, np.uint32)
    for number, pool in enumerate(pools):
        here = runs == number
        codes[here] = random.choice(pool, size=int(here.sum()))
    codes[random.random(n_codes) < 0.12] = 0x20
    whole = codes.astype("<u4").tobytes().decode("utf-32-le")
    ends = np.cumsum(lengths).tolist()
    return [whole[first:last] for first, last in zip([0, *ends], ends, strict=False)]


def mutate(lines: list[str], random: np.random.Generator) -> list[str]:
    """Each line with one to four random edits: a piece cut out, turned, doubled, or foreign text put in."""
    foreign = [*ADDED, *TRICKY, *LONG_PARTS, "a" * 99, "é" * 100, "Ab" * 51, " "]
    picks = random.integers(0, 1 << 30, (len(lines), 4, 3)).tolist()
    rounds = random.integers(1, 5, len(lines)).tolist()
    out = []
    for line, edits, n_edits in zip(lines, picks, rounds, strict=True):
        text = line
        for kind, a, b in edits[:n_edits]:
            i = a % (len(text) + 1)
            j = min(len(text), i + b % 8)
            piece = (
                text[i:j] + text[i:j],
                "",
                foreign[b % len(foreign)],
                text[i:j].upper(),
                text[i:j][::-1],
            )[kind % 5]
            text = text[:i] + piece + text[j:]
        out.append(text)
    return out
