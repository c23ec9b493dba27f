"""Distances before training against what the labels of pairs and triplets say of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import Location

from ._loss_probe import loss_probe
from ._loss_pulls import slope_at
from ._recorded_ops import Recording, record
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

LEAST = 4  # pairs of a label
T_SAMPLES = 30
BATCHES = 4
T_LABELS = 6.0  # t statistic of a relation between untrained distances and labels
_DISTANCES = ("pairwise_distance", "norm", "cdist", "dist", "vector_norm", "sqrt")
_LIKENESS = ("cosine_similarity",)


def apart(lab: Lab, taken: Recording) -> Breach | None:
    """Distances that the loss pulls against what the data say.

    Untrained distances follow the inputs: where pairs of label 1 are nearer than those of label 0
    and the loss pushes 1 apart, the labels mean the opposite. Cost: 1 F and 1 B of the loss."""
    probe = loss_probe(lab)
    pair = probe.pair() if probe is not None else None
    if probe is None or pair is None or pair.kind != "binary" or pair.output.ndim > 2:
        return None
    sign = distance(taken)
    slope = slope_at(probe, pair, pair.output.clone().requires_grad_()) if sign else None
    if slope is None:
        return None
    positive = (pair.target > 0).flatten()
    values, pull = pair.output.flatten().double(), slope.flatten().double()
    if not (LEAST <= int(positive.sum()) <= len(values) - LEAST):
        return None
    near = _t(values[positive], values[~positive]) * sign  # below zero: label 1 is nearer
    pulled = _t(-pull[positive], -pull[~positive]) * sign  # below zero: label 1 is drawn together
    if abs(near) < T_LABELS or abs(pulled) < T_LABELS or near * pulled > 0:
        return None
    which = "1" if near < 0 else "0"
    return Breach(
        "similar pairs are pushed apart",
        f"pairs of label {which} are the nearer ones before training (t = {abs(near):.1f}), and "
        "the loss pushes them apart and draws the others together",
        "exchange the label's two terms in the contrastive loss",
        taken.loss_line(),
        certain=False,
    )


def distance(taken: Recording) -> int:
    """1 where the output is a distance, -1 where it is a likeness, 0 for anything else."""
    if not isinstance(taken.output, torch.Tensor):
        return 0
    op = taken.maker(taken.output)
    while op is not None and op.name in ("reshape", "view", "squeeze", "unsqueeze", "[]", "+"):
        op = taken.maker(op.inputs[0])
    if op is None:
        return 0
    return 1 if op.name in _DISTANCES else -1 if op.name in _LIKENESS else 0


def _t(one: torch.Tensor, other: torch.Tensor) -> float:
    error = math.sqrt(float(one.var()) / len(one) + float(other.var()) / len(other))
    return float(one.mean() - other.mean()) / max(error, 1e-12)


def exchanged(lab: Lab, taken: Recording) -> Breach | None:
    """Triplets whose positive is farther from the anchor than the negative, before training, where
    the model's outputs enter the loss as they are (mined triplets are picked by their distance).
    Cost: up to 3 F more where the first batch looks so."""
    first = _gaps(taken)
    if first is None or _t_of(first[0]) < 2:
        return None
    gaps, where = [first[0]], first[1]
    for number in range(1, min(BATCHES, len(lab.train_batches))):
        more = _gaps(record(lab, number))
        gaps += [more[0]] if more is not None else []
    gap = torch.cat(gaps)
    if len(gap) < T_SAMPLES or _t_of(gap) < T_LABELS:
        return None
    return Breach(
        "positive and negative of the triplets are swapped",
        f"before training the positives are farther from their anchors than the negatives are, in "
        f"{float((gap > 0).double().mean()):.0%} of {len(gap)} triplets (t = {_t_of(gap):.1f})",
        "triplet_margin_loss takes (anchor, positive, negative)",
        where,
        certain=False,
    )


def _gaps(taken: Recording) -> tuple[torch.Tensor, Location | None] | None:
    """How much farther each positive is from its anchor than the negative, and the line."""
    op = next((op for op in taken.ops if op.name.startswith("triplet_margin")), None)
    if op is None or len(op.inputs) != 3 or not all(_is_output(taken, t) for t in op.inputs):
        return None
    anchor, positive, negative = (t.detach().double().flatten(1) for t in op.inputs)
    if len(anchor) < LEAST or not anchor.shape == positive.shape == negative.shape:
        return None
    return (anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1), op.location


def _t_of(gap: torch.Tensor) -> float:
    return float(gap.mean()) / max(float(gap.std()) / math.sqrt(len(gap)), 1e-12)


def _is_output(taken: Recording, tensor: torch.Tensor) -> bool:
    """Whether a layer gave it: no look-up or comparison picked its rows."""
    op = taken.maker(tensor)
    return op is not None and op.name not in ("[]", "index_select", "gather", "where")
