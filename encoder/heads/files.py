"""The files of heads in a model folder: `heads/NAME.safetensors`, arrays and one JSON text.

A head works only with the vectors that it was fitted to. So its file holds the digest of everything that
they depend on, and loading fails if the model's differs. model2vec and sentence-transformers ignore it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from encoder.arrays.mmap_arrays import map_tensors
from encoder.errors import ConfigurationError, InputError, ModelFormatError
from encoder.heads.case_files import case_arrays, check_cases, unpack_cases
from encoder.heads.cases import Cases
from encoder.heads.drift import Drift
from encoder.heads.drift_files import check_drift, drift_arrays, read_drift_arrays
from encoder.heads.group_files import check_groups, group_arrays, unpack_groups
from encoder.heads.groups import Groups
from encoder.heads.scoring import Classifier, Head, Novelty, Prototypes
from encoder.json_values import check_json
from encoder.model_files import plain_file

__all__ = [
    "FOLDER",
    "check_head_name",
    "head_path",
    "pack_head",
    "read_heads",
    "vectors_digest",
]

FOLDER = "heads"
"""The folder of heads in a model folder."""

FORMAT = 1
"""The files' format; it increases whenever an older reader would misread a file."""

_KEY = "millstream.head"
_LARGEST_SCORE = 1e30  # far below float32's limit
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}\Z")
_Texts = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
_Vectors = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class _Format(msgspec.Struct):
    """The only field that every format has."""

    format: int


class _About(
    msgspec.Struct, kw_only=True, omit_defaults=True, rename={"multi_label": "several", "metadata": "facts"}
):
    """The JSON text of a file; fields that a kind of head does not have are None."""

    format: int
    kind: Literal["classifier", "prototypes", "novelty", "cases", "groups", "drift"]
    name: str
    vectors: _Vectors
    labels: _Texts | None = None
    names: _Texts | None = None
    link: Literal["softmax", "sigmoid", "isotonic"] | None = None
    multi_label: bool = False
    threshold: float | None = None
    nearest: int | None = None
    scored: dict[str, str] | None = None
    metadata: dict[str, Any] = {}


def check_head_name(name: str) -> str:
    """Return a head's name if it can be part of column and file names.

    Raises:
        ConfigurationError: it cannot.
    """
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} is not a name for a head: use letters, digits and '_', as in fraud_kind"
        )
    return name


def head_path(name: str) -> str:
    """The path of a head in a model folder, such as `heads/fraud.safetensors`."""
    return f"{FOLDER}/{name}.safetensors"


