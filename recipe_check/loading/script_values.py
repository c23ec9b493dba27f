"""Values of a script and where they came from: references into batches and results of calls."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Getter = Callable[[Any], Any]


@dataclass(frozen=True)
class Ref:
    """Where a value came from: the result of a call, or a batch (negative), and the way to it."""

    source: int
    path: tuple[Getter, ...] = ()

    def of(self, value: Any) -> Any:
        """The part of that batch or result that is meant."""
        for get in self.path:
            value = get(value)
        return value


def parts(value: Any, path: tuple[Getter, ...] = ()) -> Iterator[tuple[tuple[Getter, ...], Any]]:
    """The tensors in any nesting of containers, and the containers that hold some."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    inside = [found for get, child in _children(value) for found in parts(child, (*path, get))]
    if inside:
        yield path, value
        yield from inside


def _children(value: Any) -> Iterable[tuple[Getter, Any]]:
    if isinstance(value, list | tuple):
        return [(operator.itemgetter(i), child) for i, child in enumerate(value)]
    if isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "__getitem__")):
        keys = value.keys() if callable(value.keys) else value.keys  # graph batches have had both
        return [(operator.itemgetter(key), value[key]) for key in keys]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return [(operator.attrgetter(name), getattr(value, name)) for name in names]
    return ()


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """Plain containers with their items changed; anything else as it is."""
    if type(value) in (list, tuple):
        return type(value)(change(item) for item in value)
    if type(value) is dict:
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(change(value.start), change(value.stop), change(value.step))
    return value


def exchanged(value: Any, change: Callable[[Any], Any]) -> Any:
    """Arguments with their references and tensors changed."""
    if isinstance(value, Ref | torch.Tensor):
        return change(value)
    return rebuilt(value, lambda item: exchanged(item, change))


def references(value: Any) -> list[Ref | torch.Tensor]:
    """The references in arguments, and the tensors that came from elsewhere."""
    found: list[Ref | torch.Tensor] = []
    exchanged(value, found.append)
    return found
