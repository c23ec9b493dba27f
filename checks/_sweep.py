"""The measurement of `lr-range`: one run with an exponentially rising rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lab import seed_everything

from ._blame import maker
from .lr_range import Sweep

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

STEPS = 60
LOW, HIGH = 1e-7, 10.0
CHUNK = 10  # steps between two looks at the losses
SMOOTH = 0.7  # weight of what was before
AWAY = 4.0  # times the way down (or the start's size), above the start: run away
FALL = 0.02  # of the start, at least, for a rate to be worth suggesting


def see_sweep(lab: Lab) -> Sweep:
    """Takes the steps until the loss runs away."""
    if not lab.trace.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    rig = lab.rig().train()
    optimizer = rig.warm_optimizer()
    rate = max(float(g.get("lr", 0.0)) for g in optimizer.param_groups)
    if rate <= 0 or isinstance(optimizer, torch.optim.LBFGS):
        raise NotApplicable("the optimizer's first rate is zero, or it searches for its own step")
    rates = [LOW * (HIGH / LOW) ** (i / (STEPS - 1)) for i in range(STEPS)]
    losses = _run(lab, rig, optimizer, [r / rate for r in rates])
    smooth = _smoothed(losses)
    best = _steepest(rates, smooth)
    if best is None:
        raise NotApplicable("no rate lowers the loss within 60 steps")
    away = _divergence(rates, smooth)
    best = min(best, (away or HIGH) / 10)  # in 60 steps the last rates before it win by noise
    return Sweep(
        optimizer=type(optimizer).__name__,
        rate=rate,
        rates=tuple(rates[: len(smooth)]),
        losses=tuple(smooth),
        best=best,
        diverges=away,
        location=maker(lab, "optimizer"),
    )


def _run(lab: Lab, rig: Rig, optimizer: torch.optim.Optimizer, factors: list[float]) -> list[float]:
    own = [float(g.get("lr", 0.0)) for g in optimizer.param_groups]
    batches = [rig.put(batch) for batch in lab.train_batches]
    losses: list[float] = []
    for start in range(0, len(factors), CHUNK):
        chunk = []
        for number in range(start, min(start + CHUNK, len(factors))):
            for group, rate in zip(optimizer.param_groups, own, strict=True):
                group["lr"] = rate * factors[number]
            seed_everything(lab.seed + number % len(batches))
            chunk.append(rig.update(optimizer, batches[number % len(batches)]))
        losses += torch.stack(chunk).double().tolist()
        if not all(map(math.isfinite, losses)) or losses[-1] > 10 * AWAY * max(abs(losses[0]), 1):
            break
    return losses


def _smoothed(losses: list[float]) -> list[float]:
    """Exponential moving average without its bias, up to the first loss that is not finite."""
    found, average = [], 0.0
    for number, loss in enumerate(losses):
        if not math.isfinite(loss):
            break
        average = SMOOTH * average + (1 - SMOOTH) * loss
        found.append(average / (1 - SMOOTH ** (number + 1)))
    return found


def _steepest(rates: list[float], smooth: list[float]) -> float | None:
    """The rate of the steepest fall before the minimum; None where there is no fall."""
    if len(smooth) < 10:
        return None
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    start = sum(smooth[:5]) / 5
    if lowest < 5 or start - smooth[lowest] < FALL * max(abs(start), 1e-12):
        return None
    slopes = [smooth[i] - smooth[i - 2] for i in range(2, lowest + 1)]
    return rates[min(range(len(slopes)), key=slopes.__getitem__) + 1]


def _divergence(rates: list[float], smooth: list[float]) -> float | None:
    """The first rate after the minimum at which the loss is far above its start."""
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    limit = smooth[0] + (AWAY - 1) * max(smooth[0] - smooth[lowest], 0.1 * abs(smooth[0]))
    for i in range(lowest, len(smooth)):
        if smooth[i] > limit:
            return rates[i]
    return rates[len(smooth)] if len(smooth) < len(rates) else None
