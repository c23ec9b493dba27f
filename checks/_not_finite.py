"""Which operation first gives NaN or infinity, in the forward pass or on the way back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch

from recipe_check import tree
from recipe_check.errors import UserCodeError

from ._gradient_stops import Stop
from ._recorded_ops import Op, Recording, gradients, record

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.trace import Trace

_FILLING = ("masked_fill", "full", "new_full", "fill_", "tensor", "empty", "where")
_REASONS = {
    "log": "the logarithm of a number that is zero or below",
    "log2": "the logarithm of a number that is zero or below",
    "log10": "the logarithm of a number that is zero or below",
    "log1p": "the logarithm of a number that is zero or below",
    "/": "a division by zero",
    "sqrt": "the root of a number below zero",
    "exp": "an exponential that overflows",
    "**": "a power of a number below zero, or one that overflows",
}
_BACK = {
    "sqrt": "the derivative of a root is infinite at zero",
    "norm": "the derivative of a norm is not defined at zero",
    "**": "the derivative of this power is infinite at zero",
    "std": "the derivative of a standard deviation is infinite where all values are equal",
    "acos": "the derivative of acos is infinite at 1",
    "where": "the branch that is not taken still gets a gradient, and that is not finite",
}


def not_finite(lab: Lab) -> Stop | None:
    """The first operation whose result, or whose gradient, is not finite although what it was
    given is; None where all is finite. Cost: one forward and one backward pass, cached."""
    return lab.cached("not-finite", lambda: _find(lab))


def _find(lab: Lab) -> Stop | None:
    number = _first_bad(lab.trace)
    if number is None:
        return None
    try:
        taken = record(lab, number)
        return _forward(taken) or _backward(taken)
    except (UserCodeError, RuntimeError):
        return None


def _first_bad(trace: Trace) -> int | None:
    """The number of the first batch with a loss or gradient that is not finite."""
    for number, loss in enumerate(trace.losses):
        norms = [t.norms[number] for t in trace.gradients]
        if not all(n is None or math.isfinite(n) for n in (loss, *norms)):
            return number
    return None


def _forward(taken: Recording) -> Stop | None:
    entering = taken.reaching([taken.loss])
    for op in taken.ops:
        on_the_way = any(id(t) in entering for t in op.outputs)
        if not on_the_way or op.name.startswith(_FILLING):
            continue
        if not _finite(op.outputs) and _finite(op.inputs):
            why = _REASONS.get(op.name.rstrip("_"), f"{op.name} of finite numbers is not finite")
            return Stop(op.name, op.location, why)
    return _entered(taken)


def _entered(taken: Recording) -> Stop | None:
    """The batch or the weights were not finite from the start: no operation is to blame."""
    return None if _finite([taken.loss]) else Stop("", None, "the batch or a weight is not finite")


def _backward(taken: Recording) -> Stop | None:
    """A tensor that another operation reads, whose gradient is not finite already, is told."""
    tensors = [t for op in taken.ops for t in (*op.inputs, *op.outputs)]
    grads = gradients(taken.loss, tensors)
    told = {id(t) for op in taken.ops if not _finite(_known(op.outputs, grads)) for t in op.inputs}
    for op in reversed(taken.ops):
        arrived = _known(op.outputs, grads)
        passed = _known([t for t in op.inputs if id(t) not in told and not _inplace(op, t)], grads)
        if arrived and passed and _finite(arrived) and not _finite(passed):
            why = _BACK.get(op.name.rstrip("_"), f"the gradient of {op.name} is not finite")
            return Stop(op.name, op.location, why)
    return None


def _known(
    tensors: Iterable[torch.Tensor], grads: Mapping[int, torch.Tensor]
) -> list[torch.Tensor]:
    return [grads[id(t)] for t in tensors if id(t) in grads]


def _inplace(op: Op, tensor: torch.Tensor) -> bool:
    return any(tensor is out for out in op.outputs)


def _finite(tensors: Iterable[torch.Tensor]) -> bool:
    with torch.no_grad():
        floats = [t for t in tree.leaves(list(tensors)) if t.is_floating_point()]
        values = [t.coalesce().values() if t.is_sparse else t for t in floats]
        return all(bool(t.isfinite().all()) for t in values)
