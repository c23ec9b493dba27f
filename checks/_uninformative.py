"""What a loss costs when the model knows nothing: the loss at the uninformative prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import batches, tree
from recipe_check.probes.watch import LossObserver, LossTerm, Watch
from recipe_check.values import Location

from ._blame import maker
from ._chance import CLASSIFYING, best_constant, flat_loss, uninformative
from ._from_data import is_from_data
from ._gradient_stops import Stop
from ._not_finite import not_finite

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

BATCHES = 4
INITIALISATIONS = 3
MOST_TERMS = 8
FAR = 1.5  # times chance, below which nobody asks how it came about
SAME = 1e-4  # relative: float32, and a small constant beside the norm
_NO_ZERO = frozenset({"poisson_nll_loss"})  # a level of it is no multiple of another


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
    broken: Stop | None = None  # the operation that makes a loss which is not finite
    scaled: bool = False  # scores of normalised weights, times a factor that someone chose


@dataclass(frozen=True)
class _Looks:
    """Samples of each known term, `samples[look][term]`, and what the first look saw."""

    samples: tuple[tuple[LossSample, ...], ...]
    terms: tuple[LossTerm, ...]
    loss: float
    whole: bool  # the terms are the whole loss


def see_level(lab: Lab) -> LossLevel | None:
    """All known terms of the loss together; None where none of them is known. Cached."""
    looks = _looks(lab)
    if looks is None:
        return None
    samples = tuple(_together(look) for look in looks.samples)
    return _level(lab, samples, looks.terms[0], looks.loss, looks.whole)


def see_levels(lab: Lab) -> tuple[LossLevel, ...]:
    """Each known term of the loss by itself, over several batches and initialisations.

    Empty where no recorded loss function has an uninformative prediction; all of them as one where
    their number changes between batches. Cost: up to 4 forward passes for each of up to 3
    initialisations; none of its own where the model cannot be made anew (the shared trace).
    """
    looks = _looks(lab)
    if looks is None:
        return ()
    if len({len(look) for look in looks.samples}) > 1:
        whole = see_level(lab)
        return () if whole is None else (whole,)
    alone = looks.whole and len(looks.terms) == 1
    return tuple(
        _level(lab, tuple(look[i] for look in looks.samples), term, looks.loss, alone)
        for i, term in enumerate(looks.terms[:MOST_TERMS])
    )


def _looks(lab: Lab) -> _Looks | None:
    return lab.cached("loss-looks", lambda: _look_around(lab))


def _look_around(lab: Lab) -> _Looks | None:
    """None where a batch has no known term. Only the first look's tensors are kept."""
    samples: list[tuple[LossSample, ...]] = []
    first: tuple[Any, ...] = ()
    for there, terms, loss in _passes(lab):
        usable = tuple(
            t
            for t in terms
            if t.kind not in _NO_ZERO and uninformative(t) is not None and is_from_data(t, there)
        )
        if not usable:
            return None
        whole = _close(sum(float(t.value.sum()) for t in terms), loss)
        samples.append(tuple(_sample(t) for t in usable))
        first = first or (usable, loss, whole)
    return _Looks(tuple(samples), *first)


def _passes(lab: Lab) -> Iterator[tuple[Any, Sequence[LossTerm], float]]:
    """Batches with the terms and the value of their loss, at new initial weights each round. Where
    these cannot be drawn the shared trace has made the passes."""
    if not lab.can_reinitialise and lab.trace.probed:
        for held, loss in zip(lab.trace.probed, lab.trace.losses, strict=True):
            yield held.batch, held.terms, loss
        return
    for number in range(INITIALISATIONS if lab.can_reinitialise else 1):
        rig = (lab.rig(fresh=number) if lab.can_reinitialise else lab.rig()).train()
        for batch in lab.train_batches[:BATCHES]:
            there = rig.put(batch)
            yield there, *_terms(rig, there)


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
        expected = flat_loss(term)
        constant = best_constant(term)
    return LossSample(measured, expected, constant)


def _level(
    lab: Lab, samples: tuple[LossSample, ...], term: LossTerm, loss: float, whole: bool
) -> LossLevel:
    prediction = term.prediction.detach().double() if not term.prediction.is_complex() else (
        term.prediction.detach().abs().double()
    )  # fmt: skip
    parts = batches.split(lab.train_batches[0], lab.subject.original.model)
    inputs = [t.double() for t in tree.leaves(parts.inputs) if t.is_floating_point()]
    target = term.target if isinstance(term.target, torch.Tensor) else torch.zeros(1)
    summed = term.kwargs.get("reduction") == "sum" and _close(float(term.value.sum()), loss)
    axis = 1 if prediction.ndim > 1 else 0
    finite = all(math.isfinite(sample.measured) for sample in samples)
    far = finite and sum(s.measured for s in samples) > FAR * sum(s.expected for s in samples)
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
        broken=None if finite else not_finite(lab),
        scaled=far and term.kind in CLASSIFYING and _is_scale_free(lab, term.kind),
    )


def _is_scale_free(lab: Lab, kind: str) -> bool:
    """Whether the size of the class weights (else the last) does not matter to what enters the
    loss: cosines, times a factor that is part of the method (64 in ArcFace). Two forward passes,
    of the alarmed alone."""
    rig = lab.rig().train()
    weights = [p for _, p in rig.trainable() if p.ndim > 1]
    if not weights:
        return False
    batch, seen = rig.put(lab.train_batches[0]), list[torch.Tensor]()
    for _ in range(2):
        with lab.seeded():
            terms, _ = _terms(rig, batch)
        seen += [t.prediction.detach() for t in terms if t.kind == kind][:1]
        classes = seen[0].shape[1] if seen and seen[0].ndim > 1 else 0
        heads = [w for w in weights if classes in (w.shape[0], w.shape[-1])]
        with torch.no_grad():
            (heads or weights)[-1].mul_(2)
    if len(seen) < 2 or seen[0].shape != seen[1].shape:
        return False
    return float((seen[0] - seen[1]).abs().max()) <= SAME * float(seen[0].abs().max())


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-12)
