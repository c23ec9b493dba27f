"""Squashing operations and how much of their output lies at the ends of their range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from recipe_check.probes.watch import ModuleStack, op_name
from recipe_check.userframes import caller_location
from recipe_check.values import Location

END = 0.02  # of the range: tanh beyond 0.96, sigmoid beyond 0.98


@dataclass(frozen=True)
class Saturation:
    """One tanh or sigmoid of a pass: the share of its outputs near an end of the range."""

    op: str
    module: str
    share: float
    location: Location | None


class SaturationObserver:
    """Counts on the device; `records` synchronises once."""

    def __init__(self, stack: ModuleStack) -> None:
        self.stack = stack
        self.seen: list[tuple[str, str, torch.Tensor, Location | None]] = []

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func).rstrip("_")
        if name not in ("tanh", "sigmoid") or not isinstance(out, torch.Tensor):
            return
        if not out.is_floating_point() or not out.numel():
            return
        with torch.no_grad():
            value = out.detach().float()
            unit = value.mul(0.5).add(0.5) if name == "tanh" else value
            share = ((unit < END) | (unit > 1 - END)).float().mean()
        self.seen.append((name, self.stack.current, share, caller_location(name)))

    def records(self) -> tuple[Saturation, ...]:
        """All of them, in the order of their calls."""
        shares = torch.stack([s for _, _, s, _ in self.seen]).tolist() if self.seen else []
        return tuple(
            Saturation(op, module, share, where)
            for (op, module, _, where), share in zip(self.seen, shares, strict=True)
        )
