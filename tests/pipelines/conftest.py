"""A tiny model, and the command line as a person calls it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from patience import PATIENCE
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from encoder import Encoder
from encoder.heads.cases import Cases, Strings
from encoder.heads.groups import Groups
from encoder.heads.scoring import Classifier, Novelty, Prototypes, unit_vectors
from encoder.model import StaticModel, load_model, save_model
from pipelines.cli.app import main

DIM = 16
_WORDS = ("card", "used", "in", "lisbon", "tokyo", "login", "failed", "disk", "full", "order", "paid", "at")
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    data: bytes
    err: str

    @property
    def out(self) -> str:
        """What it wrote to standard output, as text."""
        return self.data.decode()

    def done(self) -> dict[str, Any]:
        """What a command says that went well and was asked for JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def said(self) -> list[str]:
        """The lines on standard error, without those of progress, which a slow machine shows."""
        return [line for line in self.err.splitlines() if not re.match(r" *\d+ %  ", line)]

    @property
    def error(self) -> str:
        """The one line of an error."""
        assert self.code in (1, 2), (self.code, self.out)
        [line] = self.said
        assert line.startswith("error: "), line
        return line


@pytest.fixture(scope="session")
def tiny_model():
    """A model with a WordPiece tokenizer and 16 dimensions or others, drawn anew for each seed."""

    def make(folder, seed=7, dim=DIM):
        words = ["[PAD]", "[UNK]", *_WORDS, *_LETTERS, ":", ".", ",", *(f"##{letter}" for letter in _LETTERS)]
        vocabulary = {word: i for i, word in enumerate(words)}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        table = np.random.default_rng(seed).normal(size=(len(words), dim)).astype(np.float32)
        return save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True}), folder)

    return make


@pytest.fixture(scope="session")
def model(tiny_model, tmp_path_factory):
    """The folder of a tiny model."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def cases(name, vectors, nearest=3, threshold=0.3):
    """Known cases with these vectors, and labels of letters and signs."""
    ids = Strings.of([f"case/{k}" for k in range(len(vectors))])
    label = np.arange(len(vectors), dtype=np.int32) % 3
    vectors = unit_vectors(vectors).astype(np.float16)
    return Cases(name, ids, ("a", "b.c", "ü"), label, vectors, threshold, nearest)


def groups(name, templates):
    """Groups with one template each, ascending by their number of words."""
    ids, none = [f"g{k}" for k in range(len(templates))], Strings.of([""] * len(templates))
    own, sizes = np.arange(len(ids), dtype=np.int32), np.ones(len(ids), np.int64)
    texts = Strings.of(templates)
    return Groups(name, Strings.of(ids), texts, sizes, none, none, texts, own, texts, own, DIM)


def heads(seed=0):
    """A head of each kind for vectors of a tiny model."""
    random = np.random.default_rng(seed)

    def floats(*shape):
        return random.normal(size=shape).astype(np.float32)

    return (
        groups("event", ["disk full", "login failed", "login failed <*>"]),
        Classifier("fraud", ("ham", "spam"), 5 * floats(2, DIM), floats(2)),
        Prototypes("incident", ("fan", "disk"), unit_vectors(floats(2, DIM)), 0.2),
        cases("known", floats(30, DIM)),
        Novelty("odd", floats(4, DIM), floats(4) + 9, np.abs(floats(3)), 3.1),
        Classifier("tags", ("a", "b.c", "ü"), 5 * floats(3, DIM), floats(3), "sigmoid", True),
    )


SCORES = ("event_group", "event_template", "event_similarity")
SCORES += ("fraud_label", "fraud_score", "incident_nearest", "incident_similarity")
SCORES += ("known_id", "known_label", "known_similarity", "known_nearest", "known_vote", "known_share")
SCORES += ("odd_distance", "odd_novel", "tags_labels", "tags_scores")


@pytest.fixture(scope="session")
def headed(model, tmp_path_factory):
    """The tiny model with a head of each kind; `headed(name, …)` has only some, `seed=` others."""

    def make(*names, seed=0):
        chosen = tuple(head for head in heads(seed) if not names or head.name in names)
        folder = tmp_path_factory.mktemp("headed") / "tiny"
        return save_model(replace(load_model(model), heads=chosen), folder)

    return make


@pytest.fixture(scope="session")
def score_names():
    """The columns of all heads of `headed`."""
    return list(SCORES)


@pytest.fixture(scope="session")
def encoder(model):
    return Encoder.load(model, threads=1)


@pytest.fixture(params=["iceberg", "delta"])
def form(request):
    """The format of a table."""
    return request.param


@pytest.fixture
def lake(tmp_path):
    """A folder for tables of either format."""
    from lakes import Lake  # whose libraries few tests need

    with Lake.in_folder(tmp_path / "lake").known() as lake:
        yield lake


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """A machine without versions; what passed its trial in another test is not tried again."""
    tried, cache = Path(os.environ["MILLSTREAM_CACHE"], "tried"), tmp_path_factory.mktemp("cache")
    tried.mkdir(exist_ok=True)
    shutil.copytree(tried, cache / "tried")
    monkeypatch.setenv("MILLSTREAM_CACHE", str(cache))
    yield
    with suppress(FileNotFoundError):
        shutil.copytree(cache / "tried", tried, dirs_exist_ok=True)


@pytest.fixture
def millstream(monkeypatch):
    """Run `millstream …` in this process, through its way in."""

    def run(*arguments):
        monkeypatch.setenv("MILLSTREAM_DEBUG", "")
        monkeypatch.setattr(sys, "argv", ["millstream", *map(str, arguments)])
        out, err, code = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        out.flush()
        return Ended(code, out.buffer.getvalue(), err.getvalue())

    return run


@pytest.fixture
def backfill(millstream, model):
    """Run `millstream backfill` with the tiny model and one worker, unless others are named."""

    def run(inputs, output, *arguments, text="text", workers=1, ref=model):
        options = ["--model", ref, "--input", inputs, "--output", output, "--text", text]
        own = [str(argument) for argument in arguments]
        return millstream("backfill", *options, "--workers", workers, "--json", *own)

    return run


@pytest.fixture
def processes():
    """Start `python -m pipelines …` in processes of their own, which do not outlive the test."""
    started = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ended():
    """Wait until a process has ended."""

    def wait(process):
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out.encode(), err)

    return wait


@pytest.fixture
def rows():
    """The rows of a backfill's output, as any reader of Parquet folders finds them, sorted by a column."""

    def read(output, by="id"):
        return pq.read_table(output).sort_by(by)

    return read


@pytest.fixture
def matrix():
    """The vectors of a table, `(n, dim)`, whatever their layout."""

    def read(table, dtype="float32"):
        column = table["embedding"].combine_chunks()
        if str(column.type).startswith("fixed_size_binary"):
            return np.frombuffer(b"".join(column.to_pylist()), dtype).reshape(len(column), -1)
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)

    return read


@pytest.fixture
def letters():
    """The dead letters of an output folder by file and row."""

    def read(output):
        lines = [
            line
            for path in sorted((output / "dead_letters").glob("*.jsonl"))
            for line in path.read_text("utf-8").splitlines()
        ]
        return [json.loads(line) for line in lines]

    return read
