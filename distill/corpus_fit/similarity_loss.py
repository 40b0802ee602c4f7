"""The loss of the refinement: how far a batch's similarities are from the teacher's.

It compares two matrices of cosines between the texts of a batch, ours and the teacher's: the Kullback-Leibler
divergence of their rows' softmax (the diagonal left out; similarity distillation, as in Fang et al., SEED,
2021), plus a multiple of the mean square of their difference.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody gives it

__all__ = ["similarity_loss"]

_TEMPERATURE, _SQUARES = 0.05, 10.0


def similarity_loss(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """The loss of a batch, a scalar.

    Args:
        ours: the texts' vectors, `(n, dim)`.
        theirs: the teacher's vectors of the same texts, `(n, any)`.
    """
    ours, theirs = _cosines(ours), _cosines(theirs)
    diagonal = torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    log_ours, log_theirs = (
        (cosines / _TEMPERATURE).masked_fill(diagonal, -1e4).log_softmax(dim=1) for cosines in (ours, theirs)
    )
    divergence = F.kl_div(log_ours, log_theirs, log_target=True, reduction="batchmean")
    return divergence + _SQUARES * (ours - theirs).square().masked_fill(diagonal, 0).mean()


def _cosines(vectors: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(vectors, dim=1)
    return unit @ unit.T
