"""The measurement of `lr-schedule`: a dry run of a copy of the user's scheduler."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable
from recipe_check.probes.loops import Event, Loop, Training

from ._blame import called
from ._loop_places import place
from ._scan import scan
from ._schedule_slips import schedule_slip
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
    slip = schedule_slip(lab)
    if slip is not None:
        return _unplanned(lab, name, slip)
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise NotApplicable("ReduceLROnPlateau depends on the loss")
    optimizer = getattr(scheduler, "optimizer", optimizer)
    own = lab.subject.stepping
    when = _When(own.per_batch, own.epochs, every=own.every) if own else _when(lab.training_loops)
    batches = when.batches or _batches(lab)
    epochs = when.epochs or EPOCHS
    planned = min(epochs * batches, MOST_STEPS)
    every = when.every * (1 if when.per_batch else min(batches, max(planned // epochs, 1)))
    rates, error = _dry_run(scheduler, optimizer, planned, every)
    known = when.epochs is not None and when.per_batch is not None
    if not known and len(rates) > every:
        error = ""  # after a number of steps that the training may not take
    period = getattr(scheduler, "T_max", 0) if name == "CosineAnnealingLR" else 0
    steps = (planned if when.per_batch else planned // batches) // when.every
    return Plan(
        name=name,
        rates=tuple(rates),
        per_batch=when.per_batch,
        epochs=epochs,
        known=known,
        batches=batches,
        error=error,
        period=int(period) if period and steps > 1.2 * period else 0,
        location=place(when.event) if when.event else None,
        early=when.early,
        built_for=_built_for(scheduler, when, batches),
        calls=steps,
        every=when.every,
        made=called(lab, name),
        given=max((float(g.get("initial_lr", 0.0)) for g in optimizer.param_groups), default=0.0),
    )


def _unplanned(lab: Lab, name: str, slip: tuple[str, str]) -> Plan:
    """A scheduler whose rates do not matter."""
    return Plan(
        name=name, rates=(), per_batch=None, epochs=0, known=False, batches=0, error="", period=0,
        location=None, slip=slip, made=called(lab, name),
    )  # fmt: skip


@dataclass(frozen=True)
class _When:
    """Whether the scheduler steps at every batch, the epochs, the batches of one where the loop
    says so, where it is stepped, and whether the loop over epochs can be left early."""

    per_batch: bool | None = None
    epochs: int | None = None
    batches: int | None = None
    event: Event | None = None
    early: bool = False
    every: int = 1  # batches or epochs


def _when(loops: list[Training]) -> _When:
    found = []
    for loop in loops:
        inside = [e for e in loop.batch.events() if e.kind == "schedule"]
        around = list(loop.epoch.events()) if loop.epoch else []
        found += [(loop, e, e in inside) for e in (around or inside) if e.kind == "schedule"]
    owners = {event.owner for _, event, _ in found}
    if len(owners) != 1 or len({loop.batch.line for loop, _, _ in found}) != 1:
        return _When()  # several schedulers, or several trainings: which is which?
    loop, event, every = next((f for f in found if f[2]), found[0])
    epochs = loop.epoch.count if loop.epoch else None
    if event.guard or _has_arguments(event) or _may_be_skipped(loop, every):
        return _When(event=event, epochs=epochs)
    header = loop.batch.header
    counted = loop.batch.count if "range(" in header else None
    partial = any(word in header for word in ("islice(", "zip(", "range(")) and counted is None
    if every and (partial or _is_left(loop.batch)):
        return _When(per_batch=True, event=event)
    if loop.epoch is None and counted:
        epochs = 1  # a loop over steps
    early = loop.epoch is not None and _is_left(loop.epoch)
    return _When(every, epochs, counted, event, early)


def _built_for(scheduler: Any, when: _When, batches: int) -> int:
    """The steps that a scheduler was told; T_max of a cosine only where it counts the batches of
    the training and is stepped once an epoch."""
    if getattr(scheduler, "total_steps", 0):
        return int(scheduler.total_steps)
    period = int(getattr(scheduler, "T_max", 0) or 0)
    whole = (when.epochs or 0) * batches
    return period if when.per_batch is False and 0 <= whole - period < max(batches, 1) else 0


def _has_arguments(event: Event) -> bool:
    """`scheduler.step(epoch + i / n)` says itself where it is; steps cannot be counted."""
    return isinstance(event.node, ast.Call) and bool(event.node.args or event.node.keywords)


def _may_be_skipped(loop: Training, every: bool) -> bool:
    """Accelerate's `accumulate` skips steps."""
    return every and any(e.owner.endswith(".accumulate") for e in loop.batch.events())


def _is_left(loop: Loop) -> bool:
    """Whether a `break` or `return` of its own can end a loop, dry runs left out."""
    files = {event.file for event in loop.events()}
    nodes = [n for f in files for n in ast.walk(ast.parse(f.read_text(encoding="utf-8")))]
    bodies = [n.body for n in nodes if isinstance(n, ast.For | ast.While) and n.lineno == loop.line]
    return any(_leaves(body) for body in bodies)


def _leaves(body: Sequence[ast.stmt], *, breaks: bool = True) -> bool:
    for node in body:
        if isinstance(node, ast.Return) or (breaks and isinstance(node, ast.Break)):
            return True
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        test = ast.unparse(node.test).lower() if isinstance(node, ast.If) else ""
        if "dry" in test or "debug" in test:
            continue
        own = breaks and not isinstance(node, ast.For | ast.While)
        for _, value in ast.iter_fields(node):
            inner = [v for v in value if isinstance(v, ast.stmt)] if isinstance(value, list) else []
            if _leaves(inner, breaks=own):
                return True
    return False


def _batches(lab: Lab) -> int:
    try:
        return max(len(lab.subject.loader), 1)  # type: ignore[arg-type]
    except TypeError:
        return max(scan(lab).batches, 1)


def _dry_run(
    scheduler: Any, optimizer: torch.optim.Optimizer, steps: int, every: int
) -> tuple[list[float], str]:
    """The largest rate of the groups at each training step, and what the scheduler raised."""
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(steps):
            rates.append(max(float(group["lr"]) for group in optimizer.param_groups))
            if (number + 1) % every == 0 and number + 1 < steps:
                try:
                    scheduler.step()
                except TypeError as error:
                    raise NotApplicable(f"the scheduler's step wants arguments: {error}") from error
                except Exception as error:
                    return rates, f"{type(error).__name__}: {error}"
    return rates, ""
