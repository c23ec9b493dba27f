"""The measurement of `weight-init`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Location, tree
from recipe_check.lineage import DRAWN

from ._blame import called, stated, value_line
from ._rows import JITTER
from .weight_init import Starts

if TYPE_CHECKING:
    from recipe_check import Lab

_CLONING = (nn.TransformerEncoder, nn.TransformerDecoder)  # torch's own stacks start as copies
MOST_TIMES, LOUD = 3.0, 5.0  # of He's deviation, and deviation of the layer's output
LEAST_TIMES = 0.01  # of He's: GPT's 0.02 is 0.1 to 0.5 of it
FILLING = frozenset({"constant", "zeros", "ones", "fill", "zero", "copy", "set_data"})
COPYING = frozenset({"clone", "copy", "set_data", "__set__", "detach"})
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def see_starts(lab: Lab) -> Starts:
    """Looks at the weights of linear and convolutional layers in the model's initial state."""
    model = lab.rig().model
    named = [
        (name, module.weight.detach())
        for name, module in model.named_modules()
        if isinstance(module, _LAYERS) and module.weight.requires_grad
    ]
    plain = {name for name, module in model.named_modules() if isinstance(module, _LAYERS)
             and type(module).forward.__module__.startswith("torch.")}  # fmt: skip
    cloned = tuple(
        f"{name}." if name else ""
        for name, module in model.named_modules()
        if isinstance(module, _CLONING)
    )
    hidden = named[:-1]
    symmetric = [n for n, w in hidden if len(w) > 1 and bool((w == w[:1]).all())]
    tables = [(n, m.weight.detach()) for n, m in model.named_modules()
              if isinstance(m, nn.Embedding) and m.weight.requires_grad]  # fmt: skip
    copies = _copies([(n, w) for n, w in (*tables, *named) if not n.startswith(cloned)])
    group = symmetric[:1] or (copies[0] if copies else ())
    # where a layer computes with its sign, its rank or a mask, size means something else
    scale, drawn = _scales(lab, [row for row in named if row[0] in plain])
    return Starts(
        scale=scale,
        weights=len(named),
        symmetric=tuple(symmetric),
        first_is_symmetric=bool(symmetric)
        and symmetric[0] == named[0][0]
        and not (bool((named[0][1] == 0).all()) and _lets_by(lab)),
        all_symmetric=bool(hidden) and len(symmetric) == len(hidden),
        copies=copies,
        location=_line(lab, group, bool(symmetric)) if group else drawn,
        untied=tuple(g for g in copies if {n for n, _ in tables} & set(g)),
    )


def _lets_by(lab: Lab) -> bool:
    """Whether outputs tell samples apart although the first weight is zero: then it is the start
    of a branch, and the signal takes another way. A zero head is moved first. One forward pass."""
    rig = lab.rig().eval()
    last = [m for m in rig.model.modules() if isinstance(m, _LAYERS)][-1]
    with torch.no_grad(), rig.looking():
        last.weight.add_(torch.randn_like(last.weight) * JITTER)
        output = rig.forward(rig.put(lab.train_batches[0]))
    leaves = [leaf for leaf in tree.leaves(output) if leaf.is_floating_point() and leaf.ndim > 1]
    return any(bool((leaf != leaf[:1]).any()) for leaf in leaves)


def _scales(lab: Lab, named: Sequence[tuple[str, torch.Tensor]]) -> tuple[str, Location | None]:
    """What is wrong with the size of weights that the user's own line drew, in most layers; read
    with the outputs of the shared trace."""
    outputs = {layer.name: layer.std for layer in lab.trace.layers}
    model = lab.subject.original.model
    own = dict(model.named_parameters())
    normalised = any("Norm" in type(module).__name__ for module in model.modules())
    large, small = [], []
    for name, weight in named:
        usual = math.sqrt(2 / max(weight[0].numel(), 1))
        times = float(weight.float().square().mean().sqrt()) / usual
        where = value_line(own.get(f"{name}.weight"), DRAWN)  # None where it is parametrised
        if where is not None and times > MOST_TIMES and outputs.get(name, 0.0) > LOUD:
            large.append((name, times, where))
        if where is not None and 0 < times < LEAST_TIMES and not normalised:
            small.append((name, times, where))
    for found, word in ((large, "large"), (small, "small")):
        if len(found) >= max(len(named) / 2, 1):
            name, times, where = found[0]
            return f"{name} starts {times:.2g} times as {word} as He initialisation", where
    return "", None


def _line(lab: Lab, group: Sequence[str], symmetric: bool) -> Location | None:
    """The line that filled the weights with a constant, or copied the layer, or made it."""
    if not group:
        return None
    first = group[0]
    if not symmetric:
        own = dict(lab.subject.original.model.named_parameters())
        lines = (value_line(own.get(f"{n}.weight"), COPYING) for n in reversed(group))
        copying = next((line for line in lines if line is not None), None)
        tying = stated(lab, ".weight", *(name.rsplit(".", 1)[-1] for name in group[:2]))
        return called(lab, "deepcopy") or copying or tying or lab.subject.created.get(first)
    own = dict(lab.subject.original.model.named_parameters())
    return value_line(own.get(f"{first}.weight"), FILLING) or lab.subject.created.get(first)


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
