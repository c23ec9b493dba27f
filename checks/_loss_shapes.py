"""What a loss written by hand does with shapes and axes: read from the recorded operations."""

from __future__ import annotations

import torch

from recipe_check import tree

from ._loss_input import made_by, made_by_all
from ._recorded_ops import Op, Recording
from .loss_contract import Breach

_ARITHMETIC = frozenset({"+", "-", "*", "/", "sub", "subtract", "multiply", "divide", "where",
                         "maximum", "minimum", "eq", "xlogy", "dist", "pow", "**"})  # fmt: skip
_NORMALISING = {"softmax": "softmax", "log_softmax": "softmax", "logsumexp": "softmax",
                "sigmoid": "sigmoid", "logsigmoid": "sigmoid"}  # fmt: skip


def spread_out(taken: Recording) -> Breach | None:
    """(B, 1) against (B,): a prediction and a target, in the shapes that model and loader gave
    them, make a table of all pairs."""
    outputs = {tuple(t.shape) for t in tree.leaves(taken.output)}
    targets = {tuple(t.shape) for t in taken.targets}
    for op in taken.ops:
        if op.name not in _ARITHMETIC or len(op.inputs) != 2 or len(op.outputs) != 1:
            continue
        one, two = sorted(op.inputs, key=lambda t: not t.requires_grad)
        if not one.requires_grad or two.requires_grad:
            continue
        shapes = tuple(one.shape), tuple(two.shape)
        if shapes[0] in outputs and shapes[1] in targets and _mixes(op, one, two):
            return Breach(
                "prediction and target are broadcast",
                f"prediction {shapes[0]}, target {shapes[1]} give {tuple(op.outputs[0].shape)}: "
                "every prediction is compared with every target",
                "give both the same shape: prediction.squeeze(1), or target.unsqueeze(1)",
                op.location,
                certain=True,
            )
    return None


def _mixes(op: Op, one: torch.Tensor, two: torch.Tensor) -> bool:
    count = one.numel()
    return one.shape != two.shape and count == two.numel() > 1 and op.outputs[0].numel() > count


def normalised_twice(taken: Recording) -> Breach | None:
    """The loss applies softmax or sigmoid to what the model already squashed."""
    for op in _on_output(taken):
        before = made_by(op.inputs[0])
        if before and before == _NORMALISING[op.name]:
            return Breach(
                "squashed scores instead of raw ones",
                f"the model ends in {before}, and the loss applies {op.name} to that",
                "return the raw scores: the loss normalises them",
                made_by_all(taken, op.inputs[0]).location or op.location,
                certain=True,
            )
    return None


def wrong_axis(taken: Recording) -> Breach | None:
    """The loss takes the softmax of the output over another axis than that of the classes."""
    for op in _on_output(taken):
        axis = _axis(op)
        output, classes = op.inputs[0], _class_axis(op.inputs[0], taken.targets)
        if axis is None or classes is None or axis == classes:
            continue
        if op.name in ("softmax", "log_softmax", "logsumexp"):
            return Breach(
                "softmax over the wrong axis",
                f"{op.name}(dim={axis}) on {tuple(output.shape)}, whose classes lie on {classes}",
                f"normalise over the classes: dim={classes}",
                op.location,
                certain=True,
            )
    return None


def _axis(op: Op) -> int | None:
    axis = op.kwargs.get("dim", op.args[1] if len(op.args) > 1 else None)
    return axis % op.inputs[0].ndim if isinstance(axis, int) and op.inputs[0].ndim else None


def _class_axis(output: torch.Tensor, targets: tuple[torch.Tensor, ...]) -> int | None:
    """The one axis of the output that class indices have not: (B, C, …) or (B, …, C)."""
    for target in targets:
        if target.is_floating_point() or output.ndim != target.ndim + 1:
            continue
        axes = [a for a in {1, output.ndim - 1} if 0 < a < output.ndim
                and (*output.shape[:a], *output.shape[a + 1 :]) == target.shape]  # fmt: skip
        if len(axes) == 1 and int(target.max()) < output.shape[axes[0]]:
            return axes[0]
    return None


def _on_output(taken: Recording) -> list[Op]:
    """Normalising operations outside the model on one of its outputs."""
    outputs = {id(t) for t in tree.leaves(taken.output)}
    return [op for op in taken.ops
            if op.name in _NORMALISING and op.inputs and id(op.inputs[0]) in outputs]  # fmt: skip
