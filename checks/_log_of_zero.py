"""A loss written by hand, strained: does a confident prediction reach the logarithm of zero?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Location, tree
from recipe_check.errors import UserCodeError
from recipe_check.probes.watch import Watch, op_name
from recipe_check.returned import logits_of
from recipe_check.userframes import caller_location

from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_LOGARITHMS = ("log", "log2", "log10", "log1p")
LARGEST = 200.0  # scores at which sigmoid is 1 and most of softmax 0 in float32


class _Overruns:
    """Remembers the user's first logarithm of a zero or a negative number, and the first
    exponential that overflows."""

    def __init__(self) -> None:
        self.logarithm: Location | None = None
        self.negative = False
        self.exponential: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func).rstrip("_")
        if name not in (*_LOGARITHMS, "exp", "expm1") or not isinstance(out, torch.Tensor):
            return
        given = args[0] if args else None
        entered = isinstance(given, torch.Tensor) and bool(given.isfinite().all())
        if name not in _LOGARITHMS:
            if self.exponential is None and entered and bool(out.isinf().any()):
                self.exponential = caller_location(name)
        elif self.logarithm is None and entered and not bool((out > -torch.inf).all()):
            self.logarithm, self.negative = caller_location(name), bool(out.isnan().any())

    def breach(self, value: float) -> Breach | None:
        """What made the loss infinite, or not a number; None where it is finite."""
        if self.logarithm is not None and not math.isfinite(value):
            return _breach(self.logarithm, value, self.negative)
        if self.exponential is not None and math.isnan(value):
            return _overflow(self.exponential)
        return None


def strain(lab: Lab) -> Breach | None:
    """Calls the user's loss on the outputs stretched to +-200 and on their negation.

    Outputs that are never negative (probabilities, variances, rates) are not stretched: the last
    layer before them is, so that only what the model can give is tried. None for losses that take
    no part in this: torch's own, and those inside the model or a training step. Cost: one forward
    pass, three where an output is never negative.
    """
    rig = lab.rig().train()
    if rig.loss is None or lab.subject.training_step is not None:
        return None
    if type(rig.loss).__module__.startswith("torch."):
        return None
    batch = rig.put(lab.train_batches[0])
    try:
        with torch.no_grad():
            output, last = _run(rig, batch)
            target = rig.split(batch).target
            tried = [tree.map_leaves(output, partial(_scaled, size=s)) for s in (LARGEST, -LARGEST)]
            if last is not None and any(map(_never_negative, tree.leaves(output))):
                tried += [_with_large_scores(rig, batch, last, s) for s in (LARGEST, -LARGEST)]
            for scaled in tried:
                watch = _Overruns()
                with Watch(watch):
                    value = rig.loss(logits_of(scaled, rig.loss), target)
                if (found := watch.breach(float(value.detach().sum()))) is not None:
                    return found
    except (UserCodeError, RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        return None  # the loss wants something else: nothing is known of it
    return None


def _scaled(value: torch.Tensor, size: float) -> torch.Tensor:
    """Scores stretched to the size; what is never negative stays what it is."""
    if not value.is_floating_point() or not value.numel() or _never_negative(value):
        return value
    return value * (size / float(value.abs().max().clamp_min(1e-12)))


def _never_negative(value: torch.Tensor) -> bool:
    return value.is_floating_point() and bool(value.numel()) and float(value.min()) >= 0


def _run(rig: Rig, batch: Any) -> tuple[Any, nn.Module | None]:
    """The output, and the last linear or convolutional layer that ran."""
    ran: list[nn.Module] = []
    layers = [m for m in rig.model.modules() if isinstance(m, _LAYERS)]
    hooks = [layer.register_forward_hook(lambda m, _args, _out: ran.append(m)) for layer in layers]
    try:
        output = rig.forward(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return output, ran[-1] if ran else None


def _with_large_scores(rig: Rig, batch: Any, last: nn.Module, size: float) -> Any:
    """The output when this layer's scores are stretched to the size."""
    hook = last.register_forward_hook(lambda _m, _args, out: _scaled(out, size))
    try:
        return rig.forward(batch)
    finally:
        hook.remove()


def _breach(location: Location, value: float, negative: bool) -> Breach:
    number = "a negative number" if negative else "zero"
    return Breach(
        f"the logarithm of {number}",
        f"predictions of a size of {LARGEST:g}, which the model can give, make the loss {value}: "
        f"a logarithm meets {'a number below 0' if negative else '0'}",
        "use the loss that takes raw scores (cross_entropy, binary_cross_entropy_with_logits), or "
        "log_softmax / logsigmoid; else clamp the argument from below",
        location,
        certain=False,
    )


def _overflow(location: Location) -> Breach:
    return Breach(
        "an exponential that overflows",
        f"predictions of a size of {LARGEST:g} make the loss NaN: exp is infinite from 89 in "
        "float32",
        "use log_softmax or logsumexp, or subtract the largest score first",
        location,
        certain=False,
    )
