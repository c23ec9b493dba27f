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

from ._calls import Call, batch_size, forward_leaves, input_axes, model_call, take

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

    def outputs(self, batch: Any) -> list[torch.Tensor]:
        """Float outputs that have a batch axis, that axis first, flattened to (rows, features)."""
        found = forward_leaves(self.rig, self.call, batch)
        return [
            found[place].movedim(axis, 0).reshape(self.axes.rows, -1)
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
        changed = {p: leaves[p].index_select(a, order) for p, a in self.axes.inputs.items()}
        return tree.replace_leaves(self.batch, changed)


def find_rows(lab: Lab, rig: Rig) -> Rows:
    """A batch of few rows with its axes; raises NotApplicable where there is no batch axis."""
    batch, donor, call = model_call(lab, rig)
    size = batch_size(lab, rig, lab.train_batches[0])
    axes_in = input_axes(rig, batch, size, whole=rig.subject.training_step is not None)
    for count in dict.fromkeys((min(ROWS, size), size)):
        chosen = take(batch, axes_in, torch.arange(count))
        try:
            outputs = _output_axes(rig, call, chosen, axes_in, count)
        except UserCodeError:
            continue  # a batch size written into the model, or rows that belong together (graphs)
        if not outputs:
            raise NotApplicable("no axis of the output follows the number of samples")
        axes = Axes(axes_in, outputs, count)
        return Rows(rig, chosen, axes, _donors(donor, chosen, axes), call)
    raise NotApplicable("the model runs on its full batch only")


def _output_axes(
    rig: Rig, call: Call, batch: Any, axes: dict[int, int], count: int
) -> dict[int, int]:
    """The axes of the outputs that shrink with the batch: one comparison with fewer rows."""
    whole = forward_leaves(rig, call, batch)
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
                rows = candidate[: axes.rows]
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
    """For each row the largest relative change over all outputs; NaN counts as unchanged."""
    worst = torch.zeros(before[0].shape[0], dtype=torch.float64)
    for one, other in zip(before, after, strict=True):
        scale = one.abs().max().double().clamp_min(1e-12)
        difference = (one - other).abs().double().amax(1) / scale
        worst = torch.maximum(worst, difference.nan_to_num(0.0).cpu())
    return [float(value) for value in worst]


def jitter(rig: Rig) -> None:
    """Moves every floating parameter a little, so that zero-initialised parts let signals by."""
    with torch.no_grad():
        for parameter in rig.model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter) * JITTER)


def batch_statistics_in_eval(model: nn.Module) -> bool:
    """Whether a normalisation layer uses batch statistics even in evaluation mode, by choice."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in model.modules()
    )
