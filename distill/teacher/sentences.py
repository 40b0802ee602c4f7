"""The teacher's own sentence embeddings: its pooling, its further layers, its prompt, at length 1."""

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
from distill.teacher.loading import cannot_load, in_bfloat16, pick_device, quiet, without_float16
from distill.teacher.parallel import batch_map
from encoder.errors import ConfigurationError

__all__ = ["SentenceTeacher", "load_sentence_teacher"]

_CPU_BATCH, _GPU_BATCH = 16, 512  # texts; of a CPU's core
_GPU_CHARS = 1 << 17  # of a batch, padding included: some GB of a GPU's memory
_NO_LIMIT = 1 << 20  # what some tokenizers have for a length is 1e30


@dataclass(frozen=True)
class SentenceTeacher:
    """A sentence transformer that is ready to embed.

    Attributes:
        model: the `sentence_transformers.SentenceTransformer`.
        bfloat16: whether matrix products are computed in bfloat16.
        dim: the dimensions of a vector.
        max_tokens: tokens of a text that it reads, special ones included.
        digest: hexadecimal, of all that its vectors depend on.
    """

    model: Any
    bfloat16: bool
    dim: int
    max_tokens: int
    digest: str

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device(self.model.device)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The texts' vectors, `(n_texts, dim)` float32 of length 1; zeros where the teacher gives no number.

        Texts of like length go together, so little is padded.
        """
        lengths = np.array([len(text) for text in texts], np.int64)
        batches = list(_batches(lengths, on_cpu=self.device.type == "cpu"))
        vectors = np.zeros((len(texts), self.dim), np.float32)
        with batch_map(self.device) as each:
            pieces = each(self._embed_batch, [[texts[row] for row in rows] for rows in batches])
            for rows, found in zip(batches, pieces, strict=True):
                vectors[rows] = found
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _embed_batch(self, texts: list[str]) -> NDArray[np.float32]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            found = self.model.encode(
                texts, batch_size=len(texts), show_progress_bar=False, convert_to_tensor=True
            )
        vectors: NDArray[np.float32] = np.nan_to_num(found.float().cpu().numpy())
        return vectors


def _batches(lengths: NDArray[np.int64], *, on_cpu: bool) -> Iterator[NDArray[np.int64]]:
    """The numbers of texts that go together, the longest first; of long ones few, as a GPU's memory ends."""
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = max(int(lengths[order[first]]), 1)
        size = _CPU_BATCH if on_cpu else min(_GPU_BATCH, max(_GPU_CHARS // longest, 1))
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
    """Load a teacher with all that makes its sentence embeddings; the parameters are `distill.distill`'s.

    Raises:
        ConfigurationError: the device is not there, or the teacher cannot be found or loaded.
    """
    from sentence_transformers import SentenceTransformer

    place = pick_device(device)
    folder = Path(teacher).expanduser()
    try:
        with quiet():
            model = SentenceTransformer(
                str(folder) if folder.is_dir() else str(teacher),
                device=str(place),
                revision=revision,
                trust_remote_code=trust_remote_code,
            )
    except Exception as error:  # from five libraries, some of which raise bare Exception
        raise ConfigurationError(cannot_load(str(teacher), error)) from error
    bfloat16 = in_bfloat16(precision, place)
    model = without_float16(model) if bfloat16 else model.float()
    model.eval()
    digest = _digest(model, bfloat16)  # before it embeds, which leaves traces in its tokenizer
    dim = model.encode(["a"], show_progress_bar=False).shape[1]  # the name of the method that says it varies
    limit = min(model.max_seq_length or _NO_LIMIT, _NO_LIMIT)
    return SentenceTeacher(model, bfloat16, dim, limit, digest)


def _digest(model: Any, bfloat16: bool) -> str:
    """Of weights, layers, tokenizer, prompts, length and precision; the same wherever the teacher lies."""
    digest = hashlib.sha256()
    layers = [[type(layer).__name__, _settings(layer)] for layer in model]
    whole = {
        "layers": layers,
        "prompts": model.prompts,
        "prompt": model.default_prompt_name,
        "length": model.max_seq_length,
        "bfloat16": bfloat16,
    }
    digest.update(json.dumps(whole, sort_keys=True, default=str).encode())
    if backend := getattr(model.tokenizer, "backend_tokenizer", None):
        digest.update(backend.to_str().encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _settings(layer: Any) -> dict[str, Any]:
    """A layer's settings, those of the transformer included, without the place it was loaded from."""
    settings = dict(layer.get_config_dict()) if hasattr(layer, "get_config_dict") else {}
    config = getattr(getattr(layer, "auto_model", None), "config", None)
    if config is not None:
        settings["transformer"] = {k: v for k, v in config.to_dict().items() if k != "_name_or_path"}
    return settings
