"""The forward pass: the teacher's vector of each vocabulary entry."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distill.parameters import Pooling
from distill.teacher.loading import Teacher
from distill.teacher.parallel import batch_map
from encoder.errors import ConfigurationError

__all__ = ["embed_sequences"]

_CPU_BATCH, _GPU_BATCH = 512, 2048  # sequences


def embed_sequences(
    teacher: Teacher,
    sequences: Sequence[list[int]],
    *,
    pooling: Pooling = "mean",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Embed sequences of token ids.

    A batch holds sequences of one length, so nothing is padded or masked. Vocabulary entries have three
    tokens each, except for added words.

    Args:
        teacher: the teacher.
        sequences: the token ids of each sequence, including special tokens.
        pooling: how the hidden states of the last layer become one vector.
        progress: called after each batch with the number of sequences done and the total.

    Returns:
        `(n_sequences, hidden_size)` float32, not normalised; NaN becomes zero.

    Raises:
        ConfigurationError: the teacher lacks an embedding for an id, has no pooler, or returns only NaN.
    """
    _check_ids(teacher, sequences)
    device = teacher.model.device
    batches = list(_batches(sequences, _CPU_BATCH if device.type == "cpu" else _GPU_BATCH))
    pieces, order = [], []
    with batch_map(device) as each:
        embed = partial(_embed_batch, teacher, sequences, pooling)
        for rows, piece in zip(batches, each(embed, batches), strict=True):
            pieces.append(piece)
            order += rows
            if progress:
                progress(len(order), len(sequences))
    vectors: NDArray[np.float32] = torch.cat(pieces)[torch.tensor(order).argsort()].numpy()
    if not vectors.any():
        raise ConfigurationError(
            f"the teacher {teacher.name} returns NaN for every token: set `precision` to float32, or "
            "`device` to cpu"
        )
    return vectors


def _check_ids(teacher: Teacher, sequences: Sequence[list[int]]) -> None:
    n_ids = teacher.model.get_input_embeddings().weight.shape[0]
    if (highest := max(map(max, sequences))) >= n_ids:
        raise ConfigurationError(
            f"the tokenizer of {teacher.name} has the id {highest}, but its model has only {n_ids} "
            "embeddings: they do not belong together"
        )


def _embed_batch(
    teacher: Teacher, sequences: Sequence[list[int]], pooling: Pooling, rows: list[int]
) -> torch.Tensor:
    """Embed sequences of one length: `(n, hidden_size)` float32."""
    device = teacher.model.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=teacher.bfloat16):
        ids = torch.tensor([sequences[row] for row in rows], device=device)
        output = teacher.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        return _pool(output, pooling, teacher.name).float().nan_to_num_().cpu()


def _batches(sequences: Sequence[list[int]], size: int) -> Iterator[list[int]]:
    """Yield the indices of sequences in batches of one length."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, sequence in enumerate(sequences):
        by_length[len(sequence)].append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _pool(output: Any, pooling: Pooling, name: str) -> torch.Tensor:
    """Pool the hidden states, `(n, length, hidden_size)`, to `(n, hidden_size)`."""
    hidden: torch.Tensor = output.last_hidden_state
    if pooling == "mean":
        return hidden.float().mean(dim=1)
    if pooling == "first":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[:, -1]
    pooled: torch.Tensor | None = getattr(output, "pooler_output", None)
    if pooled is None:
        raise ConfigurationError(f"the teacher {name} has no pooler: set `pooling` to mean, first or last")
    return pooled
