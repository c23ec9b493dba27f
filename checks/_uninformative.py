"""What a loss costs when the model knows nothing: the loss at the uninformative prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import tree
from recipe_check.probes.watch import LossObserver, LossTerm, Watch
from recipe_check.results import Location

from ._blame import maker
from ._from_data import is_from_data

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

BATCHES = 4
INITIALISATIONS = 3
MOST_TERMS = 8
CLASSIFYING = frozenset({
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "multi_margin_loss", "multilabel_soft_margin_loss", "multilabel_margin_loss",
    "soft_margin_loss",
})  # fmt: skip
_ZERO = CLASSIFYING - {"nll_loss", "binary_cross_entropy"}
_NO_ZERO = frozenset({"poisson_nll_loss"})  # a level of it is no multiple of another
_MEAN = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss"})


@dataclass(frozen=True)
class LossSample:
    """The recorded loss of one batch at one initialisation, against knowing nothing."""

    measured: float
    expected: float
    best_constant: float  # the best prediction that is the same for every sample


@dataclass(frozen=True)
class LossLevel:
    """All samples, and what is known of the prediction that went into the loss."""

    kind: str
    samples: tuple[LossSample, ...]
    classifying: bool
    spread: float  # standard deviation of the prediction
    input_std: float
    input_mean: float
    target_mean: float
    target_std: float
    classes: int
    complete: bool  # the recorded terms are the whole loss
    summed: bool  # reduction='sum' straight into the loss
    batch: int
    location: Location | None


def uninformative(term: LossTerm) -> torch.Tensor | None:
    """The prediction of a model that knows nothing: zero logits, equal probabilities, the mean
    of the targets. None where the loss has no such prediction."""
    shape = term.prediction
    if term.kind in _ZERO:
        return torch.zeros_like(shape)
    if term.kind == "binary_cross_entropy":
        return torch.full_like(shape, 0.5)
    if term.kind in ("nll_loss", "ctc_loss"):
        axis = shape.ndim - 1 if term.kind == "ctc_loss" or shape.ndim == 1 else 1
        return torch.full_like(shape, -math.log(max(shape.shape[axis], 1)))
    if term.kind == "kl_div":
        return torch.full_like(shape, -math.log(max(shape.shape[-1], 1)))
    if isinstance(term.target, torch.Tensor) and term.kind in _MEAN:
        return _mean_prediction(term.prediction, term.target)
    if isinstance(term.target, torch.Tensor) and term.kind == "poisson_nll_loss":
        mean = term.target.float().mean().clamp_min(1e-6)
        log_input = term.kwargs.get("log_input", term.args[0] if term.args else True)
        return torch.full_like(shape, float(mean.log() if log_input else mean))
    return None


def _mean_prediction(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if target.shape == prediction.shape and target.ndim >= 1:
        return target.to(prediction.dtype).mean(0, keepdim=True).expand_as(prediction)
    return torch.full_like(prediction, float(target.double().mean()))


def best_constant(term: LossTerm) -> float:
    """The loss of the best constant prediction: for classes the prior, else as uninformative."""
    flat = uninformative(term)
    if flat is None:
        return math.nan
    target = term.target
    if term.kind == "cross_entropy" and _holds_classes(term):
        axis = 1 if term.prediction.ndim > 1 else 0
        classes = term.prediction.shape[axis]
        valid = target[(target >= 0) & (target < classes)]
        if valid.numel():
            counts = torch.bincount(valid.flatten(), minlength=classes).to(term.prediction.dtype)
            logits = (counts / counts.sum()).clamp_min(1e-6).log()
            shape = [1] * term.prediction.ndim
            shape[axis] = classes
            flat = logits.reshape(shape).expand_as(term.prediction)
    return min(float(term.replay(flat)), _flat_loss(term))


def _flat_loss(term: LossTerm) -> float:
    """The (mean) loss of the uninformative prediction; NaN where there is none."""
    found = uninformative(term)
    return math.nan if found is None else float(term.replay(found).double().mean())


def _holds_classes(term: LossTerm) -> bool:
    return isinstance(term.target, torch.Tensor) and not term.target.is_floating_point()


@dataclass(frozen=True)
class _Looks:
    """Samples of each known term, `samples[look][term]`, and what the first look saw."""

    samples: tuple[tuple[LossSample, ...], ...]
    terms: tuple[LossTerm, ...]
    loss: float
    whole: bool  # the terms are the whole loss
    rig: Rig


def see_level(lab: Lab) -> LossLevel | None:
    """All known terms of the loss together; None where none of them is known. Cached."""
    looks = _looks(lab)
    if looks is None:
        return None
    samples = tuple(_together(look) for look in looks.samples)
    return _level(lab, samples, looks.terms[0], looks.loss, looks.whole, looks.rig)


def see_levels(lab: Lab) -> tuple[LossLevel, ...]:
    """Each known term of the loss by itself, over several batches and initialisations.

    Empty where no recorded loss function has an uninformative prediction; all of them as one where
    their number changes between batches. Cost: up to 4 forward passes for each of up to 3
    initialisations (1 where the model cannot be made anew).
    """
    looks = _looks(lab)
    if looks is None:
        return ()
    if len({len(look) for look in looks.samples}) > 1:
        whole = see_level(lab)
        return () if whole is None else (whole,)
    alone = looks.whole and len(looks.terms) == 1
    return tuple(
        _level(lab, tuple(look[i] for look in looks.samples), term, looks.loss, alone, looks.rig)
        for i, term in enumerate(looks.terms[:MOST_TERMS])
    )


def _looks(lab: Lab) -> _Looks | None:
    return lab.cached("loss-looks", lambda: _look_around(lab))


def _look_around(lab: Lab) -> _Looks | None:
    """None where a batch has no known term. Only the first look's tensors are kept."""
    rounds = range(INITIALISATIONS) if lab.can_reinitialise else range(1)
    samples: list[tuple[LossSample, ...]] = []
    first: tuple[Any, ...] = ()
    for number in rounds:
        rig = (lab.rig(fresh=number) if lab.can_reinitialise else lab.rig()).train()
        for batch in lab.train_batches[:BATCHES]:
            there = rig.put(batch)
            terms, loss = _terms(rig, there)
            usable = tuple(
                t
                for t in terms
                if t.kind not in _NO_ZERO
                and uninformative(t) is not None
                and is_from_data(t, there)
            )
            if not usable:
                return None
            whole = _close(sum(float(t.value.sum()) for t in terms), loss)
            samples.append(tuple(_sample(t) for t in usable))
            first = first or (usable, loss, whole, rig)
    return _Looks(tuple(samples), *first)


