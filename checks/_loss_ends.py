"""Rules on the last operation before a loss: what it can give, keep small, drop or fix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check.probes.watch import LossTerm

from ._floor import ELEMENTWISE
from ._from_data import is_from_data
from ._loss_input import Made, Origin
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

UNREACHABLE = 0.25  # of the targets' variance: no noise beyond the ends of a sound range
ODD = 0.05  # likewise, for a warning
TIGHT = 4.0  # scores within this width cost at least ln(1 + (C-1) / e**4): 0.15 for ten classes
FLAT = 0.02  # output multipliers that grow with the width are 1/16 or so at the widths of tests
_DROPPING = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "dropout1d",
             "dropout2d", "dropout3d")  # fmt: skip
_NORMS = {"batch_norm": 2, "layer_norm": 1, "instance_norm": 2, "group_norm": 1}  # place of weight
_SCORES = ("cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss",
           "soft_margin_loss", "multilabel_soft_margin_loss")  # fmt: skip
SEVERAL = 0.02  # share of the samples with more than one label


def out_of_range(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """An activation at the end that cannot give what the targets are."""
    target = term.target
    if term.kind not in ELEMENTWISE or not isinstance(target, torch.Tensor):
        return None
    if target.requires_grad:
        return None
    return unreachable(origin.made, target)


def unreachable(made: Made, target: torch.Tensor) -> Breach | None:
    """Targets outside the range of the last operation, by their share of the variance."""
    values = target.detach().double()
    if (made.low, made.high) == (-math.inf, math.inf) or values.numel() < 2:
        return None
    beyond = values - values.clamp(made.low, made.high)
    share = float(beyond.square().sum() / (values - values.mean()).square().sum().clamp_min(1e-30))
    if share < ODD or not math.isfinite(share):
        return None
    low, high = float(values.min()), float(values.max())
    return Breach(
        "targets outside the range of the last activation",
        f"{made.op} gives {made.low:g} to {made.high:g}, and the targets run from {low:.3g} to "
        f"{high:.3g}",
        f"leave out the {made.op} at the end, or scale the targets into its range",
        made.location,
        certain=share >= UNREACHABLE,
    )


def tight(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Scores that are clamped to a few units can never be certain."""
    made = origin.made
    width = made.high - made.low
    if term.kind not in _SCORES or made.op in ("tanh", "") or width > TIGHT or origin.op:
        return None
    return Breach(
        "squashed scores instead of raw ones",
        f"{made.op} keeps the scores within {made.low:g} and {made.high:g}: a range of {width:g} "
        "is too small for a confident prediction",
        f"return the raw scores: {term.kind} applies its own normalisation",
        made.location,
        certain=True,
    )


def rivals(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """A softmax shares one among labels of which several are true at once."""
    target, axis = term.target, origin.made.axis
    if term.kind != "binary_cross_entropy" or origin.op != "softmax" or axis is None:
        return None
    if not isinstance(target, torch.Tensor) or target.shape != origin.made.shape:
        return None
    several = float((target.detach().sum(axis) > 1.5).double().mean())
    if several < SEVERAL:
        return None
    return Breach(
        "softmax over labels that do not exclude each other",
        f"{several:.0%} of the samples have more than one label, and softmax lets all "
        "probabilities together be 1",
        "use sigmoid, or raw scores with binary_cross_entropy_with_logits",
        origin.location,
        certain=True,
    )


def flattened(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Scores that a constant makes so small that they say nothing, and their gradient with them."""
    made = origin.made
    number = made.args[0] if made.args else None
    if term.kind not in _SCORES or made.op not in ("/", "*") or not isinstance(number, int | float):
        return None
    factor = abs(1 / number if made.op == "/" and number else number)
    spread = float(term.prediction.detach().double().std())
    if factor > FLAT or spread > FLAT:
        return None
    return Breach(
        "a constant flattens the scores",
        f"{made.op} {number:g} leaves scores with a standard deviation of {spread:.1g}",
        "divide by a temperature of 1 or below, or multiply with its inverse",
        made.location,
        certain=False,
    )


def noisy_end(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Dropout on the scores themselves: what is dropped is predicted as zero."""
    made = origin.made
    if made.op not in _DROPPING or not is_from_data(term, _batch(lab)):
        return None
    share = made.kwargs.get("p", made.args[0] if made.args else 0.5)
    if not share:
        return None
    return Breach(
        "dropout right before the loss",
        f"{made.op} sets {share:.0%} of the predictions to zero in training",
        "drop activations before the last layer, not what it predicts",
        made.location,
        certain=False,
    )


def normalised_end(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """A normalisation without weights on predictions: their mean and scale are fixed."""
    made = origin.made
    if made.op not in _NORMS or not is_from_data(term, _batch(lab)):
        return None
    place = _NORMS[made.op]
    weight = made.kwargs.get("weight", made.args[place] if len(made.args) > place else None)
    if weight is not None:
        return None
    return Breach(
        "normalisation right before the loss",
        f"{made.op} without weights fixes mean and scale of the predictions to 0 and 1",
        "leave the last layer's output as it is",
        made.location,
        certain=False,
    )


def _batch(lab: Lab) -> object:
    return lab.rig().put(lab.train_batches[0])
