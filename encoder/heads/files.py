"""Heads as files of a model folder: `heads/NAME.safetensors`, arrays beside one JSON text.

A head belongs to the vectors that it was fitted to. So the file holds the digest of all that these depend
on, and a folder whose table or tokenizer is another one is refused. model2vec and sentence-transformers look
at no such file.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from encoder.errors import ConfigurationError, ModelFormatError
from encoder.heads.scoring import Classifier, Head, Novelty, Prototypes

__all__ = [
    "FOLDER",
    "check_head_name",
    "head_path",
    "pack_head",
    "read_heads",
    "vectors_digest",
]

FOLDER = "heads"
"""The folder inside a model's."""

FORMAT = 1
"""Of the files; it grows whenever a reader of the old one would misread the new one."""

_KEY = "millstream.head"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}\Z")
_Texts = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
_Vectors = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class _Format(msgspec.Struct):
    """The only field that every format has."""

    format: int


class _About(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The JSON text of a file; what each kind does not have is None."""

    format: int
    kind: Literal["classifier", "prototypes", "novelty"]
    name: str
    vectors: _Vectors
    labels: _Texts | None = None
    names: _Texts | None = None
    link: Literal["softmax", "sigmoid", "isotonic"] | None = None
    several: bool = False
    threshold: float | None = None
    facts: dict[str, Any] = {}


def check_head_name(name: str) -> str:
    """Return a head's name if columns and files can begin with it.

    Raises:
        ConfigurationError: they cannot.
    """
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} is no name for a head: use letters, digits and '_', a letter first, as in fraud_kind"
        )
    return name


def head_path(name: str) -> str:
    """The path of a head in a model folder, as `heads/fraud.safetensors`."""
    return f"{FOLDER}/{name}.safetensors"


def vectors_digest(
    arrays: Sequence[NDArray[Any] | None], tokenizer_json: str, *, normalize: bool, max_length: int | None
) -> str:
    """`sha256:` and the hash of all that a text's vector depends on: the parts of a static model.

    Args:
        arrays: its table, weights and mapping.
        tokenizer_json: its tokenizer.
        normalize: whether it scales vectors.
        max_length: the tokens of a text that it uses, or None for all.
    """
    total = hashlib.sha256()
    for array in arrays:
        if array is None:
            total.update(b"none")
            continue
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    total.update(msgspec.json.encode([normalize, max_length]))
    total.update(tokenizer_json.encode())
    return f"sha256:{total.hexdigest()}"


def pack_head(head: Head, vectors: str) -> bytes:
    """The bytes of a head's file.

    Args:
        head: the head.
        vectors: `vectors_digest` of the model that it was fitted to.
    """
    about = _About(format=FORMAT, kind=head.kind, name=head.name, vectors=vectors, facts=head.facts)
    tensors: dict[str, NDArray[Any]] = {"directions": head.directions}
    if isinstance(head, Classifier):
        about.labels, about.link, about.several = head.labels, head.link, head.several
        tensors["offsets"] = head.offsets
        for k, (logits, probabilities) in enumerate(head.curves):
            tensors[f"curve.{k}"] = np.stack([logits, probabilities])
    elif isinstance(head, Prototypes):
        about.names, about.threshold = head.names, head.threshold
    else:
        about.threshold = head.threshold
        tensors |= {"offsets": head.offsets, "squares": head.squares}
    tensors = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
    return save(tensors, {_KEY: msgspec.json.encode(about).decode()})


def read_heads(folder: Path, vectors: Callable[[], str], dim: int) -> tuple[Head, ...]:
    """Read the heads of a model folder.

    Args:
        folder: of the model.
        vectors: gives `vectors_digest` of the model; asked for only where there is a head.
        dim: the model's dimensions.

    Raises:
        ModelFormatError: a file is damaged, or its head was fitted to other vectors.
    """
    files = sorted((folder / FOLDER).glob("*.safetensors"))
    digest = vectors() if files else ""
    heads = []
    for path in files:
        try:
            head, fitted_to = _unpack(path.read_bytes())
            _check(head, path.stem, dim)
        except (OSError, ValueError, KeyError, SafetensorError, msgspec.DecodeError) as error:
            raise ModelFormatError(f"{path} is no head: {error}") from error
        if fitted_to != digest:
            raise ModelFormatError(
                f"the head {head.name!r} was fitted to other vectors than those of {folder}: fit it again "
                f"with `millstream head fit`, or remove {path}"
            )
        heads.append(head)
    return tuple(heads)


def _unpack(data: bytes) -> tuple[Head, str]:
    """The head in a file's bytes, and the digest of the vectors that it was fitted to.

    Raises:
        ValueError, KeyError, SafetensorError, msgspec.DecodeError: they are no such file.
    """
    text = _metadata(data)
    found = msgspec.json.decode(text, type=_Format).format
    if found != FORMAT:
        raise ValueError(f"it has format {found}, this Millstream reads {FORMAT}: upgrade Millstream")
    about, tensors = msgspec.json.decode(text, type=_About), load(data)
    return _head(about, tensors), about.vectors


def _metadata(data: bytes) -> bytes:
    """What stands in a safetensors file beside its arrays."""
    size = int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, Any])
    return str(header.get("__metadata__", {})[_KEY]).encode()


def _head(about: _About, tensors: dict[str, NDArray[Any]]) -> Head:
    for name, array in tensors.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name!r} must be finite float32 numbers")
    directions = tensors["directions"]
    if about.kind == "classifier":
        curves = sorted((n for n in tensors if n.startswith("curve.")), key=lambda n: int(n[len("curve.") :]))
        return Classifier(
            about.name,
            about.labels or (),
            directions,
            tensors["offsets"],
            about.link or "softmax",
            about.several,
            tuple((tensors[name][0], tensors[name][1]) for name in curves),
            about.facts,
        )
    if about.threshold is None:
        raise ValueError("it has no threshold")
    if about.kind == "prototypes":
        return Prototypes(about.name, about.names or (), directions, about.threshold, about.facts)
    return Novelty(
        about.name, directions, tensors["offsets"], tensors["squares"], about.threshold, about.facts
    )


def _check(head: Head, name: str, dim: int) -> None:
    """Check that the parts of a head fit together, and into its model.

    Raises:
        ValueError: they do not.
    """
    n_labels = {
        "classifier": lambda: len(head.labels),  # type: ignore[union-attr] # it is a classifier
        "prototypes": lambda: len(head.names),  # type: ignore[union-attr] # they are prototypes
        "novelty": lambda: len(head.squares) + 1,  # type: ignore[union-attr] # it is one of novelty
    }[head.kind]()
    if head.name != name or not _NAME.match(name):
        raise ValueError(f"it holds a head {head.name!r}")
    if head.directions.shape != (n_labels, dim) or head.offsets.shape != (n_labels,):
        raise ValueError(f"its arrays do not fit {n_labels} labels or axes and {dim} dimensions")
    if isinstance(head, Classifier):
        rising = all(len(x) and (np.diff(x) >= 0).all() for x, _ in head.curves)
        if len(head.curves) != (n_labels if head.link == "isotonic" else 0) or not rising:
            raise ValueError("its curves do not fit its labels")
        if head.several and head.link == "softmax":
            raise ValueError("several labels and softmax do not go together")
