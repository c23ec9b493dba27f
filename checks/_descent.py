"""The measurement of `optimizer-learns`: two short runs, the user's optimizer and Adam."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lab import seed_everything
from recipe_check.probes.training import Fit, held_losses

from ._blame import maker
from .optimizer_learns import Descent

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

CHUNK = 10
REFERENCE_RATE = 1e-3


def see_descent(lab: Lab, steps: int) -> Descent:
    """Takes `steps` steps with each; stops as soon as the loss is not finite."""
    rig = lab.rig().train()
    batches = [rig.put(batch) for batch in lab.train_batches]
    if not rig.step(batches[0]).loss.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    optimizer = rig.warm_optimizer()
    if not any(float(group.get("lr", 1.0)) for group in optimizer.param_groups):
        raise NotApplicable("the optimizer's rate is zero, and no warm-up says what it leads to")
    before = _norm(rig)
    last = [batches[number % len(batches)] for number in range(max(steps - CHUNK, 0), steps)]
    initial = held_losses(rig, last)
    own = _run(rig, optimizer, batches, steps)
    reference = Fit(lab.rig().train(), REFERENCE_RATE, noise_seed=0)
    reference.steps(batches, steps)
    group = optimizer.param_groups[0]
    return Descent(
        name=f"{type(optimizer).__name__} (lr {float(group.get('lr', math.nan)):g})",
        rate=float(group.get("lr", math.nan)),
        decay=float(group.get("weight_decay", 0.0)),
        start=sum(initial) / len(initial),
        own=own,
        reference=tuple(reference.losses),
        growth=_norm(rig) / max(before, 1e-12),
        location=maker(lab, "optimizer"),
    )


def _run(
    rig: Rig, optimizer: torch.optim.Optimizer, batches: list[object], steps: int
) -> tuple[float, ...]:
    losses: list[float] = []
    while len(losses) < steps:
        chunk = []
        for number in range(len(losses), min(len(losses) + CHUNK, steps)):
            seed_everything(number % len(batches))
            chunk.append(rig.update(optimizer, batches[number % len(batches)]))
        losses += torch.stack(chunk).double().tolist()
        if not all(map(math.isfinite, losses)):
            break
    return tuple(losses)


def _norm(rig: Rig) -> float:
    """Euclidean norm of all trainable weights."""
    with torch.no_grad():
        norms = [p.detach().double().abs().norm() for _, p in rig.trainable()]
    return float(torch.stack(norms).norm()) if norms else 0.0
