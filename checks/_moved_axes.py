"""Axes that view() or reshape() moved: only transpose and permute move an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from ._calls import forward_leaves, model_call

if TYPE_CHECKING:
    from recipe_check import Lab

_VIEWS = ("view", "reshape", "view_as", "unflatten")
_SLICES = ("[]", "narrow")


@dataclass(frozen=True)
class Moved:
    """A view that put an axis elsewhere, and the shapes before and after it."""

    op: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    size: int  # of the axis
    location: Location | None


@dataclass
class _Views:
    """Remembers views in the user's lines that moved an axis; `rows` is the size of the batch,
    whose axis `batch-dependency` looks after.

    Not where a slice of the view comes next: so relative positions are shifted, row by row, in
    Transformer-XL (Dai et al. 2019, appendix B), and viewed back.
    """

    rows: int
    views: list[tuple[torch.Tensor, Moved]] = field(default_factory=list)
    shifted: list[torch.Tensor] = field(default_factory=list)

    @property
    def found(self) -> list[Moved]:
        return [moved for _, moved in self.views]

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func)
        if not args or not isinstance(out, torch.Tensor):
            return
        if name in _SLICES and isinstance(args[0], torch.Tensor):
            self._sliced(args[0], out)
        if name not in _VIEWS or any(t is args[0] for t in self.shifted):
            return
        before, after = tuple(args[0].shape), tuple(out.shape)
        size = moved_axis(before, after, self.rows)
        if size and args[0].numel() and bool((args[0] != args[0].flatten()[0]).any()):
            self.views.append((out, Moved(name, before, after, size, caller_location(name))))

    def _sliced(self, value: torch.Tensor, out: torch.Tensor) -> None:
        known = any(t is value for t in [*self.shifted, *(view for view, _ in self.views)])
        if known and out.ndim == value.ndim and out.numel() < value.numel():
            self.views = [(view, moved) for view, moved in self.views if view is not value]
            self.shifted.append(out)


def moved_axis(before: tuple[int, ...], after: tuple[int, ...], rows: int) -> int:
    """The size of an axis that a view put between other axes; 0 for none.

    Axes are the same where as many numbers stand before them. One that is whole on both sides, at
    different places, while the rest is split or merged in order, was meant to be permuted.
    """
    one, other = [s for s in before if s != 1], [s for s in after if s != 1]
    edges = _edges(other)
    for place, size in enumerate(one):
        if size == rows or one.count(size) != 1 or other.count(size) != 1:
            continue
        ahead = math.prod(one[:place])
        if {ahead, ahead * size} <= edges:
            continue
        there = other.index(size)
        rest, left = one[:place] + one[place + 1 :], other[:there] + other[there + 1 :]
        if ahead != math.prod(other[:there]) and _in_order(rest, left):
            return size
    return 0


def _edges(sizes: list[int]) -> set[int]:
    """How many numbers stand before each axis, and all."""
    return {math.prod(sizes[:place]) for place in range(len(sizes) + 1)}


def _in_order(one: list[int], other: list[int]) -> bool:
    """Whether axes are only split or merged: a common refinement of both exists."""
    edges = sorted(_edges(one) | _edges(other))
    return all(b % a == 0 for a, b in pairwise(edges))


def moved_axes(lab: Lab) -> list[Moved]:
    """Views of one forward pass that moved an axis. Cost: 1 F."""
    rig = lab.rig().eval()
    try:
        batch, _, call = model_call(lab, rig)
        rows = rig.split(lab.train_batches[0])
        views = _Views(_rows(rows.inputs))
        with rig.stack().following(), Watch(views):
            forward_leaves(rig, call, batch)
    except (UserCodeError, NotApplicable):
        return []
    return views.found


def _rows(inputs: Any) -> int:
    leaf = next(iter(tree.leaves(inputs)), None)
    return int(leaf.shape[0]) if leaf is not None and leaf.ndim else 0
