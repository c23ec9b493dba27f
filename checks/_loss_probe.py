"""The user's loss as a function of what the model returns, and how outputs and targets pair up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.returned import logits_of, scalar

if TYPE_CHECKING:
    from recipe_check import Lab, Rig


@dataclass(frozen=True)
class Pair:
    """Which leaf of the output is judged against the target.

    `kind` is `classes` (scores along `axis` against class indices), `binary` (one score for each
    label of two) or `values` (a number for each target).
    """

    kind: str
    leaf: int
    output: torch.Tensor
    target: torch.Tensor
    axis: int = -1


class LossProbe:
    """Calls the loss on outputs of our own making: directly, or, for a training step, by a hook
    that replaces what the model returns. Noise is off. Cost: one forward pass, and one more for
    each value where a training step computes the loss."""

    def __init__(self, lab: Lab) -> None:
        self.rig: Rig = lab.rig().quiet()
        self.seed = lab.seed
        self.batch = self.rig.put(lab.train_batches[0])
        self.step = lab.subject.training_step is not None
        self.output: Any = None
        self.calls = 0
        self.used: dict[int, bool] = {}  # by the place of a target in the batch
        if self.step:
            self.value({})
        else:
            with torch.no_grad():
                self.output = self.rig.forward(self.batch)

    def value(self, changed: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """The loss where the output's leaves of these numbers are replaced."""
        seed_everything(self.seed)
        if not self.step:
            target = self._target()
            output = tree.replace_leaves(self.output, changed)
            assert self.rig.loss is not None
            return scalar(self.rig.loss(logits_of(output, self.rig.loss), target))
        self.calls = 0
        hook = self.rig.model.register_forward_hook(
            lambda _m, _a, output: self._replaced(output, changed)
        )
        try:
            return self.rig.step(self.batch).loss
        finally:
            hook.remove()

    def _replaced(self, output: Any, changed: Mapping[int, torch.Tensor]) -> Any:
        self.calls += 1
        self.output = output if not changed else self.output
        return tree.replace_leaves(output, changed)

    def _target(self) -> Any:
        parts = self.rig.split(self.batch)
        return parts.inputs if parts.target is None else parts.target

    def pair(self, *, several: bool = False) -> Pair | None:
        """The output that the target belongs to; None where it cannot be told. With `several`, one
        of several tensors in the place of the target is taken where it alone fits an output."""
        targets = [t for t in tree.leaves(self._target()) if not t.is_complex()]
        if len(targets) != 1 and not several:
            return None
        leaves = [
            (number, leaf.detach())
            for number, leaf in enumerate(tree.leaves(self.output))
            if leaf.is_floating_point() and leaf.ndim
        ]
        found = [
            next((pair for n, leaf in leaves if (pair := _paired(n, leaf, target))), None)
            for target in targets
        ]
        pairs = [(pair, t) for pair, t in zip(found, targets, strict=True) if pair is not None]
        if len(pairs) != 1:  # two: labels, weights or lengths?
            return None
        pair, target = pairs[0]
        return pair if self._is_used(target) else None

    def _is_used(self, target: torch.Tensor) -> bool:
        """Whether a step's loss changes with the order of the targets: a step may learn something
        else than what stands in their place. Cost: 2 F of a step, once."""
        place = next((i for i, leaf in enumerate(tree.leaves(self.batch)) if leaf is target), None)
        if not self.step or place is None or torch.equal(target, target.roll(1, 0)):
            return True
        if place not in self.used:
            whole, before = self.batch, self.output
            moved = tree.replace_leaves(whole, {place: target.roll(1, 0)})
            try:
                with torch.no_grad():
                    one = self.value({})
                    self.batch = moved
                    self.used[place] = bool(one != self.value({}))
            except (UserCodeError, RuntimeError, TypeError, ValueError):
                self.used[place] = True
            finally:
                self.batch, self.output = whole, before
        return self.used[place]


def loss_probe(lab: Lab) -> LossProbe | None:
    """None where the loss is computed inside the model, or over several calls of it. Cached."""
    return lab.cached("loss-probe", lambda: _made(lab))


def _made(lab: Lab) -> LossProbe | None:
    if lab.rig().loss is None and lab.subject.training_step is None:
        return None
    try:
        probe = LossProbe(lab)
    except (UserCodeError, RuntimeError, TypeError, ValueError):
        return None
    return None if probe.output is None or (probe.step and probe.calls != 1) else probe


def _paired(number: int, output: torch.Tensor, target: torch.Tensor) -> Pair | None:
    if not target.is_floating_point():
        axes = [a for a in {1, output.ndim - 1} if 0 < a < output.ndim
                and (*output.shape[:a], *output.shape[a + 1 :]) == target.shape]  # fmt: skip
        if len(axes) == 1 and output.shape[axes[0]] > 1:
            inside = bool((target < output.shape[axes[0]]).all()) and bool((target >= 0).any())
            return Pair("classes", number, output, target, axes[0]) if inside else None
    if target.numel() != output.numel() or target.numel() < 4:
        return None
    distinct = set(torch.unique(target).tolist()) if target.numel() < 1_000_000 else set()
    two = distinct in ({0, 1}, {-1, 1})
    if not two and not target.is_floating_point():
        return None
    return Pair("binary" if two else "values", number, output, target.reshape(output.shape))