def vectors_digest(
    arrays: Sequence[NDArray[Any] | None],
    tokenizer_json: str,
    *,
    normalize: bool,
    max_length: int | None,
    masks: Sequence[str] = (),
) -> str:
    """`sha256:` and the hash of everything in a static model that vectors depend on.

    Args:
        arrays: its table, weights and mapping.
        tokenizer_json: the text of its tokenizer.json.
        normalize: whether it scales vectors to length 1.
        max_length: how many tokens of a text it uses, or None for all.
        masks: what is masked in texts, as `Masks.to_json` writes it.
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
    if masks:  # a model without them keeps the digest that older heads hold
        total.update(msgspec.json.encode(masks))
    return f"sha256:{total.hexdigest()}"


def pack_head(head: Head, vectors: str) -> bytes:
    """The bytes of a head's file.

    Args:
        head: the head.
        vectors: `vectors_digest` of the model that it was fitted to.

    Raises:
        InputError: a number is not finite in float32, or the metadata is not JSON.
    """
    check_json(head.metadata, f"`metadata` of the head {head.name!r}", InputError)
    about = _About(format=FORMAT, kind=head.kind, name=head.name, vectors=vectors, metadata=head.metadata)
    if isinstance(head, Cases):
        about.threshold, about.nearest = head.threshold, head.nearest
        return _saved(about, case_arrays(head))
    if isinstance(head, Groups):
        about.threshold = None if head.vectors is None else head.threshold
        return _saved(about, group_arrays(head))
    if isinstance(head, Drift):
        about.names, about.scored, about.threshold = head.labels or None, head.scored, head.threshold
        return _saved(about, drift_arrays(head))
    tensors: dict[str, NDArray[Any]] = {"directions": head.directions}
    if isinstance(head, Classifier):
        about.labels, about.link, about.multi_label = head.labels, head.link, head.multi_label
        tensors["offsets"] = head.offsets
        for k, (logits, probabilities) in enumerate(head.curves):
            tensors[f"curve.{k}"] = np.stack([logits, probabilities])
    elif isinstance(head, Prototypes):
        about.names, about.threshold = head.names, head.threshold
    else:
        about.threshold = head.threshold
        tensors |= {"offsets": head.offsets, "squares": head.squares}
    with np.errstate(over="ignore"):
        tensors = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
    return _saved(about, tensors)


def _saved(about: _About, tensors: dict[str, NDArray[Any]]) -> bytes:
    numbers = [*tensors.items(), ("threshold", np.asarray(about.threshold or 0.0))]
    if bad := next((name for name, array in numbers if not np.isfinite(array).all()), None):
        raise InputError(f"the head {about.name!r} has {bad} that is not finite in float32: fit it again")
    return save(tensors, {_KEY: msgspec.json.encode(about).decode()})


def read_heads(folder: Path, vectors: Callable[[], str], dim: int) -> tuple[Head, ...]:
    """Read the heads of a model folder.

    Args:
        folder: the model folder.
        vectors: returns the model's `vectors_digest`; called only if there are heads.
        dim: the number of dimensions of the model.

    Raises:
        ModelFormatError: a file is damaged, or its head was fitted to other vectors.
    """
    files = sorted((folder / FOLDER).glob("*.safetensors"))
    digest = vectors() if files else ""
    heads = []
    for path in files:
        try:
            head, fitted_to = _unpack(plain_file(path, folder))
            _check(head, path.stem, dim)
        except (ValueError, LookupError, RecursionError, ModelFormatError, msgspec.DecodeError) as error:
            raise ModelFormatError(f"{path} is not a head: {error}") from error
        if fitted_to != digest:
            raise ModelFormatError(
                f"the head {head.name!r} was fitted to other vectors than those of {folder}: fit it again "
                f"with `millstream head fit`, or remove {path}"
            )
        heads.append(head)
    return tuple(heads)


def _unpack(path: Path) -> tuple[Head, str]:
    """The head in a file, and the digest of the vectors that it was fitted to.

    Raises:
        ModelFormatError: it is not a safetensors file.
        ValueError, LookupError, RecursionError, msgspec.DecodeError: it does not hold a head.
    """
    tensors, metadata = map_tensors(path)
    text = metadata[_KEY]
    found = msgspec.json.decode(text, type=_Format).format
    if found != FORMAT:
        raise ValueError(f"it has format {found}, this Millstream reads {FORMAT}: upgrade Millstream")
    about = msgspec.json.decode(text, type=_About)
    return _head(about, tensors), about.vectors


def _head(about: _About, tensors: Mapping[str, NDArray[Any]]) -> Head:
    if about.kind == "cases":
        nearest = 1 if about.nearest is None else about.nearest
        return unpack_cases(about.name, _threshold(about), nearest, about.metadata, tensors)
    if about.kind == "groups":
        return unpack_groups(about.name, about.threshold, about.metadata, tensors)
    if about.kind == "drift":
        return Drift(
            about.name,
            threshold=_threshold(about),
            labels=about.names or (),
            scored=about.scored or {},
            metadata=about.metadata,
            **read_drift_arrays(tensors),
        )
    tensors = {name: np.array(array) for name, array in tensors.items()}
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
            about.multi_label,
            tuple(_curve(name, tensors[name]) for name in curves),
            about.metadata,
        )
    if about.kind == "prototypes":
        return Prototypes(about.name, about.names or (), directions, _threshold(about), about.metadata)
    return Novelty(
        about.name, directions, tensors["offsets"], tensors["squares"], _threshold(about), about.metadata
    )


def _threshold(about: _About) -> float:
    if about.threshold is None:
        raise ValueError("it has no threshold")
    return about.threshold


def _curve(name: str, points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if points.ndim != 2 or len(points) != 2 or not points.size:
        raise ValueError(f"{name} has shape {points.shape}: it must be (2, n_points)")
    return points[0], points[1]


def _check(head: Head, name: str, dim: int) -> None:
    """Raise ValueError unless the parts of a head match each other and the model, and scores are finite."""
    if head.name != name or not _NAME.match(name):
        raise ValueError(f"it holds a head {head.name!r}")
    if isinstance(head, Cases):
        check_cases(head, dim)
    elif isinstance(head, Groups):
        check_groups(head, dim)
    elif isinstance(head, Drift):
        check_drift(head, dim)
    else:
        _check_linear(head, dim)


def _check_linear(head: Classifier | Prototypes | Novelty, dim: int) -> None:
    if isinstance(head, Novelty):
        n_rows = head.squares.size + 1
        if head.squares.shape != (n_rows - 1,):
            raise ValueError(f"its squares have shape {head.squares.shape}")
    else:
        n_rows = len(head.labels if isinstance(head, Classifier) else head.names)
    if head.directions.shape != (n_rows, dim) or head.offsets.shape != (n_rows,):
        raise ValueError(f"its arrays do not have {n_rows} labels or axes and {dim} dimensions")
    # The largest product with a vector of length 1, and the largest distance.
    bounds = np.abs(head.directions).sum(axis=1, dtype=np.float64) + np.abs(head.offsets)
    if isinstance(head, Novelty):
        bounds[:-1] = np.abs(head.squares) * bounds[:-1] ** 2
    if bounds.sum() > _LARGEST_SCORE:
        raise ValueError("its numbers are so large that scores could be infinite")
    if isinstance(head, Classifier):
        rising = all((np.diff(x) >= 0).all() and 0 <= y.min() <= y.max() <= 1 for x, y in head.curves)
        if len(head.curves) != (n_rows if head.link == "isotonic" else 0) or not rising:
            raise ValueError("its curves do not match its labels")
        if head.multi_label and head.link == "softmax":
            raise ValueError("softmax cannot give more than one label")
