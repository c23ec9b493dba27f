"""The measurement of `weight-init`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Location

from ._blame import called, value_line
from .weight_init import Starts

if TYPE_CHECKING:
    from recipe_check import Lab

_CLONING = (nn.TransformerEncoder, nn.TransformerDecoder)  # torch's own stacks start as copies
FILLING = frozenset({"constant", "zeros", "ones", "fill", "zero", "copy", "set_data"})
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def see_starts(lab: Lab) -> Starts:
    """Looks at the weights of linear and convolutional layers in the model's initial state."""
    model = lab.rig().model
    named = [
        (name, module.weight.detach())
        for name, module in model.named_modules()
        if isinstance(module, _LAYERS) and module.weight.requires_grad
    ]
    cloned = tuple(
        f"{name}." if name else ""
        for name, module in model.named_modules()
        if isinstance(module, _CLONING)
    )
    hidden = named[:-1]
    symmetric = [n for n, w in hidden if len(w) > 1 and bool((w == w[:1]).all())]
    copies = _copies([(n, w) for n, w in named if not n.startswith(cloned)])
    first = symmetric[0] if symmetric else (copies[0][0] if copies else "")
    return Starts(
        weights=len(named),
        symmetric=tuple(symmetric),
        first_is_symmetric=bool(symmetric) and symmetric[0] == named[0][0],
        all_symmetric=bool(hidden) and len(symmetric) == len(hidden),
        copies=copies,
        location=_line(lab, first, bool(symmetric)),
    )


def _line(lab: Lab, first: str, symmetric: bool) -> Location | None:
    """The line that filled the weights with a constant, or copied the layer, or made it."""
    if not first:
        return None
    if not symmetric:
        return called(lab, "deepcopy") or lab.subject.created.get(first)
    weight = lab.subject.original.model.get_parameter(f"{first}.weight")
    return value_line(weight, FILLING) or lab.subject.created.get(first)


def _copies(named: list[tuple[str, torch.Tensor]]) -> tuple[tuple[str, ...], ...]:
    """Groups of equal, not constant tensors with memory of their own."""
    groups: list[list[tuple[str, torch.Tensor]]] = []
    for name, weight in named:
        if weight.numel() < 4 or bool((weight == weight.flatten()[0]).all()):
            continue
        for group in groups:
            other = group[0][1]
            if other.shape == weight.shape and torch.equal(other, weight):
                if other.data_ptr() != weight.data_ptr():
                    group.append((name, weight))
                break
        else:
            groups.append([(name, weight)])
    return tuple(tuple(n for n, _ in group) for group in groups if len(group) > 1)
