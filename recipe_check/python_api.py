"""`recipe_check.run` and `recipe_check.assert_ready`: checks in Python and in notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import torch
from torch import nn

from recipe_check import __version__
from recipe_check.api import PRESETS, Check
from recipe_check.arguments import request_for, subject_from
from recipe_check.borrowed import untouched
from recipe_check.errors import UsageError
from recipe_check.in_process import InProcess
from recipe_check.jobs import Job
from recipe_check.lab import Lab
from recipe_check.lazy import materialised
from recipe_check.machine import checked_device
from recipe_check.placement import settled
from recipe_check.plugins import build, check_classes, select, suggestion
from recipe_check.policy import decide
from recipe_check.request import CheckRequest, LoadRequest
from recipe_check.run_report import Report
from recipe_check.session import Plan, perform
from recipe_check.snapshot import changes, snapshot
from recipe_check.surroundings import preserved

FAIL_ON = ("error", "warning")
Kinds = Mapping[str, type[Check]]
SHOWN = 5  # changed objects that are named


def run(
    model: nn.Module | Callable[[], nn.Module],
    loader: Iterable[Any],
    loss_fn: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    val_loader: Iterable[Any] | None = None,
    scheduler: Any = None,
    training_step: Callable[..., Any] | None = None,
    only: str | Iterable[str] = (),
    skip: str | Iterable[str] = (),
    preset: str = "default",
    seed: int = 0,
    device: str = "auto",
    budget: float = 120.0,
) -> Report:
    """Runs the checks in this process, on copies of the objects, before they are trained.

    `model` is a module, or a function without arguments that makes one (then checks can draw new
    weights). `loader` yields batches as the training loop gets them; `loss_fn(output, target)`
    and `training_step(model, batch)` return a scalar. `only` and `skip` name checks, groups or
    stages. `device="auto"` is where the model already is. No check starts after `budget` seconds.

    The report's `run.objects_unchanged` says whether everything given, and the random state, is
    as it was. Raises UsageError for a wrong argument, and LoadError where not one training step
    runs and the data does not say why.
    """
    given = {
        "model": model,
        "train_loader": loader,
        "loss_fn": loss_fn,
        "optimizer": optimizer,
        "val_loader": val_loader,
        "scheduler": scheduler,
        "training_step": training_step,
    }
    objects = {name: value for name, value in given.items() if value is not None}
    request = request_for(objects, seed)
    kinds = check_classes()
    plan = _plan(request, _chosen(kinds, only, skip, preset), kinds, budget)
    before = snapshot(objects)
    with preserved(), untouched(loader, val_loader):
        subject = subject_from(objects, request)
        place = _device(device, subject.original.model)
        lab = settled(materialised(Lab(subject, place, seed)), place)
        engine = InProcess(lab, budget)
        report = perform(plan, engine, engine.loaded(), engine.rehearse())
    return _compared(report, changes(before, snapshot(objects)))


def assert_ready(
    model: nn.Module | Callable[[], nn.Module],
    loader: Iterable[Any],
    loss_fn: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    fail_on: str = "error",
    **options: Any,
) -> Report:
    """Runs the checks (`options` are those of `run`); returns the report where all is well.

    Raises AssertionError with every finding where a check fails (with `fail_on="warning"` also
    where one warns) or breaks, and where nothing could be checked.
    """
    __tracebackhide__ = True
    _one_of("fail_on", fail_on, FAIL_ON)
    report = run(model, loader, loss_fn, optimizer, **options)
    decision = decide(report.results, fail_on)
    if decision.exit_code:
        report = msgspec.structs.replace(
            report, outcome=decision.outcome, exit_code=decision.exit_code
        )
        raise AssertionError(str(report))
    return report


def _plan(request: LoadRequest, chosen: list[str], kinds: Kinds, budget: float) -> Plan:
    jobs = [Job(build(kinds[id], {}), CheckRequest(id=id)) for id in chosen]
    return Plan(
        request=request,
        jobs=tuple(jobs),
        budget=budget,
        check_timeout=budget,
        fail_on="error",
        maxfail=0,
        command=(),
        version=__version__,
    )


def _chosen(
    kinds: Kinds, only: str | Iterable[str], skip: str | Iterable[str], preset: str
) -> list[str]:
    _one_of("preset", preset, PRESETS)
    chosen = select(kinds, _words(only), _words(skip), preset)
    if not chosen:
        raise UsageError("no check is left to run", "see  recipe-check list")
    return chosen


def _words(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} = {value!r}", suggestion(value, known))


def _device(name: str, model: nn.Module) -> str:
    """Where the model is, as the user's loss or step may count on it, and an optimizer's state
    does; the CPU for what is on a device without float64 (MPS)."""
    if name != "auto":
        return checked_device(name)
    first = next(model.parameters(), None)
    return str(first.device) if first is not None and first.device.type == "cuda" else "cpu"


def _compared(report: Report, changed: list[str]) -> Report:
    """The report with what the run changed, which is a fault of ours or a step that does not
    use the model it is given."""
    run = msgspec.structs.replace(report.run, objects_unchanged=not changed)
    if not changed:
        return msgspec.structs.replace(report, run=run)
    named = ", ".join(changed[:SHOWN]) + (", …" if len(changed) > SHOWN else "")
    notes = (*report.target.notes, f"changed while the checks ran: {named}")
    target = msgspec.structs.replace(report.target, notes=notes)
    return msgspec.structs.replace(report, run=run, target=target)
