"""Windows of one recording: pieces of a series by which overlapping samples are recognised."""

from __future__ import annotations

import torch

PIECE = 8  # consecutive values, all different: two recordings do not share them
LEAST_LENGTH = 16
MOST_VALUES = 1_000_000  # pieces kept of one reading


def pieces(batch: torch.Tensor) -> torch.Tensor:
    """A number for each run of eight consecutive values of a series [N, T] or [N, 1, T]; equal runs
    have equal numbers, and -1 stands for runs with a repeated value. [N, 0] for other inputs."""
    none = torch.zeros(len(batch) if batch.ndim else 0, 0, dtype=torch.int64)
    if batch.ndim == 3 and 1 in batch.shape[1:]:
        batch = batch.flatten(1)
    if batch.ndim != 2 or batch.dtype not in (torch.float32, torch.float64):
        return none
    if batch.shape[1] < LEAST_LENGTH:
        return none
    bits = batch.detach().cpu().float().contiguous().view(torch.int32).long()
    runs = bits.unfold(1, PIECE, 1)
    weights = torch.tensor([0x9E3779B1 * (2 * n + 1) for n in range(PIECE)])
    ordered = runs.sort(-1).values
    plain = (ordered.diff(dim=-1) != 0).all(-1)
    return torch.where(plain, ((runs * weights) ^ (runs >> 7)).sum(-1).abs(), -1)


def shared(training: list[torch.Tensor], middles: list[torch.Tensor]) -> tuple[int, int]:
    """How many validation samples there are, and of how many the middle stands in training data."""
    if not training or not middles:
        return 0, 0
    wanted = torch.cat(middles)
    known = torch.isin(wanted, torch.unique(torch.cat(training))) & (wanted >= 0)
    return len(wanted), int(known.sum())
