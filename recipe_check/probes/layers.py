"""What comes out of each leaf module in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from recipe_check import tree


@dataclass(frozen=True)
class LayerStats:
    """One leaf module, in the order of its first call; statistics of the first batch's output."""

    name: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    std: float


@dataclass
class LayerRecorder:
    """Output statistics of each leaf module's first call, kept on the device until the end."""

    names: Mapping[int, str]
    seen: dict[str, tuple[str, tuple[int, ...], torch.Tensor]] = field(default_factory=dict)

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> None:
        name = self.names.get(id(module))
        if name is None or name in self.seen:
            return
        first = next((t for t in tree.leaves(output) if t.is_floating_point()), None)
        if first is None or not first.numel():
            return
        with torch.no_grad():
            values = first.detach().float()
            stats = torch.stack((values.mean(), values.std(correction=0)))
        self.seen[name] = (type(module).__name__, tuple(first.shape), stats)

    def stats(self) -> tuple[LayerStats, ...]:
        return tuple(
            LayerStats(name, kind, shape, *numbers.tolist())
            for name, (kind, shape, numbers) in self.seen.items()
        )
