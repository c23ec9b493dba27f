"""Where a loss pulls its predictions: labels without a pull, no lowest value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from recipe_check import Location
from recipe_check.errors import UserCodeError

from ._data_lines import ENTRIES, own_line
from ._loss_probe import LossProbe, Pair, loss_probe
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

LEAST = 4  # samples of a label, before its lack of a pull says anything
WIDTH = 3.0  # scores within +-3: a likelihood or a critic is worth a few units there
STEEP = 50.0  # times the first loss: only a quotient whose denominator meets zero is so large
_TORCH_ERRORS = (UserCodeError, RuntimeError, TypeError, ValueError, IndexError)


def silent_labels(lab: Lab, line: Location | None) -> Breach | None:
    """Samples of one label that the loss never pulls anywhere, though it pulls the others.

    The derivative for each prediction is taken at three random points: a hinge on labels of 0 and
    1 gives none for 0, nor does a mask that drops a class. Cost: 3 F and 3 B of the loss."""
    probe = loss_probe(lab)
    pair = probe.pair() if probe is not None else None
    if probe is None or pair is None or pair.kind == "values":
        return None
    pulls = [_pull(probe, pair, number) for number in range(3)]
    known = [pull for pull in pulls if pull is not None]
    if len(known) < 3:
        return None
    pulled = torch.stack(known).sum(0)
    labels = pair.target.reshape(pulled.shape) if pair.kind == "binary" else pair.target
    counted = [int(v) for v in torch.unique(labels) if int((labels == v).sum()) >= LEAST]
    silent = [v for v in counted if v >= 0 and not bool(pulled[labels == v].any())]
    if len(silent) != 1 or len(counted) < 2:
        return None
    share = float((labels == silent[0]).double().mean())
    binary = pair.kind == "binary"
    return Breach(
        "labels that do not count in the loss",
        f"the {share:.0%} of the targets that are {silent[0]} have no gradient at any prediction: "
        "whatever the model says of them costs nothing, or the same",
        "a hinge or margin loss wants labels of -1 and 1: 2 * y - 1"
        if binary
        else "look where the loss masks or multiplies by the label",
        (own_line(lab, "targets", ENTRIES) if binary else None) or line,
        certain=False,
    )


def only_padding(lab: Lab, line: Location | None) -> Breach | None:
    """A mask the wrong way round: the loss pulls only where all targets are one number, though
    they take several. Cost: 2 F and 2 B of the loss."""
    probe = loss_probe(lab)
    pair = probe.pair(several=True) if probe is not None else None
    if probe is None or pair is None or pair.kind == "binary":
        return None
    pulls = [_pull(probe, pair, number) for number in range(2)]
    known = [pull for pull in pulls if pull is not None]
    if len(known) < 2:
        return None
    pulled = torch.stack(known).sum(0) > 0
    scored, left = pair.target[pulled], pair.target[~pulled]
    if len(scored) < LEAST or len(torch.unique(scored)) > 1 or len(torch.unique(left)) < 3:
        return None
    return Breach(
        "the loss scores the padding alone",
        f"only {float(pulled.double().mean()):.0%} of the positions have a gradient, and their "
        f"target is {float(scored[0]):g} throughout; all others are left out: the mask is inverted",
        "keep the positions that hold data: mask = positions < lengths",
        line,
        certain=True,
    )


def _pull(probe: LossProbe, pair: Pair, number: int) -> torch.Tensor | None:
    """For each label the size of the loss's derivative at a random prediction."""
    noise = torch.randn(pair.output.shape, generator=torch.Generator().manual_seed(number))
    point = noise.to(pair.output)
    if float(pair.output.min()) >= 0:
        point = point.sigmoid()
    slope = slope_at(probe, pair, point.requires_grad_())
    if slope is None or not bool(slope.isfinite().all()):
        return None
    return slope.abs().sum(pair.axis) if pair.kind == "classes" else slope.abs()


def slope_at(probe: LossProbe, pair: Pair, point: torch.Tensor) -> torch.Tensor | None:
    """The loss's derivative where the paired output is this point; None where it raises. 1 F and
    B of the loss."""
    try:
        with torch.enable_grad():
            loss = probe.value({pair.leaf: point})
            (slope,) = torch.autograd.grad(loss, point, allow_unused=True)
    except _TORCH_ERRORS:
        return None
    found: torch.Tensor | None = slope
    return found


def poles(lab: Lab, line: Location | None) -> Breach | None:
    """A quotient on raw scores, such as Dice or IoU without a sigmoid: where all scores are one
    number between -3 and 3 its denominator reaches zero. Cost: at most 145 F of the loss alone."""
    probe = loss_probe(lab)
    pair = probe.pair() if probe is not None else None
    if probe is None or pair is None or pair.kind == "values" or probe.step:
        return None
    start = _value(probe, {}) if float(pair.output.min()) < 0 else None
    if start is None or not math.isfinite(start):
        return None
    low, high, count = -WIDTH, WIDTH, 61
    for _ in range(5):
        scores = torch.linspace(low, high, count).tolist()
        sizes = [_size(probe, pair, score) for score in scores]
        peak = max(range(count), key=sizes.__getitem__)
        if sizes[peak] > STEEP * max(1.0, abs(start)):
            return Breach(
                "raw scores where the loss wants probabilities",
                f"the loss, {start:.3g} at the start, is {sizes[peak]:.3g} in size where all "
                f"scores are {scores[peak]:.3g}: a denominator reaches zero",
                "apply sigmoid (or softmax) to the scores before the overlap (Dice, IoU)",
                line,
                certain=True,
            )
        low, high = scores[max(peak - 1, 0)], scores[min(peak + 1, count - 1)]
        count = 21
    return None


def _size(probe: LossProbe, pair: Pair, score: float) -> float:
    value = _value(probe, {pair.leaf: torch.full_like(pair.output, score)})
    return abs(value) if value is not None and not math.isnan(value) else 0.0


def _value(probe: LossProbe, changed: dict[int, torch.Tensor]) -> float | None:
    try:
        with torch.no_grad():
            return float(probe.value(changed))
    except _TORCH_ERRORS:
        return None


def endless(lab: Lab, line: Location | None) -> Breach | None:
    """Falls for ever whichever way the prediction goes off: an error that is maximised. Critics
    fall one way only. Cost: 6 F of the loss."""
    probe = loss_probe(lab)
    if probe is None or not isinstance(probe.output, torch.Tensor):
        return None
    output = probe.output.detach()
    if not output.is_floating_point() or not output.numel():
        return None
    unit = torch.ones_like(output)
    start = _value(probe, {})
    values = [_value(probe, {0: size * unit}) for size in (1e3, 2e3, -1e3, -2e3)]
    if start is None or any(v is None or not math.isfinite(v) for v in values):
        return None
    near, far, below, deep = (v for v in values if v is not None)
    falls = near < min(start, 0) - 1 and below < min(start, 0) - 1
    if not falls or far > 1.8 * near or deep > 1.8 * below:
        return None
    return Breach(
        "the loss has no lowest value",
        f"it falls from {start:.3g} to {near:.3g} where all predictions are 1000, and to "
        f"{below:.3g} where they are -1000: the larger the error, the lower the loss",
        "turn the sign round (torch.max instead of torch.min in a quantile loss)",
        line,
        certain=True,
    )


RULES: tuple[Callable[[Lab, Location | None], Breach | None], ...] = (
    silent_labels, only_padding, poles, endless,
)  # fmt: skip
