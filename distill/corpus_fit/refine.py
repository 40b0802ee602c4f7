"""Refinement: gradient descent that brings the similarities between texts nearer to the teacher's.

The fit reproduces coordinates, but applications use similarities. The loss compares two matrices of cosines
between the texts of a batch, ours and the teacher's: the Kullback-Leibler divergence of their rows' softmax,
without the diagonal (similarity distillation, as in Fang et al., SEED, 2021), plus a multiple of their mean
squared difference. The held-out texts decide when to stop.
"""

import hashlib
import logging
import math
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from distill.corpus_fit.pooling import MeanPooling
from distill.teacher.vector_cache import TeacherVectors
from encoder.atomic_files import new_file
from encoder.errors import ConfigurationError

__all__ = ["Refined", "Texts", "refine_table", "similarity_loss"]

_log = logging.getLogger(__name__)

_EPOCHS, _WARM_UP = 8, 50
_MIN_STEPS, _MAX_STEPS = 120, 1500  # 4 epochs of 180,000 texts, 354 steps, gain as much as 8
_BATCH = 2048  # texts
_LEARNING_RATE = 3e-3  # Adam's highest
_EVALUATIONS, _PATIENCE = 12, 2  # on the held-out texts; evaluations without a gain before it stops
_TEMPERATURE, _SQUARES = 0.05, 10.0  # of the softmax; the weight of the squared difference


@dataclass(frozen=True)
class Texts:
    """Texts as token ids and as the teacher's vectors."""

    pooling: MeanPooling
    vectors: TeacherVectors

    def __len__(self) -> int:
        return len(self.vectors)

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a batch's token ids, each text's first position, and the teacher's vectors, `(n, dim)`."""
        ids, offsets = self.pooling.tokens
        pieces = [ids[offsets[row] : offsets[row + 1]] for row in rows]
        begins = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
        joined = torch.from_numpy(np.concatenate(pieces).astype(np.int64))
        return joined, torch.from_numpy(begins), torch.from_numpy(self.vectors[rows])


@dataclass(frozen=True)
class Refined:
    """A refined table.

    Attributes:
        table: `(n_tokens, dim)` float32.
        steps: the number of steps that gave the best table.
        before: the held-out loss of the initial table.
        after: the held-out loss of the best table.
    """

    table: NDArray[np.float32]
    steps: int
    before: float
    after: float


