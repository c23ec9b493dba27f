"""What reaches the first weights of the model: after all scaling, wherever that is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from recipe_check import tree
from recipe_check.probes.watch import op_name
from recipe_check.userframes import caller_location
from recipe_check.values import Location

_ARITHMETIC = ("+", "-", "*", "/")
KEPT_ROWS = 64  # of the tensor, for a look at its layout


@dataclass(frozen=True)
class Entry:
    """The input of the first operation that has a weight of two or more dimensions."""

    op: str
    value: torch.Tensor  # at most 64 rows, detached
    mean: float
    std: float
    location: Location | None


class EntryObserver:
    """Remembers the first weighted operation on floats; embeddings of tokens have none."""

    def __init__(self) -> None:
        self.entry: Entry | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if self.entry is not None or _only_scales(func, args):
            return
        given = [*args, *kwargs.values()]
        weights = [t for t in tree.leaves(given) if isinstance(t, nn.Parameter) and t.ndim >= 2]
        value = next((t for t in tree.leaves(given) if not isinstance(t, nn.Parameter)), None)
        if not weights or value is None or not value.is_floating_point():
            return
        if not value.any():  # a state that starts at zero, or nothing at all: not yet the input
            return
        if op_name(func) in _ARITHMETIC and any(value.shape == w.shape for w in weights):
            return  # weights that are drawn (mean + deviation * noise), decayed or masked
        with torch.no_grad():
            plain = value.detach().float()
            self.entry = Entry(
                op_name(func),
                value.detach()[:KEPT_ROWS] if value.ndim else value.detach(),
                float(plain.mean()),
                float(plain.std(correction=0)),
                caller_location(op_name(func)),
            )


def _only_scales(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether fixed parameters scale the input (x - mean): that is preprocessing, no layer."""
    if op_name(func) not in _ARITHMETIC:
        return False
    return not any(isinstance(a, nn.Parameter) and a.requires_grad for a in args)
