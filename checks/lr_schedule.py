"""Does the learning rate go where it should over the planned training?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import (
    Cause,
    CauseState,
    Fix,
    Location,
    Meta,
    Status,
    Verdict,
)

from ._schedule_views import plot
from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Plan:
    """The rate at every step of the planned training.

    `per_batch` is None where the user's loop does not say when the scheduler steps; `epochs` and
    `known` likewise say whether the length was read from the loop or assumed.
    """

    name: str
    rates: tuple[float, ...]
    per_batch: bool | None
    epochs: int
    known: bool
    batches: int  # in an epoch
    error: str  # what the scheduler raised on the way
    period: int  # T_max of a cosine that rises again after it, 0 for others
    location: Location | None  # scheduler.step() in the user's loop
    early: bool = False  # a break or return can end the training before its last epoch
    built_for: int = 0  # total_steps of the scheduler, 0 where it has none
    calls: int = 0  # that the planned training makes
    slip: tuple[str, str] = ("", "")  # what is wrong whatever the rates are, and the fix
    made: Location | None = None  # the line that made the scheduler
    given: float = 0.0  # the rate that the optimizer was made with
    every: int = 1  # so many batches or epochs make one step of the scheduler

    @property
    def peak(self) -> float:
        return max(self.rates, default=0.0)

    @property
    def tiny(self) -> float:
        """Share of the steps with a rate below a hundredth of the peak; of those of the first
        epoch, where the training can end early."""
        rates = self.rates[: self.batches] if self.early else self.rates
        low = 0.01 * self.peak * (1 - 1e-9)  # two decays by ten end at a hundredth
        return sum(r < low for r in rates) / max(len(rates), 1)


@dataclass(frozen=True, kw_only=True)
class LrSchedule:
    """Does the learning rate go where it should over the planned training?

    What it measures
    ----------------
    A copy of the scheduler is stepped as often as the user's loop would step it (per batch or per
    epoch, for the number of epochs written there; ten where it is not known), and the rate of every
    step is recorded. Any scheduler with a `step()` is followed: piecewise, step, exponential,
    polynomial, inverse time, cosine, one-cycle, lambda, warm-up.

    Why it matters
    --------------
    A schedule meant for epochs that is stepped at every batch is over before the first epoch ends,
    and the rest of the training does nothing.

    How it decides
    --------------
    fail: the rate is zero or not finite at every step; more than half of the steps have less than a
    hundredth of the peak rate (cosine, the gentlest to zero, spends 6 %, a polynomial of power 2
    10 %, step decay by ten at two thirds and eight ninths 11 %); the scheduler raises before the
    training is over. warn: more than a quarter; a warm-up that takes more than half of the
    training; a cosine without restarts whose T_max is short of the training, so that the rate rises
    again; rates that stay below a hundredth of the optimizer's and
    2e-5; a scheduler that the loop never steps, or of another optimizer with the same weights; a
    ReduceLROnPlateau whose mode does not fit what it is given.

    Cost
    ----
    No pass of the model: only the scheduler is stepped, at most 20,000 times.

    Known limits
    ------------
    ReduceLROnPlateau depends on the loss: only its mode is looked at. Where the loop cannot be
    read, a scheduler is taken to step once an epoch, and nothing but a rate of zero fails. Steps
    under a condition, with arguments (`step(epoch + i / n)`) or of several schedulers, and loops
    over a part of the loader cannot be counted; of a training that can end early only the first
    epoch is judged.

    Example
    -------
    `StepLR(optimizer, 30)` with `scheduler.step()` in the inner loop.

    Fix
    ---
    Step once an epoch, or give the scheduler the number of batches.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "do not trust learning rate decay
    defaults"; Loshchilov & Hutter 2017 (cosine); Goyal et al. 2017 (warm-up); PyTorch documentation
    of torch.optim.lr_scheduler.
    """

    meta: ClassVar[Meta] = Meta(
        id="lr-schedule",
        stage="training",
        title="The learning rate follows a sane schedule",
        fail_title="The learning rate vanishes",
        cost="0",
        needs=frozenset({"scheduler"}),
        preset="quick",
    )
    vanished: float = 0.5  # share of the steps below a hundredth of the peak: fail
    low: float = 0.25  # likewise: warn
    warm_up: float = 0.5  # share of the steps before the peak
    shrunk: float = 0.01  # of the optimizer's rate, and below `faint`: Noam starts from 1
    faint: float = 2e-5

    def measure(self, lab: Lab) -> Plan:
        from ._schedule import see_schedule

        return see_schedule(lab)

    def judge(self, seen: Plan) -> Verdict:
        status, message, fix = self._decide(seen)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=message,
            measured=f"{seen.tiny:.0%} of {len(seen.rates)} steps below 1 % of the peak",
            expected=f"below {self.low:.0%}",
            causes=self._causes(seen) if bad else (),
            fix=Fix(text=fix) if fix else None,
            location=self._line(seen) if bad else None,
            values={"peak": seen.peak, "tiny": seen.tiny},
            details=(plot(seen),) if seen.rates else (),
        )

    def _decide(self, seen: Plan) -> tuple[Status, str, str]:
        if seen.slip[0]:
            return Status.WARN, f"{seen.name}: {seen.slip[0]}", seen.slip[1]
        when = {True: "every batch", False: "every epoch", None: "every epoch (assumed)"}
        many = f"every {seen.every} {'batches' if seen.per_batch else 'epochs'}"
        often = when[seen.per_batch] if seen.every == 1 else many
        how = f"{seen.name}, stepped {often} for {seen.epochs} epochs"
        sure = seen.known and not seen.early
        if seen.error and not (seen.early and len(seen.rates) > seen.batches):
            status = Status.FAIL if seen.known else Status.WARN
            return (
                status,
                f"{how}, raises after {len(seen.rates)} steps: {seen.error}",
                ("give the scheduler the number of steps that the training takes"),
            )
        if not 0 < seen.peak < float("inf"):
            return (
                Status.FAIL,
                f"{how}: the rate is {seen.peak:g} at every step",
                ("start from a rate above zero"),
            )
        if seen.known and seen.tiny > self.low:
            return self._vanishes(seen, how)
        if seen.known and seen.built_for > 2 * seen.calls and not seen.early:
            return (
                Status.WARN,
                (
                    f"{how}: it is built for {seen.built_for} steps and gets {seen.calls}, so "
                    "that it never comes to its end"
                ),
                "step it after every batch, or build it for the steps that it gets",
            )
        if seen.given > 0 and seen.peak < min(self.shrunk * seen.given, self.faint):
            return (
                Status.WARN,
                f"{how}: the rate never exceeds {seen.peak:.1g}, where the optimizer was given "
                f"{seen.given:g}",
                "return a factor of the optimizer's rate (1.0 at the start), not the rate itself",
            )
        late = self._late_peak(seen)
        if sure and late > self.warm_up:
            return (
                Status.WARN,
                f"{how}: the rate still rises after {late:.0%} of the steps",
                ("shorten the warm-up to a few percent of the training"),
            )
        if sure and seen.period and seen.rates[-1] > 2 * min(seen.rates):
            return (
                Status.WARN,
                (f"{how}: T_max is {seen.period}, so the rate rises again before the end"),
                "set T_max to the number of scheduler steps of the whole training",
            )
        return Status.PASS, f"{how}: from {seen.rates[0]:.3g} over {seen.peak:.3g} to " \
            f"{seen.rates[-1]:.3g}", ""  # fmt: skip

    def _line(self, seen: Plan) -> Location | None:
        """`scheduler.step()` where it is called too often or too seldom, else the scheduler."""
        often = seen.per_batch is not False and seen.tiny > self.low
        seldom = seen.built_for > 2 * seen.calls
        first = seen.location if (often or seldom) and not seen.slip[0] else seen.made
        return first or seen.location

    def _vanishes(self, seen: Plan, how: str) -> tuple[Status, str, str]:
        start = next(i for i, r in enumerate(seen.rates) if r < 0.01 * seen.peak)
        epoch = start / max(seen.batches, 1)
        return (
            Status.FAIL if seen.tiny > self.vanished else Status.WARN,
            f"{how}: {seen.tiny:.0%} of the steps have less than 1 % of the peak rate, from epoch "
            f"{epoch:.3g} on",
            "call scheduler.step() once an epoch, after the loop over batches, or set the "
            f"scheduler's length to {seen.epochs} x {seen.batches} batches"
            if seen.per_batch
            else "let the rate fall more slowly: set the scheduler's length to the whole training",
        )

    @staticmethod
    def _late_peak(seen: Plan) -> float:
        """Share of the steps before the rate first reaches 90 % of its peak, for rising starts."""
        if not seen.rates or seen.rates[0] >= 0.5 * seen.peak:
            return 0.0
        first = next(i for i, rate in enumerate(seen.rates) if rate >= 0.9 * seen.peak)
        return first / len(seen.rates)

    def _causes(self, seen: Plan) -> tuple[Cause, ...]:
        early = seen.tiny > self.low and seen.per_batch is True
        return (
            Cause(
                title="a schedule for epochs is stepped at every batch",
                state=CauseState.NOT_TESTED if seen.per_batch is None else state_of(early),
                evidence=f"{seen.batches} batches an epoch",
            ),
            Cause(title="the schedule is shorter than the training",
                  state=state_of(bool(seen.error) or seen.tiny > self.low or bool(seen.period))),
            Cause(title="the warm-up never ends",
                  state=state_of(self._late_peak(seen) > self.warm_up)),
        )  # fmt: skip
