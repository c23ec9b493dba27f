"""Does the user's own optimizer lower the loss?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Line, Location, Meta, Series, Status, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Oddity:
    """A hyper-parameter that stands out: a cause in a few words, and what shows it."""

    title: str
    text: str


@dataclass(frozen=True)
class Descent:
    """Losses by step of the user's optimizer and of Adam, and the growth of the weights' norm."""

    name: str
    rate: float
    decay: float
    start: float  # at the initial weights, over the batches of the last steps
    own: tuple[float, ...]
    reference: tuple[float, ...]
    growth: float
    momentum: float = 0.0  # SGD's momentum or Adam's first beta
    location: Location | None = None  # the line that made the optimizer
    odd: tuple[Oddity, ...] = ()  # by their values alone
    tested: tuple[tuple[Oddity, bool], ...] = ()  # whether the run with the default went well

    @property
    def end(self) -> float:
        return sum(self.own[-10:]) / len(self.own[-10:])

    @property
    def reference_end(self) -> float:
        """Adam's last level; the user's own where nothing was compared."""
        last = self.reference[-10:] or self.own[-10:]
        return sum(last) / len(last)


@dataclass(frozen=True, kw_only=True)
class OptimizerLearns:
    """Does the user's own optimizer lower the loss?

    What it measures
    ----------------
    The user's optimizer, with its learning rate and weight decay, takes 60 steps over the
    training batches; where the loss has not fallen by a fifth, Adam at 1e-3 does the same for
    comparison.

    Why it matters
    --------------
    A learning rate that is ten times too high or a weight decay of 1 destroys a sound model
    without an error.

    How it decides
    --------------
    fail: the loss becomes infinite or NaN, or ends above its start by half, or the weights
    grow or shrink tenfold while it makes less than half of the way that Adam makes. warn: it
    makes less than a twentieth of that way. fail, without a comparison: a rate of zero without a
    schedule; a momentum (or first beta) of 1 or more. warn, whatever the loss does: betas whose
    first, squared, exceeds the root of the second; a momentum of 0.995 or more; a weight decay that
    shrinks the weights by more than 1/200 a step; a rate that divides itself by ten within the run.
    Where the run goes badly, values far from their default (weight decay, eps, betas, momentum,
    dampening, maximize) are put back one at a time: what then makes half of Adam's way is named.

    Cost
    ----
    60 training steps, 120 where they are compared, and 60 for each value put back (at most 3).

    Known limits
    ------------
    Schedules are not applied: a warm-up is replaced by the rate that it leads to, which may look
    too high, and is warned of at most where the run stays finite.

    Example
    -------
    `torch.optim.Adam(model.parameters(), lr=10)`.

    Fix
    ---
    Start at 1e-3 (Adam) or 1e-1 (SGD), weight decay 1e-4 to 1e-2.

    Sources
    -------
    Smith 2017 (learning-rate range test); Karpathy, A Recipe for Training Neural Networks (2019);
    SageMaker Debugger rule LossNotDecreasing; Kingma & Ba 2015, 4 (betas).
    """

    meta: ClassVar[Meta] = Meta(
        id="optimizer-learns",
        stage="training",
        title="The optimizer lowers the loss",
        fail_title="The optimizer does not lower the loss",
        cost="60 to 300 S",
        needs=frozenset({"optimizer"}),
        preset="default",
        seeded=True,
    )
    steps: int = 60  # for each of the two runs
    least: float = 0.05  # of the way that Adam makes
    wild_least: float = 0.5  # likewise, for weights that grew or shrank tenfold meanwhile

    def measure(self, lab: Lab) -> Descent:
        from ._descent import see_descent

        return see_descent(lab, self.steps)

    def observe(self, lab: Lab) -> Descent:
        from ._rerun_fit import descent_observed

        return descent_observed(lab)

    def borderline(self, seen: Descent) -> bool:
        """Finite, and within a factor of two of the least share of Adam's way."""
        if self._run(seen)[0] is Status.PASS or not math.isfinite(seen.end) or seen.momentum >= 1:
            return False
        adams = max(seen.start - seen.reference_end, 1e-12)
        return seen.growth <= 10 and (seen.start - seen.end) / adams > self.least / 2

    def judge(self, seen: Descent) -> Verdict:
        status, message = self._decide(seen)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=message,
            measured=f"loss {seen.start:.3g} → {seen.end:.3g}",
            expected=f"about {seen.reference_end:.3g}, as Adam" if seen.reference else "a fall",
            fix=Fix(text="start at 1e-3 (Adam) or 1e-1 (SGD), weight decay 1e-4 to 1e-2")
            if bad
            else None,
            causes=_causes(seen) if bad else (),
            location=seen.location if bad else None,
            values={"end": seen.end, "reference": seen.reference_end, "growth": seen.growth},
            details=(_plot(seen),),
        )

    def _decide(self, seen: Descent) -> tuple[Status, str]:
        status, text = self._run(seen)
        named = next((o.text for o, helped in seen.tested if helped), "")
        if status is Status.PASS and seen.odd:
            return Status.WARN, "; ".join(dict.fromkeys(o.text for o in seen.odd))
        return status, f"{text}: {named}" if named and status is not Status.PASS else text

    def _run(self, seen: Descent) -> tuple[Status, str]:
        start = seen.start
        if not all(math.isfinite(loss) for loss in seen.own):
            return Status.FAIL, f"{seen.name} makes the loss infinite within {self.steps} steps"
        if seen.rate == 0:
            return Status.FAIL, f"{seen.name} moves nothing: its learning rate is zero"
        if seen.momentum >= 1:
            return Status.FAIL, (
                f"{seen.name} has a momentum of {seen.momentum:g}: what it adds up never fades"
            )
        if not seen.reference:
            return Status.PASS, f"{seen.name} lowers the loss: {start:.3g} to {seen.end:.3g}"
        way, adams = start - seen.end, start - seen.reference_end
        if adams <= 0.02 * abs(start):
            return Status.PASS, "no run of this length lowers the loss: nothing to compare"
        if way < -0.5 * abs(start):
            return Status.FAIL, f"{seen.name} raises the loss: {start:.3g} to {seen.end:.3g}"
        wild = seen.growth > 10 or seen.growth < 0.1
        if way >= (self.wild_least if wild else self.least) * adams:
            return Status.PASS, f"{seen.name} lowers the loss: {start:.3g} to {seen.end:.3g}"
        moved = f"; the weights change {seen.growth:.2g}-fold" if wild else ""
        return Status.FAIL if wild else Status.WARN, (
            f"{seen.name} leaves the loss at {seen.end:.3g} where Adam reaches "
            f"{seen.reference_end:.3g} in as many steps{moved}"
        )


