"""Which units of each rectifier ever fire, for modules and functional calls alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from recipe_check.probes.watch import ModuleStack, op_name
from recipe_check.userframes import caller_location
from recipe_check.values import Location

_RECTIFIERS: frozenset[Any] = frozenset(
    {
        F.relu, F.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_,
        F.relu6,
    }
)  # fmt: skip
_CLAMPS: frozenset[Any] = frozenset(
    {
        torch.clamp, torch.Tensor.clamp, torch.Tensor.clamp_, torch.clamp_min,
        torch.Tensor.clamp_min, torch.Tensor.clamp_min_, F.hardtanh, F.threshold,
    }
)  # fmt: skip
_CHANNELS_FIRST = ("Convolution", "BatchNorm", "GroupNorm", "Pool", "Interpolate", "Upsample")
_CHANNELS_LAST = ("Addmm", "Linear", "LayerNorm", "Mm", "Bmm", "UnsafeView", "Embedding")


@dataclass(frozen=True)
class Rectifier:
    """One rectifier call of the model, over all probed batches.

    `fired` counts, for each unit (channel), the positions at which it was above zero;
    `positions` is how many there were, `input_mean` the mean of what entered the first call.
    """

    module: str
    before: str  # the module that ended last before it
    op: str
    location: Location | None
    fired: tuple[int, ...]
    positions: int
    input_mean: float

    @property
    def dead(self) -> int:
        """Units that never fired."""
        return sum(count == 0 for count in self.fired)


class RectifierObserver:
    """Counts firing units; keeps counts on the device until `records` is called."""

    def __init__(self, stack: ModuleStack) -> None:
        self.stack = stack
        self._counts: dict[tuple[str, str, int, int | None], torch.Tensor] = {}
        self._positions: dict[tuple[str, str, int, int | None], int] = {}
        self._where: dict[tuple[str, str, int, int | None], Location | None] = {}
        self._before: dict[tuple[str, str, int, int | None], str] = {}
        self._means: dict[tuple[str, str, int, int | None], torch.Tensor] = {}

    def unsure(self, positions: int) -> bool:
        """Whether some unit did not fire and was seen at fewer positions than these."""
        few = [self._counts[key] for key, seen in self._positions.items() if seen < positions]
        return any(bool((counts == 0).any()) for counts in few)

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if not _is_rectifier(func, args, kwargs) or not isinstance(out, torch.Tensor):
            return
        if out.ndim < 2 or not out.is_floating_point():
            return
        with torch.no_grad():
            axis = channel_axis(out)
            others = [a for a in range(out.ndim) if a != axis]
            fired = (out.detach() > 0).sum(others)
            entered = args[0] if args else kwargs.get("input")
            mean = entered.detach().float().mean() if isinstance(entered, torch.Tensor) else None
        self._add(op_name(func), fired, out.numel() // out.shape[axis], mean)

    def _add(self, op: str, fired: torch.Tensor, positions: int, mean: torch.Tensor | None) -> None:
        where = caller_location(op)
        key = (self.stack.current, op, len(fired), where.line if where else None)
        self._where.setdefault(key, where)
        self._before.setdefault(key, self.stack.finished)
        if mean is not None:
            self._means.setdefault(key, mean)
        before = self._counts.get(key)
        self._counts[key] = fired if before is None else before + fired
        self._positions[key] = self._positions.get(key, 0) + positions

    def records(self) -> tuple[Rectifier, ...]:
        """One record a call site and module, in the order of their first call."""
        return tuple(
            Rectifier(
                module=key[0],
                before=self._before[key],
                op=key[1],
                location=self._where[key],
                fired=tuple(counts.tolist()),
                positions=self._positions[key],
                input_mean=float(self._means.get(key, torch.tensor(0.0))),
            )
            for key, counts in self._counts.items()
        )


def _is_rectifier(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    try:
        if func in _RECTIFIERS:
            return True
        if func not in _CLAMPS:
            return False
    except TypeError:
        return False
    bounds = [*args[1:2], *(kwargs.get(n) for n in ("min", "min_val", "threshold"))]
    low = next((bound for bound in bounds if bound is not None), None)
    return isinstance(low, int | float) and low == 0


def channel_axis(value: torch.Tensor) -> int:
    """The axis of units: 1 after convolutions and (B, C, …) maps, the last one otherwise."""
    if value.ndim == 2:
        return 1
    if value.ndim >= 4:
        return _producer_axis(value, default=1)
    return _producer_axis(value, default=-1) % value.ndim


def _producer_axis(value: torch.Tensor, default: int) -> int:
    """Follow the graph back to the operation that made the units."""
    node = value.grad_fn
    for _ in range(8):
        if node is None:
            break
        name = node.name()
        if any(kind in name for kind in _CHANNELS_FIRST):
            return 1
        if any(kind in name for kind in _CHANNELS_LAST):
            return value.ndim - 1
        node = node.next_functions[0][0] if node.next_functions else None
    return default
