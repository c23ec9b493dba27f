"""The measurement of `lr-schedule`: a dry run of a copy of the user's scheduler."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable
from recipe_check.probes.loops import Event, Training

from ._loop_rules import place
from ._scan import scan
from .lr_schedule import Plan

if TYPE_CHECKING:
    from recipe_check import Lab

EPOCHS = 10  # where the loop does not say
MOST_STEPS = 20_000


def see_schedule(lab: Lab) -> Plan:
    """Steps a copy of the scheduler as the user's loop would."""
    rig = lab.rig()
    scheduler, optimizer = rig.scheduler, rig.own_optimizer()
    name = type(scheduler).__name__
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise NotApplicable("ReduceLROnPlateau depends on the loss")
    optimizer = getattr(scheduler, "optimizer", optimizer)
    per_batch, epochs, event = _when(lab.training_loops)
    batches = _batches(lab)
    planned = min((epochs or EPOCHS) * batches, MOST_STEPS)
    rates, error = _dry_run(scheduler, optimizer, planned, 1 if per_batch else batches)
    period = getattr(scheduler, "T_max", 0) if name == "CosineAnnealingLR" else 0
    steps = planned if per_batch else planned // batches
    return Plan(
        name=name,
        rates=tuple(rates),
        per_batch=per_batch,
        epochs=epochs or EPOCHS,
        known=epochs is not None and per_batch is not None,
        batches=batches,
        error=error,
        period=int(period) if period and steps > 1.2 * period else 0,
        location=place(event) if event else None,
    )


def _when(loops: list[Training]) -> tuple[bool | None, int | None, Event | None]:
    """Whether the scheduler steps at every batch, the epochs, and where it is stepped."""
    for loop in loops:
        epochs = loop.epoch.count if loop.epoch else None
        inside = [e for e in loop.batch.events() if e.kind == "schedule"]
        around = list(loop.epoch.events()) if loop.epoch else []
        outside = [e for e in around if e.kind == "schedule"]
        if inside:
            return (None if _is_guarded(inside[0]) else True), epochs, inside[0]
        if outside:
            return (None if _is_guarded(outside[0]) else False), epochs, outside[0]
    return None, None, None


def _is_guarded(event: Event) -> bool:
    """Steps under a condition cannot be counted by reading."""
    return bool(event.guard)


def _batches(lab: Lab) -> int:
    try:
        return max(len(lab.subject.loader), 1)  # type: ignore[arg-type]
    except TypeError:
        return max(scan(lab).batches, 1)


def _dry_run(
    scheduler: Any, optimizer: torch.optim.Optimizer, steps: int, every: int
) -> tuple[list[float], str]:
    """The first group's rate at each training step, and what the scheduler raised."""
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            if (number + 1) % every == 0 and number + 1 < steps:
                try:
                    scheduler.step()
                except Exception as error:
                    return rates, f"{type(error).__name__}: {error}"
    return rates, ""
