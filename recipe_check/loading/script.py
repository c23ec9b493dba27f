"""`--capture`: an unmodified script, run up to its first optimizer.step(), as a Subject."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from msgspec import structs
from torch.utils.data import DataLoader

from recipe_check.errors import LoadError, UsageError
from recipe_check.lineage import lines_recorded, replica_of
from recipe_check.loading.kinds import describe_loader, name_of
from recipe_check.loading.module import arguments_given, creation_lines
from recipe_check.loading.names import NAMES, by_option, can_call_bare
from recipe_check.loading.script_loss import Way, best_way
from recipe_check.loading.script_observed import can_observe, observable, script_again
from recipe_check.loading.script_place import Place
from recipe_check.loading.script_run import how_far, run_script, spec_of
from recipe_check.loading.script_step import FirstStep, find_first_step
from recipe_check.loading.script_watch import Watch
from recipe_check.probes.rerun import Script
from recipe_check.request import LoadRequest, split_target
from recipe_check.run_report import Found
from recipe_check.subject import Parts, Subject


def capture(request: LoadRequest) -> Subject:
    """Runs the target as `python TARGET ARGUMENTS` would, until it trains. Raises LoadError where
    it does not, or where what it trains cannot be taken out of it."""
    path, name = split_target(request.target)
    if name or request.model or request.optimizer or request.kwargs:
        raise UsageError(
            "--capture runs a whole script and finds its model and optimizer itself",
            f"say only  {path} --capture;  --data and --loss may stand beside it",
        )
    spec, folder = spec_of(path), Path.cwd()
    watch, start = Watch(), time.monotonic()
    with arguments_given(path, request.script_args), lines_recorded():
        module = run_script(spec, watch, path)
    again = script_again(request, folder, time.monotonic() - start)
    try:
        return _in_parts(request, module, watch, again)
    except LoadError as error:
        if not can_observe(watch):
            raise
        return observable(module, watch, again, error.message)


def _in_parts(request: LoadRequest, module: ModuleType, watch: Watch, again: Script) -> Subject:
    """The parts of the first step. Raises LoadError where there are none."""
    if watch.stepped is None:
        count = watch.record.backwards + watch.record.derivatives
        ended = f"made {count} backward passes" if watch.is_over else "ended"
        raise LoadError(f"{again.target} {ended} without an optimizer.step()", how_far(watch))
    if watch.record.first is None:
        raise LoadError(
            f"optimizer.step() is called at {watch.place} without a backward() before it",
            how_far(watch),
        )
    first = find_first_step(watch.record.first, watch.record.backwards, watch.stepped)
    _release(first, watch)
    return _subject(request, module, watch, first, again)


def _release(first: FirstStep, watch: Watch) -> None:
    """The weights are those before the step; what the step would have used up goes. A Lightning
    module lets go of its trainer, which would be copied with it."""
    assert watch.stepped is not None
    watch.stepped.zero_grad(set_to_none=True)
    first.trained.model.zero_grad(set_to_none=True)
    for module in first.trained.model.modules():
        if "_trainer" in vars(module):
            vars(module)["_trainer"] = None


def _subject(
    request: LoadRequest, module: ModuleType, watch: Watch, first: FirstStep, again: Script
) -> Subject:
    """What was seen; the loss and the data may be given by an option instead."""
    loss = _given(module, request.loss, "--loss")
    loader = _given(module, request.data, "--data")
    way = Way(loss=loss) if loss is not None else best_way(first)
    loader = first.loader if loader is None else loader
    model = first.trained.model
    notes = (first.trained.note, *first.notes, *way.notes)
    subject = Subject(
        name=type(model).__name__,
        original=Parts(model, way.loss, watch.stepped, _scheduler(watch)),
        loader=loader,
        file=Path(str(module.__file__)),
        val_loader=_validation(watch, loader),
        training_step=way.step,
        notes=tuple(note for note in notes if note),
        replica=replica_of(model),
        created=creation_lines(model),
        rerun=structs.replace(again, why=way.doubt),
    )
    return replace(subject, found=_found(watch, first, way, subject))


def _given(module: ModuleType, text: str | None, option: str) -> Any:
    """What the option names; made first, where it is a class or a function without arguments."""
    if not text:
        return None
    value = by_option(module, text, option).value
    return value() if can_call_bare(value) else value


def _validation(watch: Watch, loader: Any) -> Any:
    """A DataLoader that the code has under a usual name while it trains."""
    known = (watch.names.get(name) for name in NAMES["val_data"])
    found = (value for value in known if isinstance(value, DataLoader) and value is not loader)
    return next(found, None)


def _scheduler(watch: Watch) -> Any:
    """The last that was made for the optimizer: it holds those made before it."""
    made = (s for s in reversed(watch.schedulers) if getattr(s, "optimizer", None) is watch.stepped)
    return next(made, None)


def _found(watch: Watch, first: FirstStep, way: Way, subject: Subject) -> tuple[Found, ...]:
    """What plays each role, and the line at which it was seen."""
    calls, model, loss = first.calls, first.trained.model, way.step or way.loss
    count = sum(p.numel() for p in model.parameters())
    _, read = watch.record.loaders.get(id(subject.loader), (None, None))
    rows = [
        ("model", f"{type(model).__name__}, {count:,} parameters",
         _at("called", calls[first.trained.calls[0]].place)),
        ("data", describe_loader(subject.loader), _at("read", read)),
        ("training step" if way.step else "loss", name_of(loss) if loss else "the model's own",
         _at("computed", calls[first.roots[0].source].place)),
        ("optimizer", _rates(subject.original.optimizer), _at("stepped", watch.place)),
    ]  # fmt: skip
    if subject.val_loader is not None:
        rows.append(("validation", describe_loader(subject.val_loader), "by its name"))
    if subject.original.scheduler is not None:
        rows.append(("scheduler", name_of(subject.original.scheduler), "made for the optimizer"))
    return tuple(Found(role=role, summary=what, how=how) for role, what, how in rows)


def _rates(optimizer: torch.optim.Optimizer | None) -> str:
    groups = optimizer.param_groups if optimizer else []
    rates = sorted({float(group["lr"]) for group in groups if "lr" in group})
    return f"{type(optimizer).__name__}, lr {', '.join(f'{rate:g}' for rate in rates[:3])}"


def _at(done: str, place: Place | None) -> str:
    return f"{done} at {place}" if place else f"{done} in the script"
