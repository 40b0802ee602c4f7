"""Models to evaluate: static models, teachers, and files of word vectors."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from distill.evaluation.word_vectors import is_word_vectors, load_word_vectors
from distill.parameters import Precision
from encoder.encoder import Encoder
from encoder.errors import ModelFormatError
from encoder.model import StaticModel, load_model
from encoder.reference import parse

__all__ = ["EmbeddingModel", "open_model", "static_model"]


@dataclass(frozen=True)
class EmbeddingModel:
    """A model that embeds texts.

    Attributes:
        name: its name in reports.
        kind: `static`, `teacher` or `word vectors`.
        dim: the dimensions of a vector.
        n_bytes: the size of its weights and tokenizer; None if unknown.
        embed: maps a list of texts to `(n_texts, dim)` float32.
        static: the static model, if it is one.
    """

    name: str
    kind: str
    dim: int
    n_bytes: int | None
    embed: Callable[[Sequence[str]], NDArray[Any]]
    static: StaticModel | None = None


def static_model(model: StaticModel, name: str) -> EmbeddingModel:
    """Wrap a static model that is in memory."""
    arrays = (model.table, model.weights, model.mapping)
    n_bytes = sum(array.nbytes for array in arrays if array is not None) + len(model.tokenizer_json.encode())
    return EmbeddingModel(name, "static", model.dim, n_bytes, Encoder(model).encode, model)


def open_model(
    ref: str,
    *,
    texts: Callable[[], Iterable[str]] = tuple,
    device: str = "auto",
    precision: Precision = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> EmbeddingModel:
    """Open a model by its reference.

    Args:
        ref: a file of word vectors (`.vec`, or GloVe's `.txt`, optionally `.gz`), a static model (a folder or
            a version in a store), or a teacher (a folder or a Hugging Face id), tried in this order.
        texts: returns the texts that will be embedded; only their words' vectors are loaded.
        device: the device of a teacher, see `distill.distill`; other models run on the CPU.
        precision: the precision of a teacher.
        revision: the branch, tag or commit of a teacher on the Hub.
        trust_remote_code: run code that comes with a teacher.

    Raises:
        MillstreamError: there is no such model, or it cannot be loaded.
    """
    if is_word_vectors(ref):
        vectors = load_word_vectors(ref, texts())
        size = Path(ref).stat().st_size
        return EmbeddingModel(Path(ref).name, "word vectors", vectors.dim, size, vectors.embed)
    found = _static(ref)
    if found is not None:
        return found
    from distill.teacher.loading import teacher_bytes, teacher_name  # with torch, which takes seconds
    from distill.teacher.sentences import load_sentence_teacher

    teacher = load_sentence_teacher(
        ref, device=device, precision=precision, revision=revision, trust_remote_code=trust_remote_code
    )
    weights = teacher_bytes(ref, revision)
    return EmbeddingModel(teacher_name(ref), "teacher", teacher.dim, weights, teacher.embed)


def _static(ref: str) -> EmbeddingModel | None:
    """Open a static model; return None if the reference is that of a teacher."""
    reference = parse(ref)
    if reference.kind == "store":
        from encoder.store.cache import cached_model

        folder, manifest = cached_model(reference)
        return static_model(load_model(folder), f"{manifest.name}@{manifest.version}")
    if not Path(reference.location).is_dir():
        return None
    root = Path(os.path.abspath(reference.location))  # noqa: PTH100 - a link keeps its own name
    try:
        return static_model(load_model(root), root.name)
    except ModelFormatError:
        if (root / "modules.json").is_file() and "StaticEmbedding" in (root / "modules.json").read_text():
            raise  # a damaged static model
        return None
