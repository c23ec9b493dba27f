"""Whether self-attention knows the order of what it attends to.

Attention without positions gives a sentence and its words in any order the same result. Tokens,
the steps of a smooth series, or the patches of an image are put in another order; the outputs may
not follow. Weights are moved a little first: position codes often start from zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError

from ._attention_inputs import padding_of
from ._calls import Call, forward_leaves, model_call
from ._rows import jitter

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

SAME = 1e-5  # relative, as between batches
SMOOTH = 0.5  # mean squared step over twice the variance: 1 for noise and for sets
LEAST = 4  # tokens, steps, patches
PATCHES = "the patches"
NO_POSITIONS = "no positions: attention does not know the order"
ADD_POSITIONS = "add a position embedding (one for each place) to what enters the first attention"


@dataclass(frozen=True)
class Order:
    """What may be put in another order unnoticed. `matters` is whether it must be noticed: places
    in an image, and tokens of which each has an output; a bag of words may do without."""

    what: str
    matters: bool

    @property
    def text(self) -> str:
        return (f"putting {self.what} in another order changes nothing but the order: attention "
                "has no position code")  # fmt: skip


def blind_to_order(lab: Lab) -> Order | None:
    """None where the outputs notice. Cost: 1 forward pass and one for each order (one; for an
    image one for each size of patch), and one more where they do not."""
    return lab.cached("order", lambda: _look(lab))


def _look(lab: Lab) -> Order | None:
    rig = lab.rig().eval()
    with lab.seeded():
        jitter(rig)
    try:
        batch, _, call = model_call(lab, rig)
        return _blind_to(rig, call, batch, _inputs(rig, batch))
    except (UserCodeError, NotApplicable, RuntimeError):
        return None


def _inputs(rig: Rig, batch: object) -> list[int]:
    """Places of the leaves that the model is given, among those of the batch."""
    if rig.subject.training_step is not None:
        return list(range(len(tree.leaves(batch))))
    given = {id(leaf) for leaf in tree.leaves(rig.split(batch).inputs)}
    return [place for place, leaf in enumerate(tree.leaves(batch)) if id(leaf) in given]


def _blind_to(rig: Rig, call: Call, batch: object, inputs: list[int]) -> Order | None:
    """What may be shuffled unnoticed. Rows of others must be noticed."""
    leaves = tree.leaves(batch)
    before: list[torch.Tensor] | None = None
    for place in inputs:
        for what, order in _orders(rig, leaves[place]):
            before = before if before is not None else forward_leaves(rig, call, batch)
            shuffled = tree.replace_leaves(batch, {place: order(leaves[place])})
            pairs = list(zip(before, forward_leaves(rig, call, shuffled), strict=True))
            if pairs and all(_same(a, b) or _same(order(a), b) for a, b in pairs):
                rolled = tree.replace_leaves(batch, {place: leaves[place].roll(1, 0)})
                others = zip(before, forward_leaves(rig, call, rolled), strict=True)
                if all(_same(a, b) for a, b in others):
                    return None
                pooled = all(_same(a, b) for a, b in pairs)
                return Order(what, what == PATCHES or not pooled)
    return None


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or not one.numel():
        return False
    spread = (one - one.mean(0)).abs().max()
    if float(spread) <= SAME * float(one.abs().max()):
        return False  # the same for every sample: nothing can be told
    return float((one - other).abs().max()) <= SAME * float(one.abs().max())


class _Tokens:
    """Exchanges the places of each row's tokens; padding stays where it is."""

    def __init__(self, leaf: torch.Tensor) -> None:
        padding = padding_of([leaf.cpu()]) if not leaf.is_floating_point() else None
        self.places = torch.arange(leaf.shape[1]).repeat(len(leaf), 1)
        for row in range(len(leaf)):
            free = torch.arange(leaf.shape[1]) if padding is None else (~padding[row]).nonzero()
            free = free.flatten()
            self.places[row, free] = free.roll(1).flip(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim < 2 or x.shape[:2] != self.places.shape:
            return x
        index = self.places.to(x.device).view(*self.places.shape, *[1] * (x.ndim - 2))
        return x.gather(1, index.expand_as(x))


class _Blocks:
    """Exchanges square blocks of images."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4 or x.shape[2] % self.side or x.shape[3] % self.side:
            return x
        high, wide = (size // self.side for size in x.shape[2:])
        blocks = x.reshape(*x.shape[:2], high, self.side, wide, self.side)
        return blocks.flip(2).roll(1, 4).reshape(x.shape)


def _orders(rig: Rig, leaf: torch.Tensor) -> Iterator[tuple[str, _Tokens | _Blocks]]:
    """Other orders of an input, by what it is."""
    if leaf.ndim == 2 and not leaf.is_floating_point() and leaf.shape[1] >= LEAST:
        if leaf.dtype != torch.bool and len(set(leaf.flatten().tolist())) > LEAST:
            yield "the tokens", _Tokens(leaf)
    elif leaf.ndim == 3 and leaf.is_floating_point() and leaf.shape[1] >= LEAST:
        if _is_smooth(leaf):
            yield "the steps", _Tokens(leaf)
    elif leaf.ndim == 4 and leaf.is_floating_point() and leaf.shape[1] <= LEAST:
        yield from ((PATCHES, _Blocks(side)) for side in _patches(rig, leaf))


def _is_smooth(series: torch.Tensor) -> bool:
    x = series.double()
    step = (x[:, 1:] - x[:, :-1]).pow(2).mean()
    return float(step / (2 * x.var(correction=0)).clamp_min(1e-12)) < SMOOTH


def _patches(rig: Rig, leaf: torch.Tensor) -> list[int]:
    """Sides of patches: those of a convolution that does not overlap, else what divides."""
    high, wide = leaf.shape[2:]
    convolutions = [m for m in rig.model.modules() if isinstance(m, nn.Conv2d)]
    sides = {int(m.stride[0]) for m in convolutions if tuple(m.stride) == tuple(m.kernel_size)}
    if convolutions and len(sides) != len(convolutions):
        return []
    sides = sides or {n for n in range(2, high // 2 + 1) if high % n == 0}
    return sorted(
        n for n in sides if high % n == 0 == wide % n and high // n * (wide // n) >= LEAST
    )
