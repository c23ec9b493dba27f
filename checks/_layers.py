"""Which layer stands before a rectifier, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.rectifiers import Rectifier


def bias_before(lab: Lab, rectifier: Rectifier) -> float | None:
    """Mean bias of the last layer that was called before the rectifier and has its width.

    The model's own initial state; None where no such layer has a bias.
    """
    model = lab.subject.original.model
    modules = dict(model.named_modules())
    names = [layer.name for layer in lab.trace.layers]
    if rectifier.module in names:
        names = names[: names.index(rectifier.module)]
    for name in reversed(names):
        bias = getattr(modules.get(name), "bias", None)
        if isinstance(bias, nn.Parameter) and bias.numel() == len(rectifier.fired):
            return float(bias.detach().float().mean())
    return None
