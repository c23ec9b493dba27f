"""The measurement of `overfit-one-batch`: one small batch, fitted at up to three rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipe_check import NotApplicable
from recipe_check.probes.training import Fit, run_until

from ._batch_labels import Look, accuracy, chance, classes_of, label_table, look_at
from ._causes import causes_of
from ._dynamics import STEPS as SHOWN_STEPS
from ._dynamics import Dynamics, first_filters
from ._floor import attainable, distinct_rows, is_bounded
from ._game import is_game
from ._subset import few_rows
from ._tested import TestedCause
from .overfit_one_batch import Attempt, BatchFit, OverfitOneBatch

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

SAMPLES = 16
RATES = (1e-3, 1e-2, 3e-4)  # Karpathy's constant for Adam is the last; most nets take the first
NEGATIVE_FALL = 0.1  # of the loss's size: with all noise off, a fall by a tenth is no accident
STALL_WINDOW = 60  # steps over which a run must still get on


@dataclass(frozen=True)
class Fitted:
    """The batch, the rig that fitted it best, and what came out."""

    rig: Rig
    batch: Any
    fit: BatchFit


def fit_batch(lab: Lab, steps: int, seconds: float, enough: float) -> BatchFit:
    """Fits the batch; cached, since others read its rate, curve and outputs."""
    key = (steps, seconds, enough)
    fitted: dict[Any, Fitted] = lab.cached("fit-batch", dict)
    if key not in fitted:
        fitted[key] = _fit(lab, steps, seconds, enough)
    return fitted[key].fit


def fitted_batch(lab: Lab) -> Fitted:
    """The fit that was made last, else one with the default options."""
    check = OverfitOneBatch()
    done: dict[Any, Fitted] = lab.cached("fit-batch", dict)
    if not done:
        fit_batch(lab, check.steps, check.seconds, check.enough)
    return list(done.values())[-1]


def _fit(lab: Lab, steps: int, seconds: float, enough: float) -> Fitted:
    rig = lab.rig().quiet()
    batch = few_rows(lab, rig, rig.put(lab.train_batches[0]), SAMPLES)
    if not rig.step(batch).loss.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    look = look_at(rig, batch)
    floor = _floor(rig, batch, look)
    attempts: list[Attempt] = []
    rigs: list[Rig] = []
    for rate in RATES:
        rigs.append(lab.rig().quiet())
        attempts.append(_attempt(rigs[-1], batch, rate, floor, steps, seconds / len(RATES), enough))
        if _succeeded(attempts[-1], enough):
            break
    best = min(attempts, key=lambda a: a.final if math.isfinite(a.final) else math.inf)
    rig = rigs[attempts.index(best)]
    failed = best.progress < enough
    if failed and is_game(rig, batch):
        raise NotApplicable("terms of the loss train different parts of the model: a game has no "
                            "level to reach")  # fmt: skip
    causes = causes_of(lab, rig, batch, best.final, look_at(rig, batch).terms) if failed else ()
    return Fitted(rig, batch, _result(rig, batch, look, floor, attempts, best, causes))


def _floor(rig: Rig, batch: Any, look: Look) -> float | None:
    """The attainable loss; None where it is not known or there is none."""
    if not look.whole or not all(is_bounded(term) for term in look.terms):
        return None
    total = 0.0
    for term in look.terms:
        count = term.prediction.shape[0] if term.prediction.ndim else 0
        total += attainable(term, distinct_rows(rig, batch, count))
    return total


def _attempt(
    rig: Rig, batch: Any, rate: float, floor: float | None, steps: int, seconds: float,
    enough: float,
) -> Attempt:  # fmt: skip
    fit = Fit(rig, rate)
    rights: list[float] = []
    seen = Dynamics()
    seen.keep(0, classes_of(rig, batch))

    def done(run: Fit) -> bool:
        now = _tail(run.losses)
        if len(run.losses) in SHOWN_STEPS:
            seen.keep(len(run.losses), classes_of(rig, batch))
        if not math.isfinite(now):
            return True
        fallen = progress(run.losses[0], now, floor)
        if fallen >= enough:
            return True
        if len(run.losses) % 50 == 0:
            rights.append(accuracy(rig, batch))
            if rights[-1] == 1.0 and fallen >= 0.5:
                return True
        return _stalled(run.losses, floor)

    run_until(fit, [batch], most=steps, seconds=seconds, done=done)
    right = accuracy(rig, batch)
    level = _tail(fit.losses)
    seen.keep(len(fit.losses), classes_of(rig, batch))
    way = progress(fit.losses[0], level, floor)
    return Attempt(rate, tuple(fit.losses), level, right, way, seen.table())


def _tail(losses: Sequence[float]) -> float:
    """The level at the end: the mean of the last five."""
    last = losses[-5:]
    return sum(last) / len(last)


def progress(start: float, now: float, floor: float | None) -> float:
    """Share of the way from the start to the floor.

    Without a floor the share of the start's size (a loss that fell from 2 to 0.1 made 0.95), and
    for losses below zero, which have no size, any fall by a tenth counts as the whole way.
    """
    if floor is None and min(start, now) < 0:
        return (start - now) / (NEGATIVE_FALL * max(abs(start), abs(now)))
    if floor is None:
        return (start - now) / abs(start) if start else 0.0
    if start <= floor + 1e-9:
        return 1.0
    return (start - now) / (start - floor)


def _stalled(losses: Sequence[float], floor: float | None) -> bool:
    """Whether the curve cannot make it any more: hardly any way made in the last 60 steps."""
    if len(losses) < 2 * STALL_WINDOW:
        return False
    earlier = progress(losses[0], _tail(losses[:-STALL_WINDOW]), floor)
    now = progress(losses[0], _tail(losses), floor)
    return now - earlier < 0.01


def _succeeded(attempt: Attempt, enough: float) -> bool:
    return attempt.progress >= enough or (attempt.accuracy == 1.0 and attempt.progress >= 0.5)


def _result(
    rig: Rig, batch: Any, look: Look, floor: float | None, attempts: Sequence[Attempt],
    best: Attempt, causes: Sequence[TestedCause],
) -> BatchFit:  # fmt: skip
    parameters = list(rig.model.parameters())
    return BatchFit(
        kind=look.terms[0].kind if look.terms else "",
        floor=floor,
        chance=chance(look),
        attempts=tuple(attempts),
        best=best,
        head_trains=_head_trains(rig),
        frozen_share=sum(p.numel() for p in parameters if not p.requires_grad)
        / max(sum(p.numel() for p in parameters), 1),
        labels=label_table(rig, batch),
        causes=tuple(causes),
        filters=first_filters(rig),
    )


def _head_trains(rig: Rig) -> bool:
    """Whether the last weight before the loss is trainable."""
    weights = [p for p in rig.model.parameters() if p.ndim >= 2]
    return bool(weights) and weights[-1].requires_grad
