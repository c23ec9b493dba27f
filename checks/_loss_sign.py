"""Does the loss fall when predictions move towards the targets, and has it a lowest value?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import Location, tree
from recipe_check.errors import UserCodeError

from ._loss_probe import LossProbe, Pair, loss_probe
from ._recorded_ops import Recording
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

DRAWS = 3  # random predictions, besides the model's own
UNSURE = 0.3  # deviation of random scores: at confident ones some odd losses turn round again
AGREE = 0.95  # share of the samples that must pull the wrong way, at each of them
FAR = (1e2, 1e3)  # multiples of an output at which a squared term shows


def flipped(lab: Lab, line: Location | None) -> Breach | None:
    """The loss rises as predictions come nearer to their targets.

    Its derivative is taken at random predictions and at the model's own: for class scores along
    the right class against the others, else along the way to the target. A loss with a lowest
    value may be meant so (complementary labels): a warning. Cost: 1 F and 1 B of the loss, 4 and
    up to 5 more F where the first looks wrong.
    """
    probe = loss_probe(lab)
    pair = probe.pair() if probe is not None else None
    if probe is None or pair is None:
        return None
    shares: list[float] = []
    for number in range(DRAWS + 1):
        share = _wrong_way(probe, pair, number)
        if share is None or share < AGREE:
            return None
        shares.append(share)
    certain = pair.kind == "values" or _falls_for_ever(probe, pair.leaf, pair.output)
    return Breach(
        "the sign of the loss is flipped",
        f"the loss rises as predictions move towards their targets ({min(shares):.0%} of the "
        "samples): right predictions cost more than wrong ones",
        "turn the sign round: the optimizer minimises",
        line,
        certain=certain,
    )


def bottomless(lab: Lab, taken: Recording) -> Breach | None:
    """The loss falls with the square of an output, or faster: a distance or a divergence with
    its sign flipped. Critics and scores fall linearly, likelihoods with a logarithm. Cost: 2 F
    for each of at most four outputs."""
    probe = loss_probe(lab)
    if probe is None:
        return None
    for number, leaf in enumerate(tree.leaves(probe.output)[:4]):
        floats = leaf.is_floating_point() and leaf.numel() > 0
        if floats and _falls_for_ever(probe, number, leaf.detach(), power=1.7):
            return Breach(
                "the loss has no lowest value",
                f"it falls with the square of the model's output {number + 1}: a term that should "
                "hold it has its sign flipped",
                "turn the sign of that term round: the optimizer minimises",
                _term_of(taken, number) or taken.loss_line(),
                certain=True,
            )
    return None


def _term_of(taken: Recording, number: int) -> Location | None:
    """The line of the one part of the loss that this output enters and no known loss does."""
    leaves = tree.leaves(taken.output)
    made = taken.reached(leaves[number : number + 1])
    known = taken.reached([term.value for term in taken.terms])
    parts = [t for t in taken.summands() if id(t) in made and id(t) not in known]
    op = taken.maker(parts[0]) if len(parts) == 1 else None
    return op.location if op is not None else None


def _falls_for_ever(
    probe: LossProbe, number: int, output: torch.Tensor, power: float = 0.8
) -> bool:
    """Whether the loss falls at least with this power of the output's size, at either sign."""
    return any(_falls(probe, number, sign * output, power) for sign in (1.0, -1.0))


def _falls(probe: LossProbe, number: int, output: torch.Tensor, power: float) -> bool:
    try:
        with torch.no_grad():
            near = float(probe.value({number: FAR[0] * output}))
            if not near < 0:
                return False
            start, far = float(probe.value({})), float(probe.value({number: FAR[1] * output}))
    except (UserCodeError, RuntimeError, TypeError, ValueError):
        return False
    if near == -math.inf:
        return True
    below = math.isfinite(near) and near < min(0.0, start - 1)
    if not below or math.isnan(far):
        return False
    return far == -math.inf or far / near >= (FAR[1] / FAR[0]) ** power


def _wrong_way(probe: LossProbe, pair: Pair, number: int) -> float | None:
    """Share of the samples whose loss rises on the way to the target; None where it is flat."""
    point = _point(pair, number).requires_grad_()
    try:
        with torch.enable_grad():
            loss = probe.value({pair.leaf: point})
            (slope,) = torch.autograd.grad(loss, point, allow_unused=True)
    except (UserCodeError, RuntimeError, TypeError, ValueError):
        return None
    if slope is None or not bool(slope.isfinite().all()):
        return None
    with torch.no_grad():
        way = _towards(pair, point, slope)
    moving = way[way != 0]
    if moving.numel() < max(2, way.numel() // 4):
        return None
    return float((moving > 0).double().mean())


def _towards(pair: Pair, point: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """The loss's derivative towards the target, for each label or sample."""
    if pair.kind == "classes":
        right = pair.target.clamp_min(0).unsqueeze(pair.axis)
        along = slope.gather(pair.axis, right) - slope.mean(pair.axis, keepdim=True)
        return along[(pair.target >= 0).unsqueeze(pair.axis)]
    if pair.kind == "binary":
        return slope * torch.where(pair.target > 0, 1.0, -1.0).to(slope.dtype)
    return (slope * (pair.target.to(slope.dtype) - point)).reshape(len(slope), -1).sum(1)


def _point(pair: Pair, number: int) -> torch.Tensor:
    """The model's own output first, then random ones of its kind: scores, probabilities,
    log-probabilities, or values around the targets."""
    own = pair.output.clone()
    if number == 0:
        return own
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(number)).to(own)
    if pair.kind != "values":
        noise = UNSURE * noise
    if pair.kind == "values":
        target = pair.target.to(own.dtype)
        spread = target.std().clamp_min(1e-3) * 0.5
        inside = bool((own >= 0).all()) and bool((target >= 0).all())
        return (target + spread * noise).clamp_min(1e-3) if inside else target + spread * noise
    if pair.kind == "classes" and float(own.max()) <= 0:
        return noise.log_softmax(pair.axis)
    if float(own.min()) >= 0 and float(own.max()) <= 1:
        return noise.softmax(pair.axis) if pair.kind == "classes" else noise.sigmoid()
    return noise


__all__ = ["bottomless", "flipped"]
