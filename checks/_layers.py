"""Which layer stands before a rectifier, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.rectifiers import Rectifier


def bias_before(lab: Lab, rectifier: Rectifier) -> float | None:
    """Mean bias of the layer that ran right before the rectifier, in the model's initial state;
    None where it has none."""
    modules = dict(lab.subject.original.model.named_modules())
    bias = getattr(modules.get(rectifier.before), "bias", None)
    return float(bias.detach().float().mean()) if isinstance(bias, nn.Parameter) else None
