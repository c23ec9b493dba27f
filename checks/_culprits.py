"""What else may keep a model from held-out data, before its labels are blamed: samples that mix,
inputs that are not scaled, validation data that are not like the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, NotApplicable, Status
from recipe_check.errors import UserCodeError
from recipe_check.probes.training import Fit

from ._attention import see_attention
from ._batch_labels import classes_of, look_at
from ._data_lines import NUMBERED, nearest, validation_line
from ._dependency import see_dependency
from ._input_scale import see_inputs
from ._positions import ADD_POSITIONS, NO_POSITIONS, blind_to_order
from ._rows import TOLERANCE
from ._target_scale import see_targets
from .input_scale import InputScale
from .target_scale import TargetScale

if TYPE_CHECKING:
    from recipe_check import Lab

SHARE = 0.25  # of the training batches are held out
INSIDE = 0.3  # of what lies above chance, that training samples never seen are told by
OUTSIDE = 0.25  # of that, at most, on the validation data
MAPPED = 0.8  # of it, after the classes are renamed
STEPS = 400
LEAST = 32  # validation labels


@dataclass(frozen=True)
class Culprit:
    """Something other than the labels, with what to do; `early` is whether it is told apart even
    where the training labels are learned well."""

    title: str
    message: str
    fix: str
    check: str = ""
    status: Status = Status.WARN
    early: bool = False
    location: Location | None = None


def culprit_of(lab: Lab, train: Sequence[Any], held: Sequence[Any], rate: float) -> Culprit | None:
    """The first that there is. Costs those of batch-dependency (about 15 F), and with validation
    data up to 400 steps; asked only where held-out data are not reached."""
    return (
        _scaling(lab)
        or _targets(lab)
        or _mixing(lab)
        or _order(lab)
        or _other_validation(lab, train, held, rate)
    )


def _scaling(lab: Lab) -> Culprit | None:
    check = InputScale()
    try:
        seen = see_inputs(lab)
    except (NotApplicable, UserCodeError):
        return None
    shift = check.validation_shift(seen)
    if shift is not None and shift[0] is Status.FAIL:
        return Culprit("validation data are preprocessed differently", shift[1], shift[2],
                       "input-scale")  # fmt: skip
    if seen.size > check.largest:
        return Culprit("the inputs are not scaled", f"inputs of mean {seen.mean:.3g} and deviation "
                       f"{seen.std:.3g} come first", "scale the inputs", "input-scale")  # fmt: skip
    return None


def _targets(lab: Lab) -> Culprit | None:
    try:
        seen = see_targets(lab)
    except (NotApplicable, UserCodeError):
        return None
    if seen.distance <= TargetScale().largest:
        return None
    return Culprit("the targets are not scaled", f"targets of mean {seen.mean:.3g} and deviation "
                   f"{seen.std:.3g} come first", "scale the targets", "target-scale")  # fmt: skip


def _mixing(lab: Lab) -> Culprit | None:
    try:
        seen = see_dependency(lab)
    except (NotApplicable, UserCodeError):
        return None
    if seen.leak <= TOLERANCE or seen.by_design or seen.by_choice:
        return None
    return Culprit("samples of one batch are mixed by the model", "samples of one batch influence "
                   "each other, which comes first", "fix batch-dependency first",
                   "batch-dependency")  # fmt: skip


def _order(lab: Lab) -> Culprit | None:
    """Attention that does not know the order of tokens on which the labels may depend."""
    try:
        seen = see_attention(lab)
    except (NotApplicable, UserCodeError):
        return None
    order = blind_to_order(lab) if seen.among else None
    if order is None:
        return None
    return Culprit(NO_POSITIONS, order.text, ADD_POSITIONS,
                   location=seen.entry or seen.among[0])  # fmt: skip


def _other_validation(
    lab: Lab, train: Sequence[Any], held: Sequence[Any], rate: float
) -> Culprit | None:
    """Held-out training samples are told apart, and validation samples are not."""
    cut = max(int(len(train) * SHARE), 1)
    if lab.subject.val_loader is None or len(train) < 4:
        return None
    fit = Fit(lab.rig().quiet(), rate)
    try:
        fit.steps(train[:-cut], STEPS)
        inside, outside = _told(fit, train[-cut:]), _told(fit, held)
    except (UserCodeError, NotApplicable):
        return None
    if inside is None or outside is None or len(outside[1]) < LEAST:
        return None
    good, raw, chance = _accuracy(*inside), _accuracy(*outside), _chance(outside[1])
    above = good - max(chance, _chance(inside[1]))
    if above < INSIDE * (1 - chance) or raw > chance + OUTSIDE * above:
        return None
    renamed = _renamed(*outside)
    told = f"{good:.0%} of the training samples that were held out are right, {raw:.0%} of the "
    told += "validation samples"
    if renamed >= chance + MAPPED * above:
        return Culprit(
            "validation labels are numbered otherwise than training labels",
            f"{told}, but {renamed:.0%} where the classes are renamed: the validation labels are "
            "numbered otherwise",
            "make the numbers of the classes once, and use them in both loaders", "",
            Status.FAIL, True, validation_line(lab, "targets", NUMBERED)
            or validation_line(lab, "targets") or nearest(lab, "targets", NUMBERED),
        )  # fmt: skip
    return Culprit(
        "validation data are unlike the training data",
        f"{told}: validation inputs or labels are made in another way",
        "look at both loaders side by side", "", Status.WARN, True,
        validation_line(lab, "inputs") or validation_line(lab, "targets"),
    )  # fmt: skip


def _told(fit: Fit, batches: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Predicted and true classes of all batches, one label a sample."""
    pairs = [classes_of(look_at(fit.rig, batch)) for batch in batches]
    if any(p is None or y is None or y.ndim != 1 for p, y in pairs):
        return None
    predicted = torch.cat([p for p, _ in pairs if p is not None])
    return predicted.long().cpu(), torch.cat([y for _, y in pairs if y is not None]).long().cpu()


def _accuracy(predicted: torch.Tensor, target: torch.Tensor) -> float:
    return float((predicted == target).double().mean())


def _chance(target: torch.Tensor) -> float:
    return float(torch.bincount(target).max() / len(target))


def _renamed(predicted: torch.Tensor, target: torch.Tensor) -> float:
    """Accuracy where each predicted class stands for the label it meets most often, told from the
    other half of the samples."""
    hits = 0
    for known, asked in ((0, 1), (1, 0)):
        size = int(max(predicted.max(), target.max())) + 1
        table = torch.zeros(size, size)
        table.index_put_((predicted[known::2], target[known::2]), torch.ones(()), accumulate=True)
        hits += int((table.argmax(1)[predicted[asked::2]] == target[asked::2]).sum())
    return hits / len(target)
