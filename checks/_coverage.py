"""The measurement of `optimizer-coverage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ._blame import maker
from .optimizer_coverage import Coverage

if TYPE_CHECKING:
    from recipe_check import Lab


def see_coverage(lab: Lab) -> Coverage:
    """Compares by identity on a copy; reads gradients from the shared trace."""
    rig = lab.rig()
    assert rig.optimizer is not None
    held = {id(p) for group in rig.optimizer.param_groups for p in group["params"]}
    trainable = rig.trainable()
    learning = {g.name for g in lab.trace.gradients if any((*g.norms, g.settled))}
    missing = [(n, p) for n, p in trainable if id(p) not in held and n in learning]
    known = {id(p) for p in rig.model.parameters()}
    if isinstance(rig.loss, nn.Module):
        known |= {id(p) for p in rig.loss.parameters()}
    total = sum(p.numel() for n, p in trainable if n in learning or id(p) in held)
    return Coverage(
        held=sum(id(p) in held for _, p in trainable),
        missing=tuple(name for name, _ in missing),
        missing_share=sum(p.numel() for _, p in missing) / max(total, 1),
        foreign=len(held - known),
        location=maker(lab, "optimizer"),
    )
