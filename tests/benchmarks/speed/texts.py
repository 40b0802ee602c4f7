"""The texts that are embedded: kinds by name, each a list of str without line breaks."""

import functools
import gzip
import itertools
import random
import re
import sys
import tomllib
from pathlib import Path

from benchmarks.speed.materials import found_log_lines

__all__ = ["SOURCES", "load_texts"]

DATA = Path(__file__).parents[4] / "shared/data"
SOURCES = ("log lines", "sentences")
"""Kinds that are read from files; the others are made of the sentences, or of languages.toml."""
_MADE_UP = 0.1  # of the words, as a stream always brings words that were not met before


def load_texts(files, tokenizer, most):
    """All kinds of texts.

    Args:
        files: kind → file with a text a line, plain or gzip, instead of the shared data or of what is
            made otherwise.
        tokenizer: counts the tokens of texts that are cut by tokens.
        most: texts of a kind.
    """
    texts = {kind: read(files[kind]) if kind in files else shared(kind) for kind in SOURCES}
    for kind, found in texts.items():
        random.Random(0).shuffle(found)
        texts[kind] = list(itertools.islice(itertools.cycle(found), most))
    sentences = texts["sentences"]
    texts["ASCII sentences"] = [text for text in sentences if text.isascii()]
    texts["10 tokens"] = cut(sentences, 10, tokenizer, most)
    texts["1,000 tokens"] = cut(sentences, 1000, tokenizer, max(20, most // 50))
    texts["log lines, new digits"] = new_digits(texts["log lines"], 2 * most)
    languages = tomllib.loads(Path(__file__).with_name("languages.toml").read_text("utf-8"))
    for language, written in languages.items():
        texts[language] = vary(written, most // 2)
    texts |= {kind: read(path)[:most] for kind, path in files.items() if kind not in SOURCES}
    return texts


def read(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    return lines or sys.exit(f"{path} holds no text")


def shared(kind):
    if kind == "log lines":
        found = found_log_lines()
    else:
        corpus = DATA / "corpus/general.txt.gz"
        found = read(corpus) if corpus.is_file() else []
    return found or sys.exit(
        f"the {kind} of {DATA} are absent: name a file with a text a line: --texts '{kind}=FILE'"
    )


def cut(sentences, n_tokens, tokenizer, most):
    """Texts of at least `n_tokens` tokens, of whole words; BERT's words do not change their neighbours."""
    count = functools.cache(lambda word: len(tokenizer.encode(word, add_special_tokens=False)))
    words = itertools.cycle(word for text in sentences for word in text.split())
    texts = []
    while len(texts) < most:
        text, tokens = [], 0
        while tokens < n_tokens:
            word = next(words)
            text.append(word)
            tokens += count(word)
        texts.append(" ".join(text))
    return texts


def new_digits(lines, most):
    """The lines again and again, each time with other digits in the place of its own."""
    choice = random.Random(0)
    orders = [str.maketrans("0123456789", "".join(choice.sample("0123456789", 10))) for _ in range(1000)]
    return [line.translate(choice.choice(orders)) for line in itertools.islice(itertools.cycle(lines), most)]


def vary(sentences, most):
    """One or two sentences a text; a tenth of the words is new: the head of one and the tail of another."""
    choice = random.Random(0)
    words = [word for text in sentences for word in re.findall(r"\w+", text)]

    def exchange(match):
        if choice.random() >= _MADE_UP:
            return match[0]
        head, tail = match[0], choice.choice(words)
        return head[: (len(head) + 1) // 2] + tail[len(tail) // 2 :]

    return [
        re.sub(r"\w+", exchange, " ".join(choice.sample(sentences, choice.randint(1, 2))))
        for _ in range(most)
    ]
