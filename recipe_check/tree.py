"""Batches as trees: find, count and replace the tensors inside any nesting of containers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence


def leaves(tree: Any) -> list[torch.Tensor]:
    """Every tensor of the tree, in a stable order (mappings by insertion)."""
    return list(_walk(tree))


def _walk(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    else:
        for child in _children(tree):
            yield from _walk(child)


def _children(tree: Any) -> Sequence[Any]:
    if isinstance(tree, PackedSequence):
        return (tree.data,)
    if isinstance(tree, Mapping):
        return list(tree.values())
    if isinstance(tree, list | tuple):
        return tree
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, field.name) for field in dataclasses.fields(tree)]
    return ()


def map_leaves(tree: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same tree with every tensor replaced; containers keep their type."""
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, PackedSequence):
        return _repacked(tree, change(tree.data))
    if isinstance(tree, Mapping):
        return _rebuild_mapping(tree, {key: map_leaves(v, change) for key, v in tree.items()})
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(child, change) for child in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_leaves(child, change) for child in tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _rebuild_dataclass(tree, change)
    return tree


def _repacked(packed: PackedSequence, data: Any) -> PackedSequence:
    """The orders of the sequences go where the data go; their sizes stay on the CPU."""
    device = getattr(data, "device", None)
    orders = {name: getattr(packed, name) for name in ("sorted_indices", "unsorted_indices")}
    return packed._replace(
        data=data,
        **{name: o if o is None or not device else o.to(device) for name, o in orders.items()},
    )


def _rebuild_mapping(tree: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    if type(tree) is dict:
        return items
    try:
        made: Any = type(tree)
        return made(items)
    except TypeError:
        return items


def _rebuild_dataclass(tree: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    fields = {f.name: map_leaves(getattr(tree, f.name), change) for f in dataclasses.fields(tree)}
    new = copy.copy(tree)
    for name, value in fields.items():
        object.__setattr__(new, name, value)
    return new


def replace_leaves(tree: Any, changed: Mapping[int, torch.Tensor]) -> Any:
    """The tree with the leaves at the given positions (as in `leaves`) replaced."""
    position = iter(range(1 << 62))
    return map_leaves(tree, lambda leaf: changed.get(next(position), leaf))


def equal(one: Any, other: Any) -> bool:
    """Whether two trees hold the same tensors, bit for bit (NaN equals NaN)."""
    pairs = zip(leaves(one), leaves(other), strict=False)
    return all(a.shape == b.shape and _same(dense(a), dense(b)) for a, b in pairs)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())


def dense(leaf: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or what a sparse one stands for."""
    return leaf if leaf.layout is torch.strided else leaf.to_dense()


def to_device(tree: Any, device: torch.device) -> Any:
    """Tensors moved; objects that are no container but know `.to` (graph batches) too."""
    if not leaves(tree) and hasattr(tree, "to") and callable(tree.to):
        return tree.to(device)
    return map_leaves(tree, lambda leaf: leaf.to(device))


def nested(values: torch.Tensor) -> Any:
    """The numbers as tuples in tuples, with four decimals: what a picture of a report holds."""
    return _tuples(values.double().mul(1e4).round().div(1e4).tolist())


def _tuples(values: list[Any]) -> tuple[Any, ...]:
    deeper = bool(values) and isinstance(values[0], list)
    return tuple(map(_tuples, values)) if deeper else tuple(values)
