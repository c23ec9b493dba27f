"""The measurement of `optimizer-coverage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from recipe_check.lineage import optimizers_made

from ._blame import maker, sets_rate
from .optimizer_coverage import Coverage

if TYPE_CHECKING:
    from recipe_check import Lab, Rig


def see_coverage(lab: Lab) -> Coverage:
    """Compares by identity on a copy; reads gradients from the shared trace."""
    rig = lab.rig()
    assert rig.optimizer is not None
    held = {id(p) for group in rig.optimizer.param_groups for p in group["params"]}
    trainable = rig.trainable()
    learning = {g.name for g in lab.trace.gradients if any((*g.norms, g.settled))}
    elsewhere = _held_elsewhere(lab)
    missing = [(n, p) for n, p in trainable
               if id(p) not in held and n in learning and n not in elsewhere]  # fmt: skip
    known = {id(p) for p in rig.model.parameters()}
    if isinstance(rig.loss, nn.Module):
        known |= {id(p) for p in rig.loss.parameters()}
    listed = [id(p) for group in rig.optimizer.param_groups for p in group["params"]]
    total = sum(p.numel() for n, p in trainable if n in learning or id(p) in held)
    return Coverage(
        held=sum(id(p) in held for _, p in trainable),
        missing=tuple(name for name, _ in missing),
        missing_share=sum(p.numel() for _, p in missing) / max(total, 1),
        foreign=len(held - known),
        twice=len(listed) - len(set(listed)),
        still=_without_rate(lab, rig),
        location=maker(lab, "optimizer"),
    )


def _held_elsewhere(lab: Lab) -> set[str]:
    """Names of parameters that another optimizer of the user's holds: two may share a model."""
    own = lab.subject.original.optimizer
    others = [o for o in optimizers_made() if o is not own]
    held = {id(p) for o in others for group in o.param_groups for p in group["params"]}
    return {n for n, p in lab.subject.original.model.named_parameters() if id(p) in held}


def _without_rate(lab: Lab, rig: Rig) -> tuple[str, ...]:
    """Trainable tensors in groups of rate zero, where other groups have one and nothing raises
    it later."""
    assert rig.optimizer is not None
    rates = [float(group.get("lr", 1.0)) for group in rig.optimizer.param_groups]
    if all(rates) or not any(rates) or sets_rate(lab):
        return ()
    later = lab.rig().warm_optimizer().param_groups
    still = {
        id(p) for group, warm in zip(rig.optimizer.param_groups, later, strict=True)
        if not float(warm.get("lr", 1.0)) for p in group["params"]
    }  # fmt: skip
    return tuple(name for name, p in rig.trainable() if id(p) in still)
