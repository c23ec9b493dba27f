"""The measurement of `dropout`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Location
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from ._calls import forward_leaves, model_call
from .dropout import Dropping

if TYPE_CHECKING:
    from recipe_check import Lab

_FUNCTIONS = frozenset(
    {
        F.dropout,
        torch.dropout,
        F.dropout1d,
        F.dropout2d,
        F.dropout3d,
        F.alpha_dropout,
        F.feature_alpha_dropout,
    }
)
_ATTENTION = (F.scaled_dot_product_attention, F.multi_head_attention_forward)  # fmt: skip


class _ActiveDropout:
    """Remembers the first dropout function whose result differs from what it was given."""

    def __init__(self) -> None:
        self.op = ""
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if self.op:
            return
        if func in _ATTENTION and float(kwargs.get("dropout_p", 0.0)) > 0:
            self.op, self.location = op_name(func), caller_location(op_name(func))
        if func not in _FUNCTIONS or not args:
            return
        if isinstance(out, torch.Tensor) and not torch.equal(out, args[0]):
            self.op, self.location = op_name(func), caller_location(op_name(func))


def see_dropping(lab: Lab) -> Dropping:
    """Two passes in evaluation mode with different noise; layers are read, not run."""
    rig = lab.rig().eval()
    rates = tuple(
        (name, float(module.p))
        for name, module in rig.model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd)
    )
    batch, _, call = model_call(lab, rig)
    observer = _ActiveDropout()
    with rig.stack().following(), Watch(observer):
        one = forward_leaves(rig, call, batch, seed=1)
    two = forward_leaves(rig, call, batch, seed=2)
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a.shape == b.shape and a.numel()]
    noisy = max((float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs),
                default=0.0)  # fmt: skip
    worst = max(rates, key=lambda rate: rate[1], default=("", 0.0))[0]
    where = observer.location if observer.op else lab.subject.created.get(worst)
    return Dropping(rates, noisy, observer.op, where)
