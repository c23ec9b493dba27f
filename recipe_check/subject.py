"""What is under test: the model, data, loss and optimizer of one target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recipe_check.copying import Parts as Parts
from recipe_check.copying import copy_parts
from recipe_check.probes.rerun import Script
from recipe_check.run_report import Found
from recipe_check.values import Location

DEFAULT_RATE = 3e-4  # Adam at Karpathy's constant, used when the target has no optimizer


@dataclass(frozen=True)
class Stepping:
    """When a library steps the scheduler: after each batch or epoch, or every so many of them; and
    for how many epochs (None where it is not said)."""

    per_batch: bool
    epochs: int | None
    every: int = 1


@dataclass(frozen=True)
class Subject:
    """A loaded target. `original` is the user's own objects: checks get copies only."""

    name: str
    original: Parts
    loader: Iterable[Any]
    file: Path | None = None
    val_loader: Iterable[Any] | None = None
    training_step: Callable[..., Any] | None = None
    build_model: Callable[[], nn.Module] | None = None  # a factory or class: fresh initialisation
    build_optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None
    stepping: Stepping | None = None  # of the scheduler; None: read from the user's loop
    found: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()
    replica: DistributedDataParallel | None = None  # what the target has wrapped the model in
    created: Mapping[str, Location] = field(default_factory=dict)  # module name -> its line
    rerun: Script | None = None  # of a captured script: how to let it run once more
    in_parts: bool = True  # False: its step was not found in parts; it can only be observed

    @property
    def capabilities(self) -> frozenset[str]:
        """What a check may ask for in `Meta.needs`."""
        have = {
            "loss": self.original.loss is not None or self.training_step is not None,
            "optimizer": self.original.optimizer is not None,
            "scheduler": self.original.scheduler is not None,
            "val_loader": self.val_loader is not None,
            "training_step": self.training_step is not None,
            "factory": self.build_model is not None,
        }
        return frozenset(name for name, present in have.items() if present)

    def copy(self) -> Parts:
        """The objects in their initial state, sharing no tensor with the originals."""
        return copy_parts(self.original, self.build_model)

    def fresh(self) -> Parts:
        """As `copy`, with newly drawn weights where a factory exists (seed torch before)."""
        if self.build_model is None:
            return self.copy()
        model = self.build_model()
        others = copy_parts(replace(self.original, model=model), lambda: model)
        if self.build_optimizer is not None:
            return replace(others, optimizer=self.build_optimizer(others.model), scheduler=None)
        return replace(others, optimizer=None, scheduler=None)


def default_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Adam at 3e-4, for targets that name none; it takes sparse gradients, too."""
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad] or list(model.parameters()),
        lr=DEFAULT_RATE,
    )
    optimizer.register_step_pre_hook(lambda taken, _args, _kwargs: densify(taken))
    return optimizer


def densify(optimizer: torch.optim.Optimizer) -> None:
    """Makes the sparse gradients of an optimizer's parameters dense: Adam takes no others."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()


def can_fuse(parameters: Sequence[torch.Tensor]) -> bool:
    """Whether the fused Adam, six times faster on a CPU, takes these parameters."""
    return bool(parameters) and all(
        p.dtype in (torch.float32, torch.float64) and p.device.type in ("cpu", "cuda")
        for p in parameters
    )
