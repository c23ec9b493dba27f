"""`configure_optimizers()` in all the forms it may return."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from recipe_check.errors import LoadError
from recipe_check.loading.lightning_trainer import attached
from recipe_check.subject import default_optimizer

Optimizers = list[torch.optim.Optimizer]


@dataclass(frozen=True)
class Rhythm:
    """`interval` and `frequency` of a scheduler's configuration: so many steps or epochs."""

    per_step: bool = False
    frequency: int = 1


class Configuration:
    """What a module configured last, and notes on what of it cannot be checked."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.optimizers: list[StandInOptimizer] = []
        self.schedulers: list[Any] = []
        self.rhythms: list[Rhythm] = []
        self.rhythm: Rhythm | None = None  # of the scheduler that is checked
        self.notes: list[str] = []

    def optimizer(self, model: Any) -> torch.optim.Optimizer:
        """The module's optimizer on this model; several become one."""
        with attached(model, self.trainer, {}):
            configured = model.configure_optimizers()
        optimizers, scheduled = parse(configured)
        self.schedulers = [_bare(scheduler) for scheduler in scheduled]
        self.rhythms = [_rhythm(scheduler) for scheduler in scheduled]
        self.optimizers = [StandInOptimizer(optimizer) for optimizer in optimizers]
        if len(optimizers) == 1:
            return optimizers[0]
        one = as_one(optimizers)
        kept = "are checked as one" if one else "cannot be checked as one: Adam stands in"
        self._note(f"the {len(optimizers)} optimizers of configure_optimizers() {kept}")
        return one if one is not None else default_optimizer(model)

    def made_scheduler(self, optimizer: torch.optim.Optimizer) -> Any:
        """The scheduler made together with the optimizer, where both are single."""
        own = [s for s in self.schedulers if getattr(s, "optimizer", None) is optimizer]
        if len(own) == 1 and len(self.optimizers) == 1:
            self.rhythm = self.rhythms[self.schedulers.index(own[0])]
            return own[0]
        if self.schedulers:
            self._note(f"{len(self.schedulers)} schedulers in configure_optimizers(): not checked")
        return None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def parse(configured: Any) -> tuple[Optimizers, list[Any]]:
    """Optimizers and schedulers (with their configuration) of one optimizer, a dict, a sequence of
    either, two lists or None; raises LoadError for anything else."""
    if configured is None:
        return [], []
    if isinstance(configured, torch.optim.Optimizer):
        return [configured], []
    if isinstance(configured, Mapping) and "optimizer" in configured:
        scheduler = configured.get("lr_scheduler")
        return [configured["optimizer"]], [] if scheduler is None else [scheduler]
    if isinstance(configured, list | tuple):
        if len(configured) == 2 and all(isinstance(part, list | tuple) for part in configured):
            return list(configured[0]), list(configured[1])
        parts = [parse(part) for part in configured]
        return [o for part in parts for o in part[0]], [s for part in parts for s in part[1]]
    raise LoadError(
        f"configure_optimizers() returned a {type(configured).__name__}",
        "return an optimizer, ([optimizers], [schedulers]) or {'optimizer': …, 'lr_scheduler': …}",
    )


def _bare(scheduler: Any) -> Any:
    """Without the configuration (interval, monitor, …) around it."""
    return scheduler["scheduler"] if isinstance(scheduler, Mapping) else scheduler


def _rhythm(scheduler: Any) -> Rhythm:
    """Once an epoch, where nothing else is said."""
    said = scheduler if isinstance(scheduler, Mapping) else {}
    return Rhythm(said.get("interval", "epoch") == "step", int(said.get("frequency") or 1))


def as_one(optimizers: Optimizers) -> torch.optim.Optimizer | None:
    """The first with the groups of all; None where they differ in kind or share parameters."""
    if not optimizers or len({type(optimizer) for optimizer in optimizers}) > 1:
        return None
    first, *others = optimizers
    try:
        for group in [group for other in others for group in other.param_groups]:
            first.add_param_group(group)
    except ValueError:
        return None
    return first


class StandInOptimizer:
    """What a step sees of an optimizer: the settings of its groups; it changes nothing."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        groups = optimizer.param_groups
        self.param_groups = [{k: v for k, v in g.items() if k != "params"} for g in groups]
        self.optimizer = self

    def step(self, closure: Any = None) -> Any:
        """Evaluates the closure, as a real step would."""
        return None if closure is None else closure()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """The checks clear gradients themselves."""

    def toggle_model(self, sync_grad: bool = True) -> AbstractContextManager[None]:
        """All parameters keep their gradients."""
        return nullcontext()
