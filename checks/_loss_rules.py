"""Rules on one recorded loss call: what made its prediction, shapes, ranges and sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipe_check.probes.watch import LossTerm

from ._blame import maker
from ._floor import is_bounded, is_broadcast
from ._loss_input import WRONG, Origin
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab


def squashed(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    if origin.op not in WRONG.get(term.kind, ()):
        return None
    return Breach(
        "squashed scores instead of raw ones",
        f"{origin.op} stands right before {term.kind}",
        f"return log_softmax(dim=1): {term.kind} takes log-probabilities"
        if term.kind in ("nll_loss", "kl_div")
        else f"return the raw scores: {term.kind} applies its own normalisation",
        origin.location,
        certain=True,
    )


def broadcast(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    if not is_broadcast(term):
        return None
    return Breach(
        "prediction and target are broadcast",
        f"prediction {tuple(term.prediction.shape)}, target {tuple(term.target.shape)}: every "
        "prediction is compared with every target",
        "give both the same shape: prediction.squeeze(1), or target.unsqueeze(1)",
        term.location,
        certain=True,
    )


def no_log(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """nll_loss and kl_div want log-probabilities: none is above zero."""
    if term.kind not in ("nll_loss", "kl_div") or origin.op in ("softmax", "sigmoid", "relu"):
        return None
    values = term.prediction.detach()
    if not bool((values > 1e-6).any()):
        return None
    return Breach(
        "raw scores or probabilities where log-probabilities are expected",
        f"{term.kind} got values up to {float(values.max()):.3g}; log-probabilities are at most 0",
        "apply log_softmax(dim=1) before the loss, or use cross_entropy",
        origin.location or term.location or maker(lab, "loss"),
        certain=True,
    )


def one_output(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    if term.kind not in ("cross_entropy", "nll_loss") or term.prediction.ndim < 2:
        return None
    if term.prediction.shape[1] != 1:
        return None
    return Breach(
        "one output for several classes",
        f"{term.kind} on {tuple(term.prediction.shape)}: softmax over one output is always 1",
        "give the last layer one output for each class, or use BCEWithLogitsLoss for two",
        term.location,
        certain=True,
    )


def wrong_axis(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Softmax over one output is constant; over the batch axis it couples samples."""
    if origin.op not in ("softmax", "log_softmax") or origin.made.axis is None:
        return None
    rows, shape = origin.made.axis, origin.made.shape
    if len(shape) == 2 and rows == 0 and shape[0] > 1:
        title, fix = "softmax over the batch axis", "normalise over the classes: dim=1"
    elif shape and shape[rows] == 1:
        title, fix = "softmax over a single output", "use sigmoid, or two outputs"
    elif term.kind == "nll_loss" and _off_axis(term):
        title, fix = "softmax over the wrong axis", "normalise over the classes"
    else:
        return None
    evidence = f"{origin.op}(dim={rows}) on {shape}"
    return Breach(title, evidence, fix, origin.location, certain=True)


def _off_axis(term: LossTerm) -> bool:
    """Probabilities that sum to one along another axis than that of the classes, which is 1."""
    values = term.prediction.detach().double().exp()
    sums = [float((values.sum(axis) - 1).abs().max()) < 1e-3 for axis in range(values.ndim)]
    return len(sums) > 1 and any(sums) and not sums[1]


def negative(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """A loss with a lowest value of zero that is below it: values out of range."""
    if not is_bounded(term) or term.kind in ("kl_div", "poisson_nll_loss", "ctc_loss"):
        return None
    value = float(term.value.detach())
    if not value < -1e-6:
        return None
    return Breach(
        "the loss is below its lowest value",
        f"{term.kind} is {value:.3g}",
        "targets or predictions are out of range for this loss",
        term.location,
        certain=True,
    )


def flipped(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """The step minimises minus a loss that has a lowest value."""
    value = float(term.value.detach().sum())
    if not is_bounded(term) or not value > 1e-6 or abs(origin.loss + value) > 1e-4 * value:
        return None
    return Breach(
        "the sign of the loss is flipped",
        f"{term.kind} is {value:.3g}, and the step minimises {origin.loss:.3g}",
        "remove the minus: the optimizer minimises",
        term.location,
        certain=True,
    )
