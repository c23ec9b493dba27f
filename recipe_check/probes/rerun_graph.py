"""What a loss was made of, told from its graph and from the modules that were called for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from recipe_check.probes.rerun_gradients import Parameters

DEEPEST = 20_000  # nodes of a graph that are walked
_ACCUMULATES = "AccumulateGrad"
_SCALINGS = ("DivBackward", "MulBackward")
_SUMS = ("AddBackward", "SubBackward", "NegBackward", "MeanBackward", "SumBackward",
         "SqueezeBackward", "ViewBackward", "ToCopyBackward", "CloneBackward")  # fmt: skip


def leaves_of(root: Any) -> Iterator[torch.Tensor]:
    """The tensors in which `backward()` of the root would leave a gradient."""
    for node in _nodes(root):
        if type(node).__name__ == _ACCUMULATES:
            yield node.variable


def _nodes(root: Any) -> Iterator[Any]:
    start = getattr(root, "grad_fn", None)
    waiting, seen = [start] if start is not None else [], {start}
    while waiting and len(seen) < DEEPEST:
        node = waiting.pop()
        yield node
        fresh = [n for n, _ in node.next_functions if n is not None and n not in seen]
        seen.update(fresh)
        waiting += fresh


def is_divided(root: Any, scale: float) -> bool:
    """Whether a loss was divided or multiplied last of all, or terms of its sum were; the factor
    of a GradScaler is left out. Also where there is no graph to tell it by."""
    node = getattr(root, "grad_fn", None)
    if node is not None and scale != 1.0:
        node = next((n for n, _ in node.next_functions if n is not None), None)
    return node is None or _is_scaling(node, 6)


def _is_scaling(node: Any, depth: int) -> bool:
    name = type(node).__name__
    if name.startswith(_SCALINGS):
        return True
    if not depth or not name.startswith(_SUMS):
        return False
    return any(_is_scaling(n, depth - 1) for n, _ in node.next_functions if n is not None)


def in_eval_mode(called: Sequence[nn.Module], parameters: Parameters) -> str:
    """The class of a model that trains in eval mode where that makes a difference, '' if none."""
    for module in called:
        if not module.training and _matters(module, parameters):
            return type(module).__name__
    return ""


def _matters(module: nn.Module, parameters: Parameters) -> bool:
    """Whether a layer that is off feeds or is what trains; not where parts of the model have been
    put back to train mode, so that the rest is frozen on purpose."""
    parts = [part for part in module.modules() if part is not module]
    if any(part.training and parameters.holders(part.parameters()) for part in parts):
        return False
    return any(
        _depends_on_mode(layer) and not layer.training and _learns(name, module, parameters)
        for name, layer in module.named_modules()
    )


def _depends_on_mode(module: nn.Module) -> bool:
    drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return drops or isinstance(module, nn.modules.batchnorm._BatchNorm)


def _learns(name: str, module: nn.Module, parameters: Parameters) -> bool:
    """Whether the nearest module around a layer that has weights is trained."""
    while True:
        around = list(module.get_submodule(name).parameters())
        if around or not name:
            return bool(parameters.holders(around))
        name = name.rpartition(".")[0]
