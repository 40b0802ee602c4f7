"""Refinement: gradient steps after which similarities, not coordinates, follow the teacher."""

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
import torch.nn.functional as F  # noqa: N812 - the name that everybody gives it
from numpy.typing import NDArray

from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.similarity_loss import similarity_loss
from distill.teacher.vector_cache import TeacherVectors
from encoder.atomic_files import new_file
from encoder.errors import ConfigurationError

__all__ = ["Refined", "Texts", "refine_table"]

_log = logging.getLogger(__name__)

_EPOCHS, _FEWEST_STEPS, _WARM_UP = 8, 120, 50
_BATCH = 2048  # texts
_RATE = 3e-3  # of Adam, at most
_LOOKS, _PATIENCE = 12, 2  # at the held-out texts; looks without a gain after which it ends


@dataclass(frozen=True)
class Texts:
    """Texts, as token ids and as the teacher's vectors."""

    pooling: MeanPooling
    vectors: TeacherVectors

    def __len__(self) -> int:
        return len(self.vectors)

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Token ids, where each text's begin, and the teacher's vectors, `(n, dim)`, on the CPU."""
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
        steps: the steps after which it was best.
        before: the loss on held-out texts at the start.
        after: the loss on held-out texts.
    """

    table: NDArray[np.float32]
    steps: int
    before: float
    after: float


def refine_table(
    start: NDArray[np.float32],
    texts: Texts,
    held_out: Texts,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Refined:
    """Refine a table; what is best on the held-out texts is kept, which may be the start.

    On a CPU the same arguments and number of threads give the same bits, an interruption in between or not.

    Args:
        start: `(n_tokens, dim)` float32.
        texts: what to learn from.
        held_out: other texts, which say when to end.
        seed: of the order of the texts.
        device: where the steps are computed; the CPU by default.
        folder: where the state is kept now and then, so that the same call goes on after an interruption.
        on_progress: called before each step with the number of steps done, and of all.
    """
    run = _Run(start, texts, held_out, seed, device or torch.device("cpu"))
    file = None if folder is None else folder / f"{run.digest()}.refine"
    if file:
        run.restore(file)
    while run.goes_on():
        if on_progress:
            on_progress(run.steps_done, run.steps)
        run.step()
        if run.looks_now():
            run.look()
            if file and run.goes_on():
                run.keep(file)
    if file:
        file.unlink(missing_ok=True)
    return Refined(run.best.cpu().numpy(), run.best_step, run.losses[0], min(run.losses))


class _Run:
    """The state of a refinement."""

    def __init__(
        self, start: NDArray[np.float32], texts: Texts, held_out: Texts, seed: int, device: torch.device
    ) -> None:
        self._texts, self._held_out, self._seed, self._device = texts, held_out, seed, device
        self._table = torch.from_numpy(start.copy()).to(device).requires_grad_()
        self._optimiser = torch.optim.Adam([self._table], lr=_RATE, betas=(0.9, 0.99))
        self._shuffled = (-1, np.zeros(0, np.int64))
        self._size = min(_BATCH, len(texts))
        self._per_epoch = len(texts) // self._size
        self.steps = max(_EPOCHS * self._per_epoch, _FEWEST_STEPS)
        self.steps_done = self.best_step = 0
        self.best = self._table.detach().clone()
        self.losses = [self._held_out_loss()]

    def goes_on(self) -> bool:
        waited = len(self.losses) - 1 - int(np.argmin(self.losses))
        return self.steps_done < self.steps and waited < _PATIENCE

    def looks_now(self) -> bool:
        return self.steps_done % math.ceil(self.steps / _LOOKS) == 0 or self.steps_done == self.steps

    def step(self) -> None:
        epoch, number = divmod(self.steps_done, self._per_epoch)
        order = self._order(epoch)[number * self._size : (number + 1) * self._size]
        rows = np.sort(order)  # the disk is read in order
        falling = 0.5 * (1 + math.cos(math.pi * self.steps_done / self.steps))
        self._optimiser.param_groups[0]["lr"] = _RATE * min(1, (self.steps_done + 1) / _WARM_UP) * falling
        self._optimiser.zero_grad()
        self._loss(self._texts, rows).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.steps_done += 1

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The texts in the order of an epoch."""
        if self._shuffled[0] != epoch:
            self._shuffled = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._texts))
        return self._shuffled[1]

    def look(self) -> None:
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
        return similarity_loss(F.embedding_bag(ids, self._table, begins, mode="mean"), vectors)

    def digest(self) -> str:
        """Hexadecimal, of all that the outcome depends on."""
        settings = (self._seed, torch.get_num_threads(), self.steps, self._size, _RATE, self.losses)
        digest = hashlib.sha256(repr(settings).encode())
        digest.update(self._table.detach().cpu().numpy().tobytes())
        for array in self._texts.pooling.tokens:
            digest.update(array.tobytes())
        digest.update(self._texts.vectors[np.arange(0, len(self._texts), 97)].tobytes())
        return digest.hexdigest()[:32]

    def keep(self, file: Path) -> None:
        """Write the state, whole or not at all; where it cannot be written, the refinement does without."""
        state = {
            "table": self._table.detach(),
            "optimiser": self._optimiser.state_dict(),
            "best": self.best,
            "numbers": [self.steps_done, self.best_step],
            "losses": self.losses,
        }
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with new_file(file) as staged:  # another process may refine the same
                torch.save(state, staged)
        except (OSError, RuntimeError, ConfigurationError) as error:  # torch's own, where the disk is full
            _log.warning("an interruption would lose the refinement, as its state cannot be kept: %s", error)

    def restore(self, file: Path) -> None:
        """Go on from a state that was kept; one that cannot be read is as good as none."""
        with suppress(OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
            state: dict[str, Any] = torch.load(file, weights_only=True, map_location=self._device)
            table, best, losses = state["table"], state["best"], state["losses"]
            steps_done, best_step = state["numbers"]
            self._optimiser.load_state_dict(state["optimiser"])
            with torch.no_grad():
                self._table.copy_(table)
            self.best, self.losses = best, losses
            self.steps_done, self.best_step = steps_done, best_step
