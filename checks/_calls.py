"""How a batch is given to the model, and where its samples lie in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import NotApplicable, tree
from recipe_check.lab import seed_everything

if TYPE_CHECKING:
    from recipe_check import Lab, Rig


NOISE_SEED = 1  # the same noise in every pass


Call = Callable[[Any], Any]  # from a batch (on the device) to the model's output


def forward_leaves(rig: Rig, call: Call, batch: Any, seed: int = NOISE_SEED) -> list[torch.Tensor]:
    """All floating tensors of the model's output, detached, with fixed noise."""
    seed_everything(seed)
    with rig.looking():
        output = call(rig.put(batch))
    if output is None:
        raise NotApplicable("the training step returns no model output to compare")
    return [t.detach() for t in tree.leaves(output) if t.is_floating_point() or t.is_complex()]


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
    """Those rows (indices, on any device) of every input by its axis, and of every other tensor
    that has as many."""
    leaves = tree.leaves(batch)
    size = next(leaves[place].shape[axis] for place, axis in axes.items())
    changed = {}
    for place, leaf in enumerate(leaves):
        axis = axes.get(place, axis_of(leaf, size))
        if axis is not None:
            changed[place] = leaf.index_select(axis, rows.to(leaf.device))
    return tree.replace_leaves(batch, changed)


def axis_of(leaf: torch.Tensor, size: int) -> int | None:
    return next((axis for axis in range(min(leaf.ndim, 2)) if leaf.shape[axis] == size), None)
