"""Naming the line: the first operation whose rows mix samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Location, tree
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from ._calls import Call, forward_leaves
from ._rows import TOLERANCE, Rows

if TYPE_CHECKING:
    from recipe_check import Rig


_DECIDED = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer,
            nn.TransformerDecoderLayer, nn.modules.conv._ConvNd, nn.LayerNorm, nn.GroupNorm,
            nn.modules.batchnorm._NormBase)  # fmt: skip
ORDERED = 1e-3  # relative, as the check allows for sums in another order


@dataclass(frozen=True)
class Op:
    """One operation of a forward pass with its result."""

    name: str
    location: Location | None
    result: torch.Tensor
    sources: tuple[int, ...]  # ids of the tensors that went in


class OpRecorder:
    """Keeps every tensor result of a pass, with the user's line. What a torch layer that has a
    `batch_first`, or is a convolution or a norm, does was decided where it was made: `built` says
    where, for the module that is running."""

    def __init__(self, built: Callable[[str], Location | None] = lambda _: None) -> None:
        self.ops: list[Op] = []
        self.built = built

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func)
        if name in ("__get__", "size", "dim", "numel"):
            return
        sources = tuple(id(t) for t in tree.leaves([list(args), dict(kwargs)]))
        where = self.built(name) or caller_location(name)
        for result in tree.leaves(out):
            if result.is_floating_point():
                self.ops.append(Op(name, where, result, sources))


def mixing_op(rows: Rows, group: Sequence[int]) -> Op | None:
    """The operation to blame when replacing `group` changes other rows; two forward passes."""
    before = record(rows.rig, rows.call, rows.batch)
    after = record(rows.rig, rows.call, rows.replaced(group))
    if [op.name for op in before] != [op.name for op in after]:
        return None
    states = [_state(a, b, rows.axes.rows, set(group)) for a, b in zip(before, after, strict=True)]
    for number, state in enumerate(states):
        if state == "mixed":
            return _blame(before, states, number)
    return None


def ordering_op(rows: Rows, order: torch.Tensor) -> Op | None:
    """The first operation whose result does not follow when the batch is put in another order:
    a position code along the batch, or a state that runs over it; two forward passes."""
    before = record(rows.rig, rows.call, rows.batch)
    after = record(rows.rig, rows.call, rows.permuted(order))
    if [op.name for op in before] != [op.name for op in after]:
        return None
    for one, other in zip(before, after, strict=True):
        result = one.result
        if result.ndim < 2 or result.shape != other.result.shape or len(result) != rows.axes.rows:
            continue
        expected = result[order.to(result.device)]
        scale = result.abs().max().clamp_min(1e-12)
        if float((expected - other.result).abs().max() / scale) > ORDERED:
            return one
    return None


def record(rig: Rig, call: Call, batch: Any) -> list[Op]:
    """Every floating result of one pass, in order."""
    stack = rig.stack()
    kinds = {name: type(module) for name, module in rig.model.named_modules()}

    def built(_: str) -> Location | None:
        decided = issubclass(kinds.get(stack.current, nn.Identity), _DECIDED)
        return stack.created.get(stack.current) if decided else None

    recorder = OpRecorder(built)
    with stack.following(), Watch(recorder):
        forward_leaves(rig, call, batch)
    return recorder.ops


def _state(before: Op, after: Op, rows: int, group: set[int]) -> str:
    """`clean`: only the group's rows changed; `moved`: so, but along another axis than the
    first although that has the batch's size; `pooled`: changed, and no axis holds the batch;
    `mixed`: an axis holds the batch and others' rows changed."""
    one, other = before.result, after.result
    if one.shape != other.shape or not one.numel():
        return "clean"
    scale = one.abs().max().double().clamp_min(1e-12)
    changed = ((one - other).abs().double() / scale > TOLERANCE).cpu()
    if not bool(changed.any()):
        return "clean"
    axes = [axis for axis in range(one.ndim) if one.shape[axis] % rows == 0]
    if not axes:
        return "pooled"
    clean = [axis for axis in axes if _only(changed, axis, rows, group)]
    if not clean:
        return "mixed"
    lost = one.shape[0] == rows and 0 not in clean
    return "moved" if lost else "clean"


def _only(changed: torch.Tensor, axis: int, rows: int, group: set[int]) -> bool:
    """Whether changes along the axis stay in the group, samples outermost or innermost."""
    others = [a for a in range(changed.ndim) if a != axis]
    flags = changed.any(dim=others) if others else changed
    places = flags.nonzero().flatten().tolist()
    block = changed.shape[axis] // rows
    return all(p // block in group for p in places) or all(p % rows in group for p in places)


def _blame(ops: list[Op], states: list[str], number: int) -> Op:
    """The mixing operation, or what came before it: the pooling that it used, or the reshape
    that moved the batch off its axis."""
    makers = {id(op.result): place for place, op in enumerate(ops[:number])}
    for source in ops[number].sources:
        place = makers.get(source)
        if place is not None and states[place] == "pooled":
            return ops[place]
    earlier = [place for place in range(number) if states[place] == "moved"]
    return ops[earlier[0]] if earlier else ops[number]
