"""The measurement of `loss-contract`: one forward pass, and a rule for each kind of breach."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Location, NotApplicable
from recipe_check.lineage import ARITHMETIC, made_at, modules_made
from recipe_check.probes.watch import LossTerm

from ._blame import maker, value_line
from ._floor import is_bounded, is_broadcast
from ._log_of_zero import strain
from ._loss_input import WRONG, Origin, origins
from .loss_contract import Breach, Contract

if TYPE_CHECKING:
    from recipe_check import Lab

Rule = Callable[["Lab", LossTerm, Origin], Breach | None]


def see_contract(lab: Lab) -> Contract:
    """Applies every rule to every recorded loss call; losses written by hand are only strained."""
    found = origins(lab)
    strained = strain(lab)
    if not found and strained is None:
        raise NotApplicable("no known loss function: what it documents cannot be compared")
    breaches = [] if strained is None else [strained]
    breaches += [
        breach for term, origin in found for rule in RULES if (breach := rule(lab, term, origin))
    ]
    return Contract(
        terms=tuple((t.kind, _text(t.prediction), _text(t.target)) for t, _ in found),
        breaches=tuple({breach.title: breach for breach in breaches}.values()),
        notes=tuple(
            "log_softmax before cross_entropy is redundant, and harmless"
            for term, origin in found
            if term.kind == "cross_entropy" and origin.op == "log_softmax"
        ),
        tested=TITLES,
    )


def _text(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def _squashed(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    if origin.op not in WRONG.get(term.kind, ()):
        return None
    return Breach(
        "squashed scores instead of raw ones",
        f"{origin.op} stands right before {term.kind}",
        f"return the raw scores: {term.kind} applies its own normalisation",
        origin.location,
        certain=True,
    )


def _broadcast(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def _no_log(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def _one_output(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def _wrong_axis(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Softmax over one output is constant; over the batch axis it couples samples."""
    if origin.op not in ("softmax", "log_softmax") or origin.axis is None:
        return None
    rows, shape = origin.axis, origin.shape
    if len(shape) == 2 and rows == 0 and shape[0] > 1:
        title, fix = "softmax over the batch axis", "normalise over the classes: dim=1"
    elif shape and shape[rows] == 1:
        title, fix = "softmax over a single output", "use sigmoid, or two outputs"
    else:
        return None
    evidence = f"{origin.op}(dim={rows}) on {shape}"
    return Breach(title, evidence, fix, origin.location, certain=True)


def _averaged(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    reduction = term.kwargs.get("reduction", "mean")
    if term.kind != "kl_div" or reduction != "mean" or term.prediction.ndim < 2:
        return None
    return Breach(
        "kl_div divides by the number of elements",
        f"reduction='mean' makes it {term.prediction[0].numel()} times too small",
        "use reduction='batchmean'",
        _loss_line(lab, nn.KLDivLoss) or term.location,
        certain=False,
    )


def _negative(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def _flipped(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """The step minimises minus a loss that has a lowest value."""
    value = float(term.value.detach().sum())
    if not is_bounded(term) or value <= 1e-6 or abs(origin.loss + value) > 1e-4 * value:
        return None
    return Breach(
        "the sign of the loss is flipped",
        f"{term.kind} is {value:.3g}, and the step minimises {origin.loss:.3g}",
        "remove the minus: the optimizer minimises",
        term.location,
        certain=True,
    )


def _weights(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Class weights are meant to lift rare classes."""
    weight = term.kwargs.get("weight", term.args[0] if term.args else None)
    target = term.target
    if term.kind not in ("cross_entropy", "nll_loss") or not isinstance(weight, torch.Tensor):
        return None
    if target.is_floating_point() or not origin.label_counts:
        return None
    counts = torch.tensor(origin.label_counts, dtype=torch.float64)
    weight = weight.detach().double().cpu()
    seen = counts > 0
    if len(counts) != len(weight) or int(seen.sum()) < 2:
        return None
    spread = float(weight[seen].max() / weight[seen].min().clamp_min(1e-12))
    imbalance = float(counts[seen].max() / counts[seen].min())
    together = torch.corrcoef(torch.stack((weight[seen].log(), counts[seen].log())))[0, 1]
    if spread < 1.5 or imbalance < 2 or not float(together) > 0.5:
        return None
    return Breach(
        "class weights grow with the class's frequency",
        f"correlation of log weight and log count {float(together):.2f}",
        "weights are meant to lift rare classes: use 1 / count",
        value_line(_own_weight(lab), ARITHMETIC) or term.location or maker(lab, "loss"),
        certain=False,
    )


def _own_weight(lab: Lab) -> torch.Tensor | None:
    found = getattr(lab.subject.original.loss, "weight", None)
    return found if isinstance(found, torch.Tensor) else None


def _loss_line(lab: Lab, kind: type[nn.Module]) -> Location | None:
    """The line that made a loss module of this kind."""
    made = (made_at(module) for module in modules_made() if isinstance(module, kind))
    return next((where for where in made if where is not None), None)


def _swapped(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """What learns stands where the target is expected."""
    target = term.target
    if not isinstance(target, torch.Tensor) or term.kind not in _ORDERED:
        return None
    if term.prediction.requires_grad or not target.requires_grad:
        return None
    return Breach(
        "prediction and target are swapped",
        f"the first argument of {term.kind} has no gradient, the second has",
        "give the prediction first, then the target",
        term.location,
        certain=term.kind != "kl_div",
    )


def _no_distribution(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Class probabilities as targets are at least zero and sum to one."""
    target = term.target
    soft = isinstance(target, torch.Tensor) and target.is_floating_point()
    if term.kind != "cross_entropy" or not soft or target.ndim < 2:
        return None
    sums = target.detach().double().sum(1)
    if float((sums - 1).abs().max()) < 0.01 and float(target.min()) >= 0:
        return None
    return Breach(
        "targets that are no probabilities",
        f"cross_entropy got float targets that sum to {float(sums.min()):.3g} … "
        f"{float(sums.max()):.3g} over the classes (axis 1)",
        "give class indices (int64), or probabilities that sum to 1 over axis 1",
        term.location,
        certain=False,
    )


def _lifted_down(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """pos_weight below one makes a rare positive class still lighter."""
    weight, target = term.kwargs.get("pos_weight"), term.target
    if not isinstance(weight, torch.Tensor) or weight.numel() != 1:
        return None
    share = float(target.double().mean())
    if float(weight) >= 1 or share >= 0.25:
        return None
    return Breach(
        "pos_weight makes the rare class lighter",
        f"pos_weight is {float(weight):.3g} and {share:.1%} of the targets are positive",
        f"pos_weight is negatives over positives: about {(1 - share) / max(share, 1e-9):.3g}",
        term.location or maker(lab, "loss"),
        certain=False,
    )


_ORDERED = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "nll_loss",
            "cross_entropy")  # fmt: skip
RULES: tuple[Rule, ...] = (
    _wrong_axis, _squashed, _broadcast, _no_log, _one_output, _averaged, _negative, _flipped,
    _weights, _swapped, _no_distribution, _lifted_down,
)  # fmt: skip
TITLES = (
    "squashed scores instead of raw ones",
    "prediction and target are broadcast",
    "raw scores or probabilities where log-probabilities are expected",
    "one output for several classes",
    "softmax over the batch axis",
    "the loss is below its lowest value",
    "the sign of the loss is flipped",
    "the logarithm of zero",
    "prediction and target are swapped",
    "targets that are no probabilities",
    "pos_weight makes the rare class lighter",
)
