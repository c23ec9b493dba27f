"""Lazy modules get their shapes from the first batch, on a copy: checks look at real weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from recipe_check.copying import Parts
from recipe_check.lab import Lab
from recipe_check.rig import Rig

NOTE = "lazy layers are checked with the shapes that the first batch gives them"


def materialised(lab: Lab) -> Lab:
    """The lab itself, or one around a copy that has seen a batch; the user's model stays lazy.

    Where that batch does not run, the lab itself: its first step says why.
    """
    subject, build = lab.subject, lab.subject.build_model
    if not _has_lazy(subject.original.model):
        return lab
    try:
        with lab.seeded():
            rig = lab.rig()
            _show(rig, lab.train_batches[0])
    except Exception:
        return lab
    filled = replace(
        subject,
        original=Parts(rig.model, rig.loss, rig.optimizer, rig.scheduler),
        build_model=None if build is None else _filling(build, lab),
        notes=(*subject.notes, NOTE),
    )
    return lab.around(filled)


def _has_lazy(model: nn.Module) -> bool:
    held: list[Any] = [*model.parameters(), *model.buffers()]
    return any(is_lazy(tensor) for tensor in held)


def _show(rig: Rig, batch: Any) -> None:
    """One batch without gradients in evaluation mode, so that no running statistic moves."""
    modes = [(module, module.training) for module in rig.model.modules()]
    with torch.no_grad():
        rig.eval().step(rig.put(batch))
    for module, mode in modes:
        module.training = mode


def _filling(build: Callable[[], nn.Module], lab: Lab) -> Callable[[], nn.Module]:
    """The factory, whose models have seen the same batch."""

    def filled() -> nn.Module:
        rig = Rig(lab.subject, replace(lab.subject.original, model=build()), lab.device, lab.meter)
        _show(rig, lab.train_batches[0])
        return rig.model

    return filled
