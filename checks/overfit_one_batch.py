"""Can the model learn one small batch by heart?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import (
    Cause,
    CauseState,
    Fix,
    Images,
    Location,
    Meta,
    Status,
    Table,
    Verdict,
)

from ._fit_views import details_of

if TYPE_CHECKING:
    from recipe_check import Lab

    from ._tested import TestedCause


@dataclass(frozen=True)
class Attempt:
    """One run of Adam at one learning rate (NaN: the script's own optimizers): losses by step,
    the final level, share of labels right (NaN where there are no labels), share of the way to
    the floor."""

    rate: float
    losses: tuple[float, ...]
    final: float
    accuracy: float
    progress: float
    predictions: tuple[Table, ...] = ()  # of the first samples by step, for classes

    @property
    def name(self) -> str:
        return "its own optimizer" if math.isnan(self.rate) else f"Adam {self.rate:g}"


@dataclass(frozen=True)
class BatchFit:
    """All attempts on the batch. `floor` is the attainable loss, None where unknown."""

    kind: str
    floor: float | None
    chance: float | None
    attempts: tuple[Attempt, ...]
    best: Attempt
    head_trains: bool
    frozen_share: float
    labels: tuple[tuple[str, str], ...]
    causes: tuple[TestedCause, ...]
    filters: tuple[Images, ...] = ()  # of the first convolution
    hurried: bool = False  # the clock ended the best run, before its steps or a plateau did

    @property
    def start(self) -> float:
        return self.best.losses[0]

    @property
    def progress(self) -> float:
        """Share of the way from the first loss to the floor (or to zero)."""
        return self.best.progress


@dataclass(frozen=True, kw_only=True)
class OverfitOneBatch:
    """Trains a copy on one small batch until it knows the labels by heart.

    What it measures
    ----------------
    Up to 16 samples of one batch, dropout and other noise off, normalisation as in training, Adam
    at 1e-3, then 1e-2, then 3e-4, without weight decay. The floor is computed, not assumed: the
    recorded loss minimised over free outputs, so that label smoothing, mixed labels and equal
    inputs with different labels count.

    Why it matters
    --------------
    A network that cannot memorise sixteen samples has something broken between data and weights;
    more data and more epochs will not help.

    How it decides
    --------------
    Progress is the share of the way from the first loss to the floor. pass: at least 0.95, or all
    labels right and a tenth of the way (scores that are bounded, such as cosines, go no further).
    warn: 0.5 to 0.95; less where the time was up early and no cause matches, or where the last
    layer trains and most weights are frozen (a linear probe may be unable to fit); losses without
    a known floor that hardly fall (dense regression with more numbers than weights has none).
    fail: below 0.5, or not a number. skip: undecided, where the time was up while the loss still
    fell and no cause matches.

    Cost
    ----
    5 to 300 training steps on 16 samples at each of up to three rates, a look at the labels every
    ten; stops at the step that is enough and when the curve cannot make it any more.

    Known limits
    ------------
    Losses below zero (likelihoods, critics) have no floor: only their fall is judged.

    Example
    -------
    Softmax before cross-entropy stops at ln(1 + (C-1)/e), 1.461 for ten classes.

    Fix
    ---
    See the causes: each was tested on the model that failed.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "overfit one batch", "visualize
    prediction dynamics"; CS231n, Neural Networks 3, sanity checks.
    """

    meta: ClassVar[Meta] = Meta(
        id="overfit-one-batch",
        stage="skeleton",
        title="Learns one batch by heart",
        fail_title="Cannot learn one batch by heart",
        cost="5 to 900 S",
        after=("initial-loss", "gradient-norms", "dead-relu", "batch-dependency"),
        preset="default",
        seeded=True,
    )
    steps: int = 300  # at each rate; slow sound models (masked LMs) need more and are warned of
    seconds: float = 24.0  # for all rates together
    enough: float = 0.95  # share of the way to the floor (CHECKS)
    least: float = 0.5  # below it: fail (CHECKS)
    falls: float = 0.25  # of the first loss, where no floor is known: soft targets keep an entropy
    bounded: float = 0.1  # with all labels right: cosines over a temperature cannot reach the floor

    def measure(self, lab: Lab) -> BatchFit:
        from ._batch_fit import fit_batch

        return fit_batch(lab, self.steps, self.seconds, self.enough)

    def observe(self, lab: Lab) -> BatchFit:
        from ._rerun_fit import fit_observed

        return fit_observed(lab)

    def borderline(self, seen: BatchFit) -> bool:
        """Near what passes, or near what fails, and nothing tested explains it."""
        explained = any(c.cause.state is CauseState.MATCHES for c in seen.causes)
        if explained or self._status(seen) is Status.PASS:
            return False
        near = abs(seen.progress - self.enough) < 0.05 or abs(seen.progress - self.least) < 0.1
        return near and math.isfinite(seen.best.final)

    def judge(self, seen: BatchFit) -> Verdict:
        status = self._status(seen)
        matching = [c for c in seen.causes if c.cause.state is CauseState.MATCHES]
        bad = status in (Status.FAIL, Status.WARN)
        return Verdict(
            status=status,
            message=_message(seen, status),
            measured=f"loss {seen.start:.3g} → {seen.best.final:.3g}",
            expected=_expected(seen, self.enough),
            causes=(*(c.cause for c in seen.causes), _rates(seen)) if bad else (),
            fix=Fix(text=matching[0].fix) if bad and matching else None,
            location=_location(matching) if bad else None,
            values={"start": seen.start, "final": seen.best.final, "progress": seen.progress},
            details=details_of(seen),
        )

    def _status(self, seen: BatchFit) -> Status:
        if not math.isfinite(seen.best.final):
            return Status.FAIL
        squashed = any(
            c.cause.check == "loss-contract" and c.cause.state is CauseState.MATCHES
            for c in seen.causes
        )
        by_heart = seen.best.accuracy == 1.0 and seen.progress >= self.bounded and not squashed
        if seen.progress >= self.enough or by_heart:
            return Status.PASS
        if seen.floor is None:
            return Status.PASS if seen.progress >= self.falls else Status.WARN
        probe = seen.head_trains and seen.frozen_share > 0.5
        explained = any(c.cause.state is CauseState.MATCHES for c in seen.causes)
        if seen.hurried and not explained and _still_falls(seen.best.losses):
            return Status.SKIP
        unproven = probe or (seen.hurried and not explained)
        return Status.WARN if seen.progress >= self.least or unproven else Status.FAIL


def _message(seen: BatchFit, status: Status) -> str:
    steps = len(seen.best.losses)
    fell = f"loss {seen.start:.3g} → {seen.best.final:.3g} in {steps} steps"
    if status is Status.PASS:
        return f"the batch was learned: {fell}"
    if status is Status.SKIP:
        return f"undecided: {fell}, then time was up while it still fell"
    right = f", {seen.best.accuracy:.0%} of the labels right" if _known(seen) else ""
    if not math.isfinite(seen.best.final):
        return f"the loss becomes {seen.best.final} while one batch is fitted"
    if seen.floor is None:
        return f"the loss hardly falls on one batch: {fell}{right}"
    note = f"; time was up after {steps} steps" if seen.hurried else ""
    if seen.head_trains and seen.frozen_share > 0.5:
        note = f"; {seen.frozen_share:.0%} of the weights are frozen, which may be why"
    return (
        f"the model cannot learn one small batch by heart: {fell}{right}, "
        f"{seen.floor:.3g} is attainable{note}"
    )


def _still_falls(losses: Sequence[float]) -> bool:
    """Whether the last quarter is clearly below the one before: by a hundredth of the start."""
    quarter = len(losses) // 4
    if quarter < 2:
        return False
    last, before = losses[-quarter:], losses[-2 * quarter : -quarter]
    return (sum(before) - sum(last)) / quarter > 0.01 * abs(losses[0])


def _known(seen: BatchFit) -> bool:
    return not math.isnan(seen.best.accuracy)


def _expected(seen: BatchFit, enough: float) -> str:
    if seen.floor is None:
        return "a falling loss"
    goal = seen.start - enough * (seen.start - seen.floor)
    return f"below {goal:.3g}"


def _rates(seen: BatchFit) -> Cause:
    tried = ", ".join(f"{a.name} → {a.final:.3g}" for a in seen.attempts)
    return Cause(title="the learning rate", state=CauseState.RULED_OUT, evidence=tried)


def _location(matching: list[TestedCause]) -> Location | None:
    return next((c.location for c in matching if c.location is not None), None)
