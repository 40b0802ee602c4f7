"""The teacher's sentence embeddings, with its own pooling, further layers and prompt, at length 1."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distill.parameters import Precision
from distill.teacher.loading import cannot_load, pick_device, quiet, use_bfloat16
from distill.teacher.parallel import batch_map
from encoder.errors import ConfigurationError

__all__ = ["SentenceTeacher", "load_sentence_teacher"]

_BATCH_TEXTS = 512
_CPU_CHARS = 1 << 14  # of a batch, with padding: products on one core are large enough to be fast
_GPU_CHARS = 1 << 17  # a few GB of GPU memory
_NO_LIMIT = 1 << 20  # some tokenizers have a maximum length of 1e30


@dataclass(frozen=True)
class SentenceTeacher:
    """A loaded sentence transformer.

    Attributes:
        model: the `sentence_transformers.SentenceTransformer`.
        dim: the dimensions of a vector.
        max_tokens: the maximum length of a text in tokens, including special tokens.
        digest: hexadecimal digest of everything that its vectors depend on.
    """

    model: Any
    dim: int
    max_tokens: int
    digest: str

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return torch.device(self.model.device)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: `(n_texts, dim)` float32 of length 1; zeros if the teacher returns NaN.

        Texts of similar length share a batch, which keeps padding small.
        """
        lengths = np.array([len(text) for text in texts], np.int64)
        batches = list(_batches(lengths, _CPU_CHARS if self.device.type == "cpu" else _GPU_CHARS))
        vectors = np.zeros((len(texts), self.dim), np.float32)
        with batch_map(self.device) as each:
            pieces = each(self._embed_batch, [[texts[row] for row in rows] for rows in batches])
            for rows, found in zip(batches, pieces, strict=True):
                vectors[rows] = found
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _embed_batch(self, texts: list[str]) -> NDArray[np.float32]:
        found = self.model.encode(
            texts, batch_size=len(texts), show_progress_bar=False, convert_to_tensor=True
        )
        vectors: NDArray[np.float32] = np.nan_to_num(found.float().cpu().numpy())
        return vectors


def _batches(lengths: NDArray[np.int64], most_chars: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of indices, longest texts first, of so many characters with padding."""
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = max(int(lengths[order[first]]), 1)
        size = min(_BATCH_TEXTS, max(most_chars // longest, 1))
        yield order[first : first + size]
        first += size


def load_sentence_teacher(
    teacher: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> SentenceTeacher:
    """Load a teacher for sentence vectors; see `distill.distill` for the parameters.

    Raises:
        ConfigurationError: the device is not available, or the teacher is missing or cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    picked = pick_device(device)
    folder = Path(teacher).expanduser()
    try:
        with quiet():
            model = SentenceTransformer(
                str(folder) if folder.is_dir() else str(teacher),
                device=str(picked),
                revision=revision,
                trust_remote_code=trust_remote_code,
            )
    except Exception as error:  # from five libraries, some of which raise bare Exception
        raise ConfigurationError(cannot_load(str(teacher), error)) from error
    bfloat16 = use_bfloat16(precision, picked)
    model.float().eval()
    digest = _digest(model, bfloat16)  # before embedding, which changes its tokenizer's settings
    if bfloat16:
        _to_bfloat16(model)
    dim = model.encode(["a"], show_progress_bar=False).shape[1]  # the method that returns it changed its name
    limit = min(model.max_seq_length or _NO_LIMIT, _NO_LIMIT)
    return SentenceTeacher(model, dim, limit, digest)


def _to_bfloat16(model: Any) -> None:
    """Compute the transformer in bfloat16, and what follows it, such as the mean of the tokens, in float32.

    Half as many bytes pass through normalisation, activation and attention as when matrix products alone use
    bfloat16, and cosines change by 0.0009 in the mean square (`tests/benchmarks/teacher.py`).
    """
    transformer = model[0]
    if not hasattr(transformer, "auto_model"):
        return  # word embeddings and the like have little to compute

    def widen(_: Any, __: Any, features: dict[str, Any]) -> dict[str, Any]:
        def wide(value: Any) -> Any:
            return value.float() if getattr(value, "dtype", None) == torch.bfloat16 else value

        return {key: wide(value) for key, value in features.items()}

    transformer.bfloat16()
    transformer.register_forward_hook(widen)


def _digest(model: Any, bfloat16: bool) -> str:
    """Digest weights, layers, tokenizer, prompts, length and precision, but not the teacher's location."""
    digest = hashlib.sha256()
    layers = [[type(layer).__name__, _settings(layer)] for layer in model]
    whole = {
        "layers": layers,
        "prompts": model.prompts,
        "prompt": model.default_prompt_name,
        "length": model.max_seq_length,
        "transformer in bfloat16": bfloat16,
    }
    digest.update(json.dumps(whole, sort_keys=True, default=str).encode())
    if backend := getattr(model.tokenizer, "backend_tokenizer", None):
        digest.update(backend.to_str().encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _settings(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer and its transformer, without the path it was loaded from."""
    settings = dict(layer.get_config_dict()) if hasattr(layer, "get_config_dict") else {}
    config = getattr(getattr(layer, "auto_model", None), "config", None)
    if config is not None:
        settings["transformer"] = {k: v for k, v in config.to_dict().items() if k != "_name_or_path"}
    return settings
