"""Which rows of a batch influence which outputs: the rows are replaced, the outputs compared.

A group of rows is replaced by rows of other samples; outputs of all other rows must not change.
Groups are the bits of the row number and their complements, so every ordered pair of rows is in
some group: 2·⌈log2 B⌉ forward passes, no backward pass, and no difference between float and token
inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

ROWS = 13  # few, and seldom the size of another axis
TOLERANCE = 1e-5  # relative; adaptive ODE solvers reach 5e-7, Gaussian processes 2e-6
NOISE_SEED = 1  # the same noise in every pass
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


Call = Callable[[Any], Any]  # from a batch (on the device) to the model's output


def forward_leaves(rig: Rig, call: Call, batch: Any, seed: int = NOISE_SEED) -> list[torch.Tensor]:
    """All floating tensors of the model's output, detached, with fixed noise."""
    seed_everything(seed)
    with rig.looking():
        output = call(rig.put(batch))
    if output is None:
        raise NotApplicable("the training step returns no model output to compare")
    return [t.detach() for t in tree.leaves(output) if t.is_floating_point() or t.is_complex()]


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
            if count == size:
                raise
            continue  # a batch size written into the model
        if not outputs:
            raise NotApplicable("no axis of the output follows the number of samples")
        axes = Axes(axes_in, outputs, count)
        return Rows(rig, chosen, axes, _donors(donor, chosen, axes), call)
    raise NotApplicable("the model runs on its full batch only")


def model_call(lab: Lab, rig: Rig, probe: Rig | None = None) -> tuple[Any, Any, Call]:
    """A batch, another one, and how to run the model on it.

    With a training step these are the arguments of its first call of the model (of a part of it,
    where it never calls the whole): what a step does
    around the model (mixing samples up, comparing them) is not the model's. They are captured
    on `probe` where `rig` itself cannot run the step (another precision).
    """
    batches = lab.train_batches
    other = batches[1] if len(batches) > 1 else None
    if rig.subject.training_step is None:
        return batches[0], other, rig.forward
    name, first = _arguments(probe or rig, batches[0])
    second = _arguments(probe or rig, other)[1] if other is not None else None
    module = rig.model.get_submodule(name)

    def call(arguments: Any) -> Any:
        args, kwargs = arguments
        return rig.run(lambda: module(*args, **kwargs))

    return first, second, call


def _arguments(rig: Rig, batch: Any) -> tuple[str, tuple[Any, Any]]:
    """The first call in a training step: of the model itself, else of a part with weights."""
    names = {id(module): name for name, module in rig.model.named_modules()}
    seen: list[tuple[str, Any]] = []

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        if any(True for _ in module.parameters()):
            seen.append((names[id(module)], (args, dict(kwargs))))

    hooks = [m.register_forward_pre_hook(note, with_kwargs=True) for m in rig.model.modules()]
    try:
        with rig.looking():
            rig.step(rig.put(batch))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise NotApplicable("the training step calls no module of the model")
    name, arguments = next((call for call in seen if not call[0]), seen[0])
    found: tuple[Any, Any] = tree.map_leaves(arguments, torch.Tensor.detach)
    return name, found


def batch_size(lab: Lab, rig: Rig, batch: Any) -> int:
    """The number of samples: the loader's word, the target's first axis, or the input's."""
    declared = getattr(lab.subject.loader, "batch_size", None)
    parts = rig.split(batch)
    sizes = [leaf.shape for leaf in tree.leaves(parts.inputs)]
    target = next(iter(tree.leaves(parts.target)), None)
    if isinstance(declared, int) and any(declared in shape[:2] for shape in sizes):
        first = declared
    elif target is not None and target.ndim == 1:
        first = target.shape[0]
    else:
        first = next((shape[0] for shape in sizes if len(shape)), 0)
    if first < 2:
        raise NotApplicable("a batch of one sample: nothing can leak")
    return int(first)


def input_axes(rig: Rig, batch: Any, size: int, *, whole: bool = False) -> dict[int, int]:
    """Batch axis of each input leaf (of every leaf where `whole`); an input without one has its
    own way of batching."""
    inputs = {id(leaf) for leaf in tree.leaves(batch if whole else rig.split(batch).inputs)}
    found = {}
    for place, leaf in enumerate(tree.leaves(batch)):
        if id(leaf) not in inputs or leaf.ndim == 0:
            continue
        if size not in leaf.shape[:2]:
            shape = tuple(leaf.shape)
            raise NotApplicable(f"an input of shape {shape} has no axis of the {size} samples")
        relates = leaf.is_floating_point() or leaf.dtype == torch.bool  # ids are no relation
        square = relates and leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1] == size
        if square and len(inputs) > 1:
            raise NotApplicable("an input relates samples to each other (a square matrix)")
        found[place] = 0 if leaf.shape[0] == size else 1
    if not found:
        raise NotApplicable("the batch holds no tensor with a batch axis")
    return found


def take(batch: Any, axes: dict[int, int], rows: torch.Tensor) -> Any:
    """Those rows of every input (by its axis) and of every other tensor that has as many."""
    leaves = tree.leaves(batch)
    size = next(leaves[place].shape[axis] for place, axis in axes.items())
    changed = {}
    for place, leaf in enumerate(leaves):
        axis = axes.get(place, _axis_of(leaf, size))
        if axis is not None:
            changed[place] = leaf.index_select(axis, rows)
    return tree.replace_leaves(batch, changed)


def _axis_of(leaf: torch.Tensor, size: int) -> int | None:
    return next((axis for axis in range(min(leaf.ndim, 2)) if leaf.shape[axis] == size), None)


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
        if place < len(other) and other[place].ndim == leaf.ndim:
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
