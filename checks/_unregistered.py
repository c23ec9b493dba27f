"""The measurement of `registration`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Location
from recipe_check.lineage import made_at

from .registration import Unregistered

if TYPE_CHECKING:
    from recipe_check import Lab


def see_unregistered(lab: Lab) -> Unregistered:
    """Searches the original's attributes; no pass of the model."""
    model = lab.subject.original.model
    known = {id(m) for m in model.modules()} | {id(p) for p in model.parameters()}
    found = [
        (f"{name}.{key}" if name else key, item)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if not key.startswith("_")
        for item in _items(value)
        if id(item) not in known and _trains(item)
    ]
    return Unregistered(tuple(dict.fromkeys(n for n, _ in found)), _line(lab, found))


def _items(value: Any) -> Iterator[Any]:
    """What hangs on an attribute: itself if it is a tensor, or the contents of a container."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _items(item) if isinstance(item, list | tuple | dict) else (item,)
    elif isinstance(value, torch.Tensor):
        yield value


def _trains(item: Any) -> bool:
    if isinstance(item, nn.Module):
        return any(p.requires_grad for p in item.parameters())
    return isinstance(item, torch.Tensor) and item.requires_grad and item.is_leaf


def _line(lab: Lab, found: list[tuple[str, Any]]) -> Location | None:
    made = (made_at(item) for _, item in found if isinstance(item, nn.Module))
    return next((where for where in made if where is not None), None)
