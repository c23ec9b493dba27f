"""Inputs that hold the target: a column that equals it, but for a scale and a shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import tree

from ._data_lines import JOINS, own_line
from .batch_contract import Problem

if TYPE_CHECKING:
    from recipe_check import Lab

LEAST_ROWS = 64
LEAST_CLASS = 4  # samples of a class, before their agreement says anything
MOST_FEATURES = 4096
EXACT = 1 - 1e-6  # correlation: float32 columns that were standardised reach 1 - 1e-7


def copied_target(lab: Lab) -> Problem | None:
    """A feature from which the target can be read off exactly. No pass of the model.

    With a single feature that is the task itself (y = 2x + 1); token ids are no features.
    """
    x, y = samples(lab)
    if x is None or y is None:
        return None
    found = _correlated(x, y) if y.is_floating_point() else _by_class(x, y)
    if found is None:
        return None
    return Problem(
        f"feature {found} of the inputs is the target itself, up to scale: the target leaks into "
        f"the features (feature {found} of {x.shape[1]})",
        f"feature {found} tells the target", "no feature that does",
        "leave the target's column out of the inputs", certain=False,
        location=own_line(lab, "inputs", JOINS),
    )  # fmt: skip


def samples(lab: Lab) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Float inputs [N, F] and one target a sample [N] of the batches that were read."""
    rig = lab.rig()
    inputs, wanted = [], []
    for batch in lab.train_batches:
        parts = rig.split(batch)
        given, target = tree.leaves(parts.inputs), tree.leaves(parts.target)
        if len(given) != 1 or len(target) != 1 or not given[0].is_floating_point():
            return None, None
        if given[0].ndim < 2 or target[0].numel() != len(given[0]):
            return None, None
        inputs.append(given[0].detach().flatten(1))
        wanted.append(target[0].detach().flatten())
    widths = {x.shape[1] for x in inputs}
    if len(widths) != 1 or not 2 <= widths.pop() <= MOST_FEATURES:
        return None, None
    x, y = torch.cat(inputs).double().cpu(), torch.cat(wanted).cpu()
    if len(y) < LEAST_ROWS or not bool(x.isfinite().all()):
        return None, None
    zero_one = y.is_floating_point() and bool(((y == 0) | (y == 1)).all())
    return x, (y.long() if zero_one or y.dtype == torch.bool else y)


def _correlated(x: torch.Tensor, y: torch.Tensor) -> int | None:
    y = y.double() - y.double().mean()
    x = x - x.mean(0)
    norms = x.norm(dim=0) * y.norm()
    share = (x.T @ y).abs() / norms.clamp_min(1e-12)
    best = int(share.argmax())
    distinct = len(torch.unique(y)) > 2
    return best if distinct and float(share[best]) >= EXACT else None


def _by_class(x: torch.Tensor, y: torch.Tensor) -> int | None:
    """A feature with one value in each class, and another in every other."""
    classes, counts = torch.unique(y, return_counts=True)
    if len(classes) < 2 or int(counts.min()) < LEAST_CLASS:
        return None
    values = []
    fixed = torch.ones(x.shape[1], dtype=torch.bool)
    for label in classes:
        rows = x[y == label]
        fixed &= rows.amax(0) - rows.amin(0) <= 1e-9 * rows.abs().amax(0).clamp_min(1)
        values.append(rows[0])
    for place in fixed.nonzero().flatten().tolist():
        if len({round(float(v[place]), 9) for v in values}) == len(classes):
            return int(place)
    return None