def refine_table(
    start: NDArray[np.float32],
    train: Texts,
    held_out: Texts,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Refined:
    """Refine a table and return the one with the lowest held-out loss, which may be the initial one.

    On a CPU, the same arguments and number of threads give the same bits, interrupted or not.

    Args:
        start: `(n_tokens, dim)` float32.
        train: the texts to learn from.
        held_out: other texts, for early stopping.
        seed: random seed of the batches.
        device: computes the steps; the CPU by default.
        folder: keeps the state at each evaluation, so that the same call resumes after an interruption.
        progress: called before each step with the number of steps done and the total.
    """
    run = _Run(start, train, held_out, seed, device or torch.device("cpu"))
    file = None if folder is None else folder / f"{run.digest()}.refine"
    if file:
        run.restore(file)
    while run.unfinished():
        if progress:
            progress(run.steps_done, run.steps)
        run.step()
        if run.evaluation_is_due():
            run.evaluate()
            if file and run.unfinished():
                run.save(file)
    if file:
        file.unlink(missing_ok=True)
    return Refined(run.best.cpu().numpy(), run.best_step, run.losses[0], min(run.losses))


class _Run:
    """The state of a refinement."""

    def __init__(
        self, start: NDArray[np.float32], train: Texts, held_out: Texts, seed: int, device: torch.device
    ) -> None:
        self._train, self._held_out, self._seed, self._device = train, held_out, seed, device
        self._table = torch.from_numpy(start.copy()).to(device).requires_grad_()
        self._optimiser = torch.optim.Adam([self._table], lr=_LEARNING_RATE, betas=(0.9, 0.99))
        self._shuffled = (-1, np.zeros(0, np.int64))
        self._size = min(_BATCH, len(train))
        self._per_epoch = len(train) // self._size
        self.steps = min(max(_EPOCHS * self._per_epoch, _MIN_STEPS), _MAX_STEPS)
        self.steps_done = self.best_step = 0
        self.best = self._table.detach().clone()
        self.losses = [self._held_out_loss()]

    def unfinished(self) -> bool:
        waited = len(self.losses) - 1 - int(np.argmin(self.losses))
        return self.steps_done < self.steps and waited < _PATIENCE

    def evaluation_is_due(self) -> bool:
        return self.steps_done % math.ceil(self.steps / _EVALUATIONS) == 0 or self.steps_done == self.steps

    def step(self) -> None:
        epoch, number = divmod(self.steps_done, self._per_epoch)
        batch = self._order(epoch)[number * self._size : (number + 1) * self._size]
        rows = np.sort(batch)  # reads the disk in order
        cosine_decay = 0.5 * (1 + math.cos(math.pi * self.steps_done / self.steps))
        warm_up = min(1, (self.steps_done + 1) / _WARM_UP)
        self._optimiser.param_groups[0]["lr"] = _LEARNING_RATE * warm_up * cosine_decay
        self._optimiser.zero_grad()
        self._loss(self._train, rows).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.steps_done += 1

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._shuffled[0] != epoch:
            self._shuffled = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._train))
        return self._shuffled[1]

    def evaluate(self) -> None:
        loss = self._held_out_loss()
        if loss < min(self.losses):
            self.best, self.best_step = self._table.detach().clone(), self.steps_done
        self.losses.append(loss)

    def _held_out_loss(self) -> float:
        n = len(self._held_out)
        parts = np.array_split(np.arange(n), math.ceil(n / _BATCH))
        with torch.inference_mode():
            return float(np.mean([self._loss(self._held_out, rows).item() for rows in parts]))

    def _loss(self, texts: Texts, rows: NDArray[np.int64]) -> torch.Tensor:
        ids, begins, vectors = (tensor.to(self._device) for tensor in texts.batch(rows))
        return similarity_loss(functional.embedding_bag(ids, self._table, begins, mode="mean"), vectors)

    def digest(self) -> str:
        """Return a hexadecimal digest of everything that the result depends on."""
        settings = (self._seed, torch.get_num_threads(), self.steps, self._size, _LEARNING_RATE, self.losses)
        digest = hashlib.sha256(repr(settings).encode())
        digest.update(self._table.detach().cpu().numpy().tobytes())
        for array in self._train.pooling.tokens:
            digest.update(array.tobytes())
        digest.update(self._train.vectors[np.arange(0, len(self._train), 97)].tobytes())
        return digest.hexdigest()[:32]

    def save(self, file: Path) -> None:
        """Write the state atomically; a full disk is logged and does not stop the refinement."""
        state = {
            "table": self._table.detach(),
            "optimiser": self._optimiser.state_dict(),
            "best": self.best,
            "numbers": [self.steps_done, self.best_step],
            "losses": self.losses,
        }
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with new_file(file) as staged:  # another process may run the same refinement
                torch.save(state, staged)
        except (OSError, RuntimeError, ConfigurationError) as error:  # RuntimeError is torch's
            _log.warning("cannot save the state of the refinement, so it cannot be resumed: %s", error)

    def restore(self, file: Path) -> None:
        """Resume from a saved state; without a readable one, start from the beginning."""
        with suppress(OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
            state: dict[str, Any] = torch.load(file, weights_only=True, map_location=self._device)
            table, best, losses = state["table"], state["best"], state["losses"]
            steps_done, best_step = state["numbers"]
            self._optimiser.load_state_dict(state["optimiser"])
            with torch.no_grad():
                self._table.copy_(table)
            self.best, self.losses = best, losses
            self.steps_done, self.best_step = steps_done, best_step


def similarity_loss(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return the loss of a batch, a scalar.

    Args:
        ours: our vectors of the texts, `(n, dim)`.
        theirs: the teacher's vectors of the same texts, `(n, any)`.
    """
    ours, theirs = _cosines(ours), _cosines(theirs)
    diagonal = torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    log_ours, log_theirs = (
        (cosines / _TEMPERATURE).masked_fill(diagonal, -1e4).log_softmax(dim=1) for cosines in (ours, theirs)
    )
    divergence = functional.kl_div(log_ours, log_theirs, log_target=True, reduction="batchmean")
    return divergence + _SQUARES * (ours - theirs).square().masked_fill(diagonal, 0).mean()


def _cosines(vectors: torch.Tensor) -> torch.Tensor:
    unit = functional.normalize(vectors, dim=1)
    return unit @ unit.T
