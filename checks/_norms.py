"""The measurement of `normalization`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from recipe_check import NotApplicable, tree

from .normalization import Norm, Norms

if TYPE_CHECKING:
    from recipe_check import Lab

_BEFORE = (nn.Linear, nn.modules.conv._ConvNd)


def see_norms(lab: Lab) -> Norms:
    """Batch-normalisation layers that update their statistics, with shapes from the trace."""
    rig = lab.rig().train()
    modules = dict(rig.model.named_modules())
    shapes = {layer.name: layer.shape for layer in lab.trace.layers}
    order = [layer.name for layer in lab.trace.layers]
    found = []
    for name, module in modules.items():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and _trains(module):
            shape = shapes.get(name, ())
            positions = math.prod(shape) // shape[1] if len(shape) > 1 else 0
            found.append(
                Norm(name, type(module).__name__, module.momentum, positions,
                     _biased(name, order, modules))
            )  # fmt: skip
    if not found:
        raise NotApplicable("no batch normalisation in training mode")
    folded = min(shapes[n.name][0] if shapes.get(n.name) else 0 for n in found)
    rows = max(_rows(lab), folded)  # frames or patches that the model folds into its batch
    return Norms(tuple(found), rows, lab.subject.created.get(found[0].name))


def _trains(module: nn.modules.batchnorm._BatchNorm) -> bool:
    own = list(module.parameters(recurse=False))
    return module.training and (not own or any(p.requires_grad for p in own))


def _biased(name: str, order: list[str], modules: dict[str, nn.Module]) -> str:
    """The layer called right before, where its bias is cancelled."""
    place = order.index(name) if name in order else 0
    before = modules.get(order[place - 1]) if place else None
    has_bias = isinstance(before, _BEFORE) and before.bias is not None
    return order[place - 1] if has_bias else ""


def _rows(lab: Lab) -> int:
    """Samples in the largest of the batches that were read."""
    rig = lab.rig()
    leaves = [tree.leaves(rig.split(batch).inputs) for batch in lab.train_batches[:8]]
    return max((len(found[0]) for found in leaves if found and found[0].ndim), default=0)
