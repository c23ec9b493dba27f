"""The measurement of `optimizer-learns`: two short runs, the user's optimizer and Adam."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lab import seed_everything
from recipe_check.probes.training import Fit, held_losses

from ._blame import maker, sets_rate
from ._hyper import standing_out, suspects
from .optimizer_learns import Descent, Oddity

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

CHUNK = 10
REFERENCE_RATE = 1e-3
MOST_RUNS = 3  # with a value put back
CLEAR = 0.2  # of the first loss: a run that fell so far is not compared


def see_descent(lab: Lab, steps: int) -> Descent:
    """Takes `steps` steps with the user's optimizer, and with Adam where those are not clear."""
    rig = lab.rig().train()
    batches = [rig.put(batch) for batch in lab.train_batches]
    if not rig.step(batches[0]).loss.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    optimizer = rig.warm_optimizer()
    if not any(float(group.get("lr", 1.0)) for group in optimizer.param_groups):
        if lab.subject.original.scheduler is None and not sets_rate(lab):
            return _standing_still(lab, rig, optimizer)
        raise NotApplicable("the optimizer's rate is zero, and no warm-up says what it leads to")
    before = _norm(rig)
    last = [batches[number % len(batches)] for number in range(max(steps - CHUNK, 0), steps)]
    initial = held_losses(rig, last)
    odd = tuple(standing_out(optimizer, steps))
    own = _run(rig, optimizer, batches, steps)
    growth = _norm(rig) / max(before, 1e-12)
    speaks = _speaks_for_itself(sum(initial) / len(initial), own, growth)
    start = sum(initial) / len(initial)
    reference = () if speaks else _reference(lab, batches, steps)
    group = optimizer.param_groups[0]
    return Descent(
        name=f"{type(optimizer).__name__} (lr {float(group.get('lr', math.nan)):g})",
        rate=max(float(g.get("lr", math.nan)) for g in optimizer.param_groups),
        decay=float(group.get("weight_decay", 0.0)),
        start=start,
        own=own,
        reference=reference,
        growth=growth,
        momentum=_momentum(optimizer),
        location=maker(lab, "optimizer"),
        odd=odd,
        tested=_tested(lab, batches, steps, start, own, reference),
    )


def _tested(
    lab: Lab,
    batches: list[object],
    steps: int,
    start: float,
    own: tuple[float, ...],
    reference: tuple[float, ...],
) -> tuple[tuple[Oddity, bool], ...]:
    """Runs with one value at a time put back to its default, where the user's own run makes less
    than half of Adam's way."""
    adams = start - sum(reference[-CHUNK:]) / CHUNK if reference else 0.0
    way = start - sum(own[-CHUNK:]) / len(own[-CHUNK:])
    if adams <= 0.02 * abs(start) or way >= 0.5 * adams:
        return ()
    found = []
    for odd, change in list(suspects(lab.rig().own_optimizer()))[:MOST_RUNS]:
        rig = lab.rig().train()
        optimizer = rig.warm_optimizer()
        for group in optimizer.param_groups:
            change(group)
        again = _run(rig, optimizer, batches, steps)
        reached = start - sum(again[-CHUNK:]) / len(again[-CHUNK:])
        found.append((odd, reached >= 0.5 * adams))
    return tuple(found)


def _standing_still(lab: Lab, rig: Rig, optimizer: torch.optim.Optimizer) -> Descent:
    """A rate of zero that nothing raises."""
    batch = rig.put(lab.train_batches[0])
    loss = sum(held_losses(rig, [batch]))
    return Descent(
        name=f"{type(optimizer).__name__} (lr 0)", rate=0.0, decay=0.0, start=loss, own=(loss,),
        reference=_reference(lab, [batch], CHUNK), growth=1.0, location=maker(lab, "optimizer"),
    )  # fmt: skip


def _momentum(optimizer: torch.optim.Optimizer) -> float:
    group = optimizer.param_groups[0]
    betas = group.get("betas", (0.0,))
    return max(float(group.get("momentum", 0.0)), float(betas[0]))


def _speaks_for_itself(start: float, own: tuple[float, ...], growth: float) -> bool:
    """A loss that fell by a fifth, with weights of the same size, needs no comparison."""
    end = sum(own[-CHUNK:]) / len(own[-CHUNK:])
    return start - end >= CLEAR * abs(start) and 0.1 <= growth <= 10


def _reference(lab: Lab, batches: list[object], steps: int) -> tuple[float, ...]:
    fit = Fit(lab.rig().train(), REFERENCE_RATE, noise_seed=0)
    fit.steps(batches, steps)
    return tuple(fit.losses)


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
