"""A loss written by hand, strained: does a confident prediction reach the logarithm of zero?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.errors import UserCodeError
from recipe_check.probes.watch import Watch, op_name
from recipe_check.rig import logits_of
from recipe_check.userframes import caller_location

from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

LARGEST = 200.0  # scores at which sigmoid is 1 and most of softmax 0 in float32


class _Logarithms:
    """Remembers the user's first logarithm that met a zero."""

    def __init__(self) -> None:
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if self.location is not None or op_name(func) not in ("log", "log2", "log10", "log_"):
            return
        if isinstance(out, torch.Tensor) and bool((out == -torch.inf).any()):
            self.location = caller_location("log")


def strain(lab: Lab) -> Breach | None:
    """Calls the user's loss on the outputs stretched to +-200 and on their negation.

    None for losses that take no part in this: torch's own, and those inside the model or a
    training step. Cost: one forward pass.
    """
    rig = lab.rig().train()
    if rig.loss is None or lab.subject.training_step is not None:
        return None
    if type(rig.loss).__module__.startswith("torch."):
        return None
    batch = rig.put(lab.train_batches[0])
    watch = _Logarithms()
    try:
        with torch.no_grad():
            output = rig.forward(batch)
            target = rig.split(batch).target
            for sign in (LARGEST, -LARGEST):
                scaled = tree.map_leaves(output, partial(_scaled, size=sign))
                with Watch(watch):
                    value = rig.loss(logits_of(scaled, rig.loss), target)
                if watch.location is not None and not bool(torch.isfinite(value).all()):
                    return _breach(watch.location, float(value.detach().sum()))
    except (UserCodeError, RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        return None  # the loss wants something else: nothing is known of it
    return None


def _scaled(value: torch.Tensor, size: float) -> torch.Tensor:
    """Scores stretched to the size; probabilities stay what they are."""
    if not value.is_floating_point() or not value.numel():
        return value
    if float(value.min()) >= 0 and float(value.max()) <= 1:
        return (value > value.mean()).to(value.dtype) if size > 0 else value
    return value * (size / float(value.abs().max().clamp_min(1e-12)))


def _breach(location: Location, value: float) -> Breach:
    return Breach(
        "the logarithm of zero",
        f"confident predictions (scores of {LARGEST:g}) make the loss {value}: a logarithm meets 0",
        "use the loss that takes raw scores (cross_entropy, binary_cross_entropy_with_logits), or "
        "log_softmax / logsigmoid; else clamp the argument from below",
        location,
        certain=False,
    )
