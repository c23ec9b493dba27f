"""Where the gradient stops: the operation that leaves the graph, or makes the gradient zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Location
from recipe_check.errors import UserCodeError

from ._blame import assigned, switched_off
from ._recorded_ops import Op, Recording, gradients, record

if TYPE_CHECKING:
    from recipe_check import Lab

_STEPS = frozenset({"round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "frac",
                    "fake_quantize_per_tensor_affine"})  # fmt: skip
_ENDS = frozenset({"sigmoid", "tanh", "softmax", "log_softmax", "hardtanh", "hardsigmoid",
                   "clamp", "relu6", "clip"})  # fmt: skip
_ESCAPES = frozenset({"numpy", "item", "tolist", "__array__", "__float__", "__int__", "__bool__"})
_PRODUCTS = frozenset({"*", "/", "@", "mul_", "div_", "multiply", "einsum", "bmm", "matmul"})


@dataclass(frozen=True)
class Stop:
    """The operation and why nothing flows back through it."""

    op: str
    location: Location | None
    why: str


def gradient_stop(lab: Lab, names: frozenset[str]) -> Stop | None:
    """What stands between the named weights, which have no gradient, and the loss.

    Cost: one forward and one backward pass, cached for each set of names.
    """
    return lab.cached(("gradient-stop", names), lambda: _find(lab, names))


def _find(lab: Lab, names: frozenset[str]) -> Stop | None:
    try:
        taken = record(lab)
        grads = _safe_gradients(taken)
    except UserCodeError:
        return None
    silent = [p for name, p in taken.parameters.items() if name in names]
    made, entering = taken.reached(silent), taken.reaching([taken.loss])
    for op in reversed(taken.ops):
        if any(id(t) in entering for t in op.outputs):
            inputs = [t for t in op.attached if id(t) in made and not _is_any(t, op.outputs)]
            if inputs and _alive(op, grads) and not any(_nonzero(t, grads) for t in inputs):
                return _stop(lab, taken, op)
    escape = next((op for op in taken.ops if op.name in _ESCAPES and op.location is not None
                   and any(id(t) in made for t in op.inputs)), None)  # fmt: skip
    if escape is not None:
        why = f"{escape.name} turns the tensor into a number outside torch"
        return Stop(escape.name, escape.location, why)
    return _unused(taken, made)


def _safe_gradients(taken: Recording) -> dict[int, torch.Tensor]:
    """{} where autograd refuses (re-entrant checkpointing): only what left the graph counts."""
    tensors = [t for op in taken.ops for t in (*op.inputs, *op.outputs)]
    try:
        return gradients(taken.loss, tensors)
    except RuntimeError:
        return {}


def _is_any(tensor: torch.Tensor, others: Sequence[torch.Tensor]) -> bool:
    return any(tensor is other for other in others)


def _alive(op: Op, grads: dict[int, torch.Tensor]) -> bool:
    """Its result matters to the loss: it has a gradient, or left the graph on the way there."""
    return any(not t.requires_grad or t.grad_fn is None or _nonzero(t, grads) for t in op.outputs)


def _nonzero(tensor: torch.Tensor, grads: dict[int, torch.Tensor]) -> bool:
    found = grads.get(id(tensor))
    if found is None:
        return False
    values = found.coalesce().values() if found.is_sparse else found
    return bool((values != 0).any())


def _stop(lab: Lab, taken: Recording, op: Op) -> Stop:
    if not op.recording and (where := switched_off(lab, op.location)) is not None:
        return Stop("no_grad", where, "what stands there runs without autograd")
    if all(t.grad_fn is None or not t.requires_grad for t in op.outputs):
        return Stop(op.name, op.location, f"{op.name} leaves the autograd graph")
    return _zeroed(lab, taken, op)


def _zeroed(lab: Lab, taken: Recording, op: Op) -> Stop:
    result = op.outputs[0].detach()
    name = op.name.rstrip("_")
    if name in ("softmax", "log_softmax") and 1 in result.shape:
        constant = 1 if name == "softmax" else 0
        return Stop(name, op.location, f"{name} over a single output is always {constant}")
    if name in _STEPS:
        return Stop(name, op.location, f"{name} is piecewise constant: its derivative is zero")
    if name in ("dropout", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"):
        where = lab.subject.created.get(op.module) if _is_dropout(lab, op.module) else None
        return Stop(name, where or op.location, "it drops everything (p is the share dropped)")
    if name in _PRODUCTS and (factor := _zero_factor(op)) is not None:
        made = taken.maker(factor) if isinstance(factor, torch.Tensor) else None
        where = made.location if made is not None else assigned(lab, op.location)
        return Stop(name, where or op.location, "it multiplies by zero")
    if any(not t.requires_grad and t.is_floating_point() and not t.any() for t in op.inputs):
        return Stop(name, op.location, "what enters it is zero throughout")
    if name in _ENDS:
        return Stop(name, op.location, f"all outputs of {name} are saturated: its slope is zero")
    if name in ("relu", "leaky_relu", "threshold"):
        return Stop(name, op.location, f"no unit of this {name} fires")
    return Stop(name, op.location, f"the gradient is zero behind this {name}")


def _is_dropout(lab: Lab, name: str) -> bool:
    modules = dict(lab.subject.original.model.named_modules())
    return isinstance(modules.get(name), nn.modules.dropout._DropoutNd)


def _zero_factor(op: Op) -> torch.Tensor | float | None:
    """The operand that is zero throughout."""
    for value in op.args:
        if isinstance(value, torch.Tensor) and not bool(value.detach().any()):
            return value
        if isinstance(value, int | float) and value == 0:
            return value
    return None


def _unused(taken: Recording, made: set[int]) -> Stop | None:
    """Two loss terms judge one prediction, or one judges what the model did not make."""
    seen: dict[int, Any] = {}
    for term in taken.terms:
        first = seen.setdefault(id(term.prediction), term)
        if first is not term and first.target is not term.target:
            return Stop(term.kind, term.location, "two terms of the loss judge the same prediction")
        target = term.target if isinstance(term.target, torch.Tensor) else term.prediction
        if not term.prediction.requires_grad and not target.requires_grad:
            why = f"{term.kind} compares tensors that do not come from the model"
            return Stop(term.kind, term.location, why)
    return None
