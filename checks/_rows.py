"""Which rows of a batch influence which outputs: the rows are replaced, the outputs compared.

A group of rows is replaced by rows of other samples; outputs of all other rows must not change.
Groups are the bits of the row number and their complements, so every ordered pair of rows is in
some group: 2·⌈log2 B⌉ forward passes, no backward pass, and no difference between float and token
inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError

from ._calls import NOISE_SEED, Call, batch_size, forward_leaves, input_axes, model_call, take
from ._differences import noise_like

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

ROWS = 13  # few, and seldom the size of another axis
TOLERANCE = 1e-5  # relative; adaptive ODE solvers reach 5e-7, Gaussian processes 2e-6
JITTER = 0.02  # of weights, to see through zero-initialised heads and branches


@dataclass(frozen=True)
class Axes:
    """Where the batch axis is: for each input leaf (by position in the batch) and output leaf."""

    inputs: dict[int, int]
    outputs: dict[int, int]
    rows: int


@dataclass(frozen=True)
class Rows:
    """Forward passes on chosen rows of one batch, deterministic given the weights."""

    rig: Rig
    batch: Any
    axes: Axes
    donors: dict[int, torch.Tensor]
    call: Call
    seen: list[torch.Tensor]  # what `forward_leaves` gave for the batch, at the initial weights

    def outputs(self, batch: Any, seed: int = NOISE_SEED) -> list[torch.Tensor]:
        """Float outputs that have a batch axis, that axis first, flattened to (rows, features)."""
        return self.by_row(forward_leaves(self.rig, self.call, batch, seed))

    def by_row(self, found: list[torch.Tensor]) -> list[torch.Tensor]:
        """The leaves of an output as `outputs` gives them."""
        return [
            _fitted(found[place], self.seen[place]).movedim(axis, 0).reshape(self.axes.rows, -1)
            for place, axis in self.axes.outputs.items()
        ]

    def replaced(self, rows: Sequence[int]) -> Any:
        """The batch with these rows of every input exchanged for other samples."""
        index = torch.tensor(list(rows))
        leaves = tree.leaves(self.batch)
        changed = {}
        for place, axis in self.axes.inputs.items():
            leaf = leaves[place].movedim(axis, 0).clone()
            leaf[index] = self.donors[place][index]
            changed[place] = leaf.movedim(0, axis)
        return tree.replace_leaves(self.batch, changed)

    def permuted(self, order: torch.Tensor) -> Any:
        """The batch with its rows in another order."""
        leaves = tree.leaves(self.batch)
        changed = {
            p: leaves[p].index_select(a, order.to(leaves[p].device))
            for p, a in self.axes.inputs.items()
        }
        return tree.replace_leaves(self.batch, changed)


def _fitted(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The output in the shape that it had first: padding to the longest sequence makes it longer
    or shorter with other samples. What is missing is NaN, which counts as unchanged."""
    if value.shape == like.shape or value.ndim != like.ndim:
        return value
    common = tuple(slice(0, min(a, b)) for a, b in zip(value.shape, like.shape, strict=True))
    fitted = torch.full_like(like, float("nan"))
    fitted[common] = value[common]
    return fitted


def find_rows(lab: Lab, rig: Rig) -> Rows:
    """A batch of few rows with its axes; raises NotApplicable where there is no batch axis."""
    batch, donor, call = model_call(lab, rig)
    size = batch_size(lab, rig, lab.train_batches[0])
    whole = rig.subject.training_step is not None or rig.loss is None  # labels are inputs, too
    axes_in = input_axes(rig, batch, size, whole=whole)
    for count in dict.fromkeys((min(ROWS, size), size)):
        chosen = take(batch, axes_in, torch.arange(count))
        try:
            seen = forward_leaves(rig, call, chosen)
            outputs = _output_axes(rig, call, chosen, seen, axes_in, count)
        except UserCodeError:
            continue  # a batch size written into the model, or rows that belong together (graphs)
        if not outputs:
            raise NotApplicable("no axis of the output follows the number of samples")
        axes = Axes(axes_in, outputs, count)
        return Rows(rig, chosen, axes, _donors(donor, chosen, axes), call, seen)
    raise NotApplicable("the model runs on its full batch only")


def _output_axes(
    rig: Rig, call: Call, batch: Any, whole: list[torch.Tensor], axes: dict[int, int], count: int
) -> dict[int, int]:
    """The axes of the outputs that shrink with the batch: one comparison with fewer rows."""
    fewer = max(count - 1, 1)
    part = forward_leaves(rig, call, take(batch, axes, torch.arange(fewer)))
    found = {}
    for place, (one, other) in enumerate(zip(whole, part, strict=False)):
        if one.ndim != other.ndim:
            continue
        pairs = enumerate(zip(one.shape, other.shape, strict=True))
        following = [axis for axis, (a, b) in pairs if a == count and b == fewer]
        if len(following) > 1:
            raise NotApplicable(
                "the output relates samples to each other (its shape has the batch twice), "
                "as in contrastive learning"
            )
        if following:
            found[place] = following[0]
    return found


def _donors(donor: Any, batch: Any, axes: Axes) -> dict[int, torch.Tensor]:
    """For each input leaf rows of other samples: from another batch, else its own, shifted."""
    own = tree.leaves(batch)
    other = tree.leaves(donor) if donor is not None else []
    found = {}
    for place, axis in axes.inputs.items():
        leaf = own[place].movedim(axis, 0)
        rows = leaf.roll(1, 0)
        alike = place < len(other) and other[place].dtype == leaf.dtype
        if alike and other[place].ndim == leaf.ndim:
            candidate = other[place].movedim(axis, 0)
            if candidate.shape[1:] == leaf.shape[1:] and candidate.shape[0] >= axes.rows:
                other_rows = candidate[: axes.rows]
                same = (other_rows == leaf).reshape(len(leaf), -1).all(1)  # batches that repeat
                rows = torch.where(same.view(-1, *[1] * (leaf.ndim - 1)), rows, other_rows)
        found[place] = rows
    return found


def groups(rows: int) -> list[list[int]]:
    """The bits of the row number and their complements; every ordered pair is split by one."""
    found = []
    for bit in range(max((rows - 1).bit_length(), 1)):
        ones = [row for row in range(rows) if row >> bit & 1]
        zeros = [row for row in range(rows) if not row >> bit & 1]
        found += [ones, zeros]
    return [group for group in found if group]


def change_of(before: list[torch.Tensor], after: list[torch.Tensor]) -> list[float]:
    """For each row the largest relative change over all outputs; NaN counts as unchanged.

    Infinite scores are masks (pointers, actions that are not allowed): they give no scale, and
    one that comes or goes is a change of 1.
    """
    worst = torch.zeros(before[0].shape[0], dtype=torch.float64)
    for one, other in zip(before, after, strict=True):
        finite = one.abs().nan_to_num(0.0, posinf=0.0)
        scale = finite.max().double().clamp_min(1e-12)
        difference = (one - other).abs().double() / scale
        difference = difference.nan_to_num(0.0).masked_fill(difference.isinf(), 1.0)
        worst = torch.maximum(worst, difference.amax(1).cpu())
    return [float(value) for value in worst]


def jitter(rig: Rig) -> None:
    """Moves every floating parameter a little, so that zero-initialised parts let signals by."""
    with torch.no_grad():
        for parameter in rig.model.parameters():
            if parameter.is_floating_point():
                parameter.add_(noise_like(parameter) * JITTER)


def batch_statistics_in_eval(model: nn.Module) -> bool:
    """Whether a normalisation layer uses batch statistics even in evaluation mode, by choice."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in model.modules()
    )