def _together(samples: Sequence[LossSample]) -> LossSample:
    return LossSample(
        sum(s.measured for s in samples),
        sum(s.expected for s in samples),
        sum(s.best_constant for s in samples),
    )


def _terms(rig: Rig, batch: object) -> tuple[Sequence[LossTerm], float]:
    observer = LossObserver()
    with rig.looking(), rig.stack().following(), Watch(observer):
        loss = rig.step(batch).loss
    return observer.terms, float(loss.detach())


def _sample(term: LossTerm) -> LossSample:
    with torch.no_grad():
        measured = float(term.value.double().mean())
        expected = _flat_loss(term)
        constant = best_constant(term) if term.value.numel() == 1 else expected
    return LossSample(measured, expected, constant)


def _level(
    lab: Lab, samples: tuple[LossSample, ...], term: LossTerm, loss: float, whole: bool, rig: Rig
) -> LossLevel:
    prediction = term.prediction.detach().double() if not term.prediction.is_complex() else (
        term.prediction.detach().abs().double()
    )  # fmt: skip
    inputs = [t.double() for t in tree.leaves(rig.split(lab.train_batches[0]).inputs)
              if t.is_floating_point()]  # fmt: skip
    target = term.target if isinstance(term.target, torch.Tensor) else torch.zeros(1)
    summed = term.kwargs.get("reduction") == "sum" and _close(float(term.value.sum()), loss)
    axis = 1 if prediction.ndim > 1 else 0
    return LossLevel(
        kind=term.kind,
        samples=samples,
        classifying=term.kind in CLASSIFYING,
        spread=float(prediction.std(correction=0)),
        input_std=float(inputs[0].std(correction=0)) if inputs else 0.0,
        input_mean=float(inputs[0].mean()) if inputs else 0.0,
        target_mean=float(target.double().mean()),
        target_std=float(target.double().std(correction=0)),
        classes=prediction.shape[axis] if prediction.ndim else 1,
        complete=whole,
        summed=summed,
        batch=prediction.shape[0] if prediction.ndim else 1,
        location=maker(lab, "loss") if summed else term.location,
    )


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-12)
