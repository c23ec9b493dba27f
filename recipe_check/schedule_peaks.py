"""How high a schedule raises the learning rate."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import torch

SCHEDULED = 1000  # steps of a schedule that are looked at


def schedule_peaks(scheduler: Any, optimizer: torch.optim.Optimizer) -> list[float]:
    """The highest rate of each group over the next thousand steps of the scheduler."""
    start = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
    if getattr(scheduler, "optimizer", None) is not optimizer or _needs_loss(scheduler):
        return start
    peaks = start
    with warnings.catch_warnings(), suppress(Exception):  # a schedule that ends raises
        warnings.simplefilter("ignore")
        for _ in range(SCHEDULED):
            scheduler.step()
            now = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
            peaks = [max(pair) for pair in zip(peaks, now, strict=True)]
    for group, rate in zip(optimizer.param_groups, start, strict=True):
        group["lr"] = rate
    return peaks


def _needs_loss(scheduler: Any) -> bool:
    return isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
