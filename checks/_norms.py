"""The measurement of `normalization`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from recipe_check import NotApplicable, tree

from ._attention import attention_problems
from ._shared_norms import shared_norms
from .normalization import Norm, Norms, Problem

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

MOST_EPS = 0.1  # torch has 1e-5, EfficientNet and YOLO 1e-3
_REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_NORMALISING = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
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
    problems = (*_problems(lab, rig), *attention_problems(lab), *shared_norms(lab))
    if not found and problems:
        return Norms((), _rows(lab), None, problems)
    if not found:
        raise NotApplicable("no batch normalisation in training mode")
    folded = min(shapes[n.name][0] if shapes.get(n.name) else 0 for n in found)
    rows = max(_rows(lab), folded)  # frames or patches that the model folds into its batch
    worst = max(found, key=lambda n: n.momentum or 0.0)
    return Norms(tuple(found), rows, lab.subject.created.get(worst.name), problems)


def _problems(lab: Lab, rig: Rig) -> Iterator[Problem]:
    """Layers that normalise one value, hardly at all, or what is to be predicted."""
    shapes = {layer.name: layer.shape for layer in lab.trace.layers}
    for name, module in rig.model.named_modules():
        where = lab.subject.created.get(name)
        if _values(module, shapes.get(name, ())) == 1:
            yield Problem(
                "a layer normalises a single value",
                f"{name} ({type(module).__name__}) takes mean and variance of one value: its "
                "output is the same for every input",
                "normalise over several features, or leave the layer out",
                where,
                certain=True,
            )
        if isinstance(module, _NORMALISING) and module.eps >= MOST_EPS:
            yield Problem(
                "eps drowns the variance",
                f"{name} has eps {module.eps:g}: it divides by eps rather than by the variance",
                "use eps=1e-5",
                where,
                certain=False,
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and _never_fills(module):
            yield Problem(
                "running statistics never move",
                f"{name} has momentum 0: at evaluation it normalises with mean 0 and variance 1",
                "use momentum=0.1: torch counts the share of the new batch",
                where,
                certain=False,
            )
    last = lab.trace.layers[-1] if lab.trace.layers else None
    output = next(iter(tree.leaves(lab.trace.output)), None)
    regression = any(term.kind in _REGRESSION for term in lab.trace.terms)
    is_norm = last is not None and last.kind in ("BatchNorm1d", "LazyBatchNorm1d")
    if last is not None and is_norm and regression and output is not None and (
        tuple(output.shape) == last.shape
    ):  # fmt: skip
        yield Problem(
            "batch normalisation of the predictions",
            f"{last.name} normalises what is to be predicted: a prediction depends on the others "
            "of its batch",
            "leave the last layer linear",
            lab.subject.created.get(last.name),
            certain=False,
        )


def _values(module: nn.Module, shape: tuple[int, ...]) -> int:
    """How many values share a mean; 0 where it is not known or not so."""
    if isinstance(module, nn.LayerNorm):
        return math.prod(module.normalized_shape)
    if isinstance(module, nn.GroupNorm) and len(shape) >= 2:
        return shape[1] // module.num_groups * math.prod(shape[2:])
    if isinstance(module, nn.modules.instancenorm._InstanceNorm) and len(shape) > 2:
        return math.prod(shape[2:])
    return 0


def _never_fills(module: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, var = module.running_mean, module.running_var
    if module.momentum != 0 or mean is None or var is None:
        return False
    return bool((mean == 0).all()) and bool((var == 1).all())


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
