"""Rules on the arguments of a recorded loss call: weights, reduction, order, soft targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Location
from recipe_check.lineage import ARITHMETIC, made_at, modules_made
from recipe_check.probes.watch import LossTerm

from ._blame import maker, value_line
from ._loss_input import Origin
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

_ORDERED = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "nll_loss",
            "cross_entropy")  # fmt: skip


def averaged(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def weights(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def swapped(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def no_distribution(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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


def lifted_down(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
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
