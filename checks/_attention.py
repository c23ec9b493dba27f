"""What attention weights are normalised over: one forward pass with dropout off.

Two mistakes leave attention running without an error: a padding mask of the wrong polarity, so
that only padding is attended to, and a softmax over another axis than the one that is summed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Location, tree
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from ._attention_inputs import padding_of
from ._positions import ADD_POSITIONS, NO_POSITIONS, blind_to_order
from .normalization import Problem

if TYPE_CHECKING:
    from recipe_check import Lab

ALL = 0.999  # of the attention, on padding
MASKED = -1e4  # an additive mask below this removes a key
PEAKED = 0.9  # mean weight of the key that is attended to most, before any training
KEYS = 4  # at least, for it to count
_PRODUCTS = ("@", "matmul", "bmm", "baddbmm", "einsum")
_MASKING = ("masked_fill", "masked_fill_", "where")
_VIEWS = ("transpose", "permute", "view", "reshape", "contiguous", "dropout", "flatten", "to",
          "unsqueeze", "expand", "movedim", "swapaxes", "type_as", "nan_to_num")  # fmt: skip


@dataclass
class _Attention:
    """Follows scores from products of activations through softmax into the next product."""

    padding: torch.Tensor | None
    given: set[int] = field(default_factory=set)  # ids of what the model is given
    entry: Location | None = None  # the first operation on it
    scores: dict[int, Location | None] = field(default_factory=dict)  # the lines of the products
    weights: dict[int, Location | None] = field(default_factory=dict)
    masks: dict[int, Location | None] = field(default_factory=dict)  # of scores, the last
    kept: list[Any] = field(default_factory=list)  # so that no id is used twice
    inverted: list[Location | None] = field(default_factory=list)
    masked: int = 0  # attentions over padded keys that were looked at
    across: list[Location | None] = field(default_factory=list)
    single: list[Location | None] = field(default_factory=list)  # softmax over one value
    soft: dict[int, Location | None] = field(default_factory=dict)
    hidden: list[Location | None] = field(default_factory=list)  # softmax before a linear layer
    peaked: list[tuple[float, Location | None]] = field(default_factory=list)  # spread of scores
    among: list[Location | None] = field(default_factory=list)  # attention of tokens to each other

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func)
        if self.entry is None and any(id(a) in self.given for a in args):
            self.entry = caller_location(name)
        with torch.no_grad():
            if func is F.scaled_dot_product_attention:
                self._given(kwargs.get("attn_mask", args[3] if len(args) > 3 else None), keep=True)
                self._among(args, -2)
            elif func is F.multi_head_attention_forward:
                self._given(kwargs.get("key_padding_mask"), keep=False)
                self._among(args, 0)
            elif isinstance(out, torch.Tensor) and args and out.is_floating_point():
                self._follow(name, args, out)

    def _follow(self, name: str, args: tuple[Any, ...], out: torch.Tensor) -> None:
        given = [a for a in args if isinstance(a, torch.Tensor)]
        ids = {id(a) for a in given}
        if name in _PRODUCTS:
            if given and id(given[0]) in self.weights:
                self._used(given[0])
            if not any(isinstance(a, nn.Parameter) for a in given):
                self.scores[id(out)] = caller_location(name)
        elif name == "linear" and ids & self.soft.keys():
            self.hidden.append(self.soft[next(iter(ids & self.soft.keys()))])
        elif name == "softmax":
            self.soft[id(out)] = caller_location(name)
            if out.numel() and bool((out == 1).all()) and self.differs(given[0]):
                self.single.append(caller_location(name))
            if ids & self.scores.keys() and out.ndim >= 3:
                where = caller_location(name)
                self.weights[id(out)] = where
                masks = (self.masks.get(i) for i in ids)
                self._sharp(given[0], out, self.scores.get(id(given[0])) or where)
                if out.shape[-1] == out.shape[-2] >= KEYS:
                    self.among.append(where)
                self._attended(out, next((m for m in masks if m is not None), where))
        elif name in _VIEWS and ids & self.weights.keys():
            self.weights[id(out)] = self.weights[next(iter(ids & self.weights.keys()))]
        elif ids & self.scores.keys() and any(a.numel() == out.numel() for a in given):
            self.scores[id(out)] = next(self.scores[i] for i in ids if i in self.scores)
            before = (self.masks[i] for i in ids if i in self.masks)
            masked = name in _MASKING or any(a.dtype == torch.bool for a in given)
            self.masks[id(out)] = caller_location(name) if masked else next(before, None)
        else:
            return
        self.kept.append(out)

    def _among(self, args: tuple[Any, ...], axis: int) -> None:
        """Whether as many queries as keys meet: tokens attend to each other."""
        if len(args) > 1 and args[0].shape[axis] == args[1].shape[axis] >= KEYS:
            self.among.append(caller_location("attention"))

    def _sharp(self, scores: torch.Tensor, weights: torch.Tensor, where: Location | None) -> None:
        """Whether one key takes nearly all of the attention, where several are allowed."""
        several = (scores > MASKED).sum(-1) >= KEYS
        if weights.shape[-1] < KEYS or not bool(several.any()):
            return
        if float(weights.amax(-1)[several].mean()) >= PEAKED:
            finite = scores[several]
            self.peaked.append((float(finite[finite > MASKED].std()), where))

    @staticmethod
    def differs(scores: torch.Tensor) -> bool:
        """Whether there are scores that differ, along an axis other than those of size one."""
        return scores.ndim > 1 and bool((scores != scores.flatten()[0]).any())

    def _used(self, weights: torch.Tensor) -> None:
        """Weights over what they sum must add up to one; here another axis does."""
        ones = [axis for axis in range(weights.ndim) if weights.shape[axis] > 1 and bool(
            ((weights.sum(axis) - 1).abs() < 1e-3).all())]  # fmt: skip
        if ones and weights.ndim - 1 not in ones and weights.shape[-1] > 1:
            self.across.append(self.weights[id(weights)])

    def _attended(self, weights: torch.Tensor, where: Location | None) -> None:
        """Whether weights [batch (x heads), ..., keys] lie on padding alone."""
        if self.padding is None or weights.shape[-1] != self.padding.shape[1]:
            return
        samples = len(self.padding)
        if weights.shape[0] % samples:
            return
        padding = self.padding.repeat_interleave(weights.shape[0] // samples, 0)
        both = padding.any(1) & ~padding.all(1)
        shape = (-1, *([1] * (weights.ndim - 2)), weights.shape[-1])
        on_padding = (weights * padding.view(shape)).sum(-1) / weights.sum(-1).clamp_min(1e-12)
        self._note(bool((on_padding[both] > ALL).all()), where)

    def _given(self, mask: Any, *, keep: bool) -> None:
        """Whether a mask of the library's own attention keeps the padding alone; `keep`: True in a
        boolean mask is attended to."""
        if not isinstance(mask, torch.Tensor) or self.padding is None:
            return
        if not mask.ndim or mask.shape[-1] != self.padding.shape[1]:
            return
        allowed = (mask if keep else ~mask) if mask.dtype == torch.bool else mask > MASKED
        if allowed.ndim < 2 or allowed.shape[0] != len(self.padding):
            return
        kept = allowed.reshape(len(self.padding), -1, allowed.shape[-1]).any(1)
        both = self.padding.any(1) & ~self.padding.all(1)
        alone = not bool((kept & ~self.padding)[both].any()) and bool((kept & self.padding).any())
        self._note(alone, caller_location("attention"))

    def _note(self, inverted: bool, where: Location | None) -> None:
        self.masked += 1
        if inverted:
            self.inverted.append(where)


def see_attention(lab: Lab) -> _Attention:
    """One forward pass with dropout off, observed. Cost: 1 F, kept."""
    return lab.cached("attention", lambda: _observe(lab))


def _observe(lab: Lab) -> _Attention:
    rig = lab.rig().quiet()
    found = _Attention(padding_of(tree.leaves(rig.split(lab.train_batches[0]).inputs)))
    if found.padding is not None:
        found.padding = found.padding.to(rig.device)
    there = rig.put(lab.train_batches[0])
    found.given = {id(leaf) for leaf in tree.leaves(rig.split(there).inputs)}
    with rig.looking(), rig.stack().following(), Watch(found):
        rig.forward(there)
    found.kept.clear()
    return found


def attention_problems(lab: Lab) -> list[Problem]:
    """Masks that keep the padding, weights that are summed over another axis or saturated, and
    attention without positions. Cost: 1 F; 2 more where tokens attend to each other."""
    found = see_attention(lab)
    problems = []
    if found.inverted:
        problems.append(Problem(
            "the padding mask is inverted",
            "attention goes to padding alone, and to no token: the mask has the wrong polarity",
            "key_padding_mask is True where a key is left out; attn_mask of "
            "scaled_dot_product_attention is True where it is kept",
            found.inverted[0],
            certain=True,
        ))  # fmt: skip
    if found.across:
        problems.append(Problem(
            "softmax over another axis than the sum",
            "attention weights add up to one over another axis than the keys they are summed over",
            "softmax over the keys: dim=-1 before the product with the values",
            found.across[0],
            certain=False,
        ))  # fmt: skip
    if found.single:
        problems.append(Problem(
            "softmax over a single value",
            "a softmax inside the model runs over an axis of one value: it is 1 for every input",
            "softmax over the axis whose entries compete (time, or the keys)",
            found.single[0],
            certain=False,
        ))  # fmt: skip
    if found.peaked:
        spread, where = found.peaked[0]
        problems.append(Problem(
            "attention is saturated from the start",
            f"before any training one key takes at least {PEAKED:.0%} of the attention: the scores "
            f"have a standard deviation of {spread:.2g}, and the softmax passes little gradient",
            "divide the scores by sqrt(d), the number of features of a query",
            where,
            certain=False,
        ))  # fmt: skip
    order = blind_to_order(lab) if found.among else None
    if order is not None and order.matters:
        problems.append(Problem(
            NO_POSITIONS, order.text, ADD_POSITIONS, found.entry or found.among[0], certain=False
        ))  # fmt: skip
    if found.hidden:
        problems.append(Problem(
            "softmax as a hidden activation",
            "a linear layer follows a softmax: the softmax leaves each unit about 1/width of the "
            "signal, and little gradient",
            "use ReLU or GELU between layers",
            found.hidden[0],
            certain=False,
        ))  # fmt: skip
    return problems
