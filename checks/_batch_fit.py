"""The measurement of `overfit-one-batch`: one small batch, fitted at up to three rates."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipe_check import NotApplicable
from recipe_check.probes.memory import Memory
from recipe_check.probes.training import CHUNK, Fit, run_until

from ._batch_labels import Look, accuracy, chance, classes_of, label_table, look_at
from ._causes import breaks_contract, causes_of
from ._dynamics import STEPS as SHOWN_STEPS
from ._dynamics import Dynamics, first_filters
from ._floor import ELEMENTWISE, attainable, distinct_rows, is_bounded
from ._game import is_game
from ._subset import on_few_rows
from ._tested import TestedCause
from .overfit_one_batch import Attempt, BatchFit, OverfitOneBatch

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

SAMPLES = 16
RATES = (1e-3, 1e-2, 3e-4)  # Karpathy's constant for Adam is the last; most nets take the first
NEGATIVE_FALL = 0.1  # of the loss's size: with all noise off, a fall by a tenth is no accident
STALL_WINDOW = 60  # steps over which a run must still get on
TAIL = 5  # steps whose mean is the level
DENSE = 256  # numbers to regress in the batch: below it few samples of a few outputs
ASK_LABELS = 10  # steps between two looks at the labels


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
    if not rig.trainable():
        raise NotApplicable("no parameter is trainable (see gradient-norms)")
    whole = rig.put(lab.train_batches[0])
    batch, look = on_few_rows(lab, rig, whole, SAMPLES, lambda few: (few, look_at(rig, few)))
    floor = _floor(rig, batch, look)
    attempts: list[Attempt] = []
    ends: list[tuple[Rig, Look]] = []
    start, memory = time.monotonic(), Memory(rig.model)
    runs = [(rate, False) for rate in RATES] + [(rate, True) for rate in RATES[:2]]
    for number, (rate, held) in enumerate(runs):
        left = seconds - (time.monotonic() - start)
        if attempts and (left <= 0 or (held and not memory.changed())):
            break
        if attempts:
            rig = lab.rig().quiet()
            memory = Memory(rig.model)
        limits = Limits(steps, left / max(len(RATES) - number, 1), left, enough)
        fit = Fit(rig, rate, after_step=memory.put_back if held else None)
        attempt, end = _attempt(fit, batch, look, floor, limits)
        attempts.append(attempt)
        ends.append((rig, end))
        if _succeeded(attempt, enough):
            break
    best = min(attempts, key=lambda a: a.final if math.isfinite(a.final) else math.inf)
    rig, end = ends[attempts.index(best)]
    failed = not best.progress >= enough and (  # NaN too
        not _succeeded(best, enough) or breaks_contract(lab, best.final, end.terms)
    )
    if failed and is_game(rig, batch):
        raise NotApplicable("terms of the loss train different parts of the model: a game has no "
                            "level to reach")  # fmt: skip
    causes = causes_of(lab, rig, batch, best.final, end.terms) if failed else ()
    return Fitted(rig, batch, _result(rig, look, end, floor, attempts, best, causes, steps))


def _floor(rig: Rig, batch: Any, look: Look) -> float | None:
    """The attainable loss; None where it is not known or there is none: dense regression with
    more numbers to learn than weights (super-resolution) has no known level."""
    if not look.whole or not all(is_bounded(term) for term in look.terms):
        return None
    weights = sum(p.numel() for _, p in rig.trainable())
    if any(term.kind in ELEMENTWISE and term.value.numel() == 1
           and term.prediction.numel() > max(weights, DENSE) for term in look.terms):  # fmt: skip
        return None
    total = 0.0
    for term in look.terms:
        count = term.prediction.shape[0] if term.prediction.ndim else 0
        total += attainable(term, distinct_rows(rig, batch, count))
    return total


@dataclass(frozen=True)
class Limits:
    """Where one run ends: steps, its share of the seconds, those that it may take where it is
    half way by then, and the progress that is enough."""

    steps: int
    share: float
    seconds: float
    enough: float


def _attempt(
    fit: Fit, batch: Any, start: Look, floor: float | None, limits: Limits
) -> tuple[Attempt, Look]:
    """One run, and what the model says of the batch at its end."""
    seen, begun = Dynamics(), time.monotonic()
    seen.keep(0, classes_of(start))
    looks = {0: start}

    def look() -> Look:
        taken = len(fit.losses)
        if taken not in looks:
            looks.clear()
            looks[taken] = look_at(fit.rig, batch)
        return looks[taken]

    def done(run: Fit) -> bool:
        taken, now = len(run.losses), _tail(run.losses)
        if taken in SHOWN_STEPS:
            seen.keep(taken, classes_of(look()))
        if not math.isfinite(now):
            return True
        fallen = progress(run.losses[0], now, floor)
        if taken >= TAIL and fallen >= limits.enough:
            return True
        if fallen < 0.5 and time.monotonic() - begun > limits.share:
            return True
        if taken % ASK_LABELS == 0 and fallen >= 0.5 and accuracy(look()) == 1.0:
            return True
        return taken % CHUNK == 0 and _stalled(run.losses, floor)

    run_until(fit, [batch], most=limits.steps, seconds=limits.seconds, done=done)
    level = _tail(fit.losses)
    seen.keep(len(fit.losses), classes_of(look()))
    way = progress(fit.losses[0], level, floor)
    losses = tuple(fit.losses)
    return Attempt(fit.rate, losses, level, accuracy(look()), way, seen.table()), look()


def _tail(losses: Sequence[float]) -> float:
    """The level at the end: the mean of the last five."""
    last = losses[-TAIL:]
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
    rig: Rig, look: Look, end: Look, floor: float | None, attempts: Sequence[Attempt],
    best: Attempt, causes: Sequence[TestedCause], steps: int,
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
        labels=label_table(end),
        causes=tuple(causes),
        filters=first_filters(rig),
        hurried=len(best.losses) < steps and not _stalled(best.losses, floor),
    )


def _head_trains(rig: Rig) -> bool:
    """Whether the last weight before the loss is trainable."""
    weights = [p for p in rig.model.parameters() if p.ndim >= 2]
    return bool(weights) and weights[-1].requires_grad
