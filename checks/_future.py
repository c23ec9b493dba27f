"""The measurement of `time-dependency`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, NotApplicable, tree

from ._calls import Call, forward_leaves, model_call
from ._data_lines import nearest
from ._mixing import record
from ._rows import TOLERANCE

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

from .time_dependency import Future

FOLLOWS = 0.95  # of the tokens: padding and shortened rows differ
_MASKING = ("masked_fill", "masked_fill_", "where", "-", "+", "*")
_PRODUCTS = ("@", "matmul", "bmm", "einsum")


def see_future(lab: Lab) -> Future:
    """Exchanges the later half of the tokens and compares the earlier outputs."""
    rig = lab.rig().eval()
    back = _steps_back(lab, rig)
    if back:
        where = nearest(lab, "targets", frozenset({"slice", "roll"}))
        return Future(0.0, "", where, back=back)
    batch, _, call = model_call(lab, rig)
    leaves = tree.leaves(batch)
    taught = _taught(lab, rig, call, batch)
    place, time = taught[:2] if taught else _tokens(lab, rig)
    tokens = leaves[place]
    cut = time // 2
    later = tokens.clone()
    later[:, cut:] = tokens.roll(1, 0)[:, cut:].flip(1)
    if torch.equal(later, tokens):
        raise NotApplicable("all samples have the same later tokens")
    other = tree.replace_leaves(batch, {place: later})
    one, two = forward_leaves(rig, call, batch), forward_leaves(rig, call, other)
    change = max((_change(a, b, time, cut) for a, b in zip(one, two, strict=True)), default=0.0)
    copies = taught[2] if taught else _is_copy(lab, rig)
    if copies and change > TOLERANCE:
        raise NotApplicable("not a next-token model: it reproduces its input")
    op, where = _first(rig, call, batch, other, time, cut) if change > TOLERANCE else ("", None)
    if copies:
        where = nearest(lab, "targets", frozenset({"slice"}))
    return Future(change, op, where, copies)


def _tokens(lab: Lab, rig: Rig) -> tuple[int, int]:
    """Position of the token input among the leaves of the call, and its length."""
    parts = rig.split(lab.train_batches[0])
    inputs, targets = tree.leaves(parts.inputs), tree.leaves(parts.target)
    if not inputs or not targets:
        raise NotApplicable("no inputs and targets to compare")
    x, y = inputs[0], targets[0]
    whole = not x.is_floating_point() and not y.is_floating_point()
    if not whole or x.ndim != 2 or y.shape != x.shape or x.shape[1] < 4:
        raise NotApplicable("not a next-token model: inputs and targets are no token sequences")
    shifted = (x[:, 1:] == y[:, :-1]).float().mean()
    if _is_copy(lab, rig):
        return 0, x.shape[1]
    if float(shifted) < FOLLOWS and not _shifted_inside(lab, x):
        raise NotApplicable("not a next-token model: the target is not the input shifted by one")
    return 0, x.shape[1]


def _steps_back(lab: Lab, rig: Rig) -> int:
    """By how many places the targets are earlier tokens of the inputs; 0 where they are not."""
    parts = rig.split(lab.train_batches[0])
    inputs, targets = tree.leaves(parts.inputs), tree.leaves(parts.target)
    if len(inputs) != 1 or len(targets) != 1:
        return 0
    x, y = inputs[0], targets[0]
    whole = not x.is_floating_point() and not y.is_floating_point()
    if not whole or x.ndim != 2 or y.shape != x.shape or x.shape[1] < 8:
        return 0
    if len(torch.unique(x)) < 4 or _shifted_inside(lab, x):
        return 0
    same = (float((x[:, :-n] == y[:, n:]).double().mean()) for n in (1, 2))
    return next((n for n, share in enumerate(same, 1) if share >= 0.99), 0)


def _hears_the_last(rig: Rig, call: Call, batch: Any, place: int) -> bool:
    """Whether the last token has a say in what is predicted there: the answer is known."""
    tokens = tree.leaves(batch)[place]
    other = tokens.clone()
    other[:, -1] = tokens[:, -1].roll(1, 0)
    one, two = (forward_leaves(rig, call, tree.replace_leaves(batch, {place: t}))
                for t in (tokens, other))  # fmt: skip
    time = tokens.shape[1]
    return any(bool((a != b).any()) for a, b in zip(one, two, strict=True) if time in a.shape[1:])


def _taught(lab: Lab, rig: Rig, call: Call, batch: Any) -> tuple[int, int, bool] | None:
    """Place and length of the tokens that a decoder is given while it learns to say them: an
    input, not the first, of which the loss's targets are the following tokens, or the same
    tokens (True)."""
    found = [t.target for t in lab.trace.terms if isinstance(t.target, torch.Tensor)]
    targets = [t.flatten().cpu() for t in found if not t.is_floating_point()]
    for place, leaf in enumerate(tree.leaves(batch)):
        if not place or leaf.ndim != 2 or leaf.is_floating_point() or leaf.shape[1] < 4:
            continue
        given = leaf.cpu()
        for target in targets:
            if target.numel() == leaf.numel() and lab.subject.training_step is not None:
                said = target.view(leaf.shape)
                if float((given[:, 1:] == said[:, :-1]).double().mean()) >= FOLLOWS:
                    return place, leaf.shape[1], False
                if torch.equal(given, said) and _hears_the_last(rig, call, batch, place):
                    return place, leaf.shape[1], True
    return None


def _is_copy(lab: Lab, rig: Rig) -> bool:
    """Whether the targets are the inputs, and nothing shifts them later."""
    parts = rig.split(lab.train_batches[0])
    x, y = tree.leaves(parts.inputs)[0], tree.leaves(parts.target)[0]
    return x.shape == y.shape and bool((x == y).all()) and not _shifted_inside(lab, x)


def _shifted_inside(lab: Lab, x: torch.Tensor) -> bool:
    """Whether the model shifts its labels itself: its loss compares with the next tokens."""
    following = x[:, 1:]
    for term in lab.trace.terms:
        if not isinstance(term.target, torch.Tensor):
            continue
        target = term.target.flatten().cpu()
        if target.numel() == x.numel():
            target = target.view(x.shape)[:, :-1].flatten()
        if target.numel() == following.numel():
            return float((target == following.flatten().cpu()).double().mean()) >= FOLLOWS
    return False


def _change(one: torch.Tensor, other: torch.Tensor, time: int, cut: int) -> float:
    """Relative change before the cut along the axis of time; 0 where there is none."""
    axis = next((a for a in range(1, one.ndim) if one.shape[a] == time), None)
    if axis is None or one.shape != other.shape:
        return 0.0
    early = (one - other).narrow(axis, 0, cut).abs().max()
    return float(early / one.abs().max().clamp_min(1e-12))


def _first(
    rig: Rig, call: Call, batch: Any, other: Any, time: int, cut: int
) -> tuple[str, Location | None]:
    """The first operation whose earlier results change; where it is the product with attention
    weights, what masked them last. Scores [..., time, time] change by themselves."""
    masking: tuple[str, Location | None] | None = None
    for a, b in zip(record(rig, call, batch), record(rig, call, other), strict=False):
        if a.result.ndim < 2 or not a.result.is_floating_point():
            continue
        if a.result.shape[-1] == time == a.result.shape[-2]:
            if a.name in _MASKING:
                masking = a.name, a.location
        elif _change(a.result, b.result, time, cut) > TOLERANCE:
            return masking if masking and a.name in _PRODUCTS else (a.name, a.location)
    return "", None