def _causes(seen: Descent) -> tuple[Cause, ...]:
    found = {o.title: (True, o.text) for o in seen.odd}
    for odd, helped in seen.tested:
        if odd.title not in found:
            text = odd.text if helped else "the run with the default goes no better"
            found[odd.title] = (helped, text)
    tested = tuple(
        Cause(title=title, state=state_of(matches), evidence=text)
        for title, (matches, text) in sorted(found.items(), key=lambda item: not item[1][0])
    )
    return tested + tuple(c for c in _usual_causes(seen, tested) if c.title not in found)


def _usual_causes(seen: Descent, tested: tuple[Cause, ...]) -> tuple[Cause, ...]:
    way, adams = seen.start - seen.end, seen.start - seen.reference_end
    flat = 0.02 * abs(seen.start)  # noise of a loss that does not move
    explained = any(c.state is CauseState.MATCHES for c in tested)
    return (
        Cause(
            title="the learning rate is zero",
            state=state_of(seen.rate == 0),
        ),
        Cause(
            title="the momentum never fades",
            state=state_of(seen.momentum >= 1),
        ),
        Cause(
            title="the learning rate is too high",
            state=state_of((seen.growth > 10 or not way >= -flat) and not explained),
            evidence=f"weights change {seen.growth:.2g}-fold, lr {seen.rate:g}",
        ),
        Cause(
            title="the learning rate is too low",
            state=state_of(
                bool(seen.reference)
                and 0.9 < seen.growth < 1.1
                and -flat <= way < 0.2 * adams
                and seen.rate > 0
                and not explained
            ),
            evidence=f"weights change {seen.growth:.2g}-fold, lr {seen.rate:g}",
        ),
        Cause(
            title="weight decay shrinks the weights",
            state=state_of(seen.growth < 0.5),
            evidence=f"weight decay {seen.decay:g}",
        ),
    )


def _plot(seen: Descent) -> Series:
    lines = ((seen.name, seen.own), *([("Adam", seen.reference)] if seen.reference else []))
    return Series(
        title="Loss with your optimizer" + (" and with Adam" if seen.reference else ""),
        x_label="step",
        y_label="loss",
        lines=tuple(Line(name=n, x=tuple(map(float, range(len(y)))), y=y) for n, y in lines),
    )
