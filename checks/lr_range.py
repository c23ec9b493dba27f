"""Where does the loss fall fastest, and where does the user's learning rate lie?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import (
    Cause,
    Fix,
    Line,
    Mark,
    Meta,
    Series,
    Status,
    Table,
    Verdict,
    thin,
)

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab, Location


@dataclass(frozen=True)
class Sweep:
    """Smoothed loss at rates that rise exponentially. `diverges` is the rate at which the loss
    ran away (None where it never did), `best` the one of the steepest fall."""

    optimizer: str
    rate: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    best: float
    diverges: float | None
    location: Location | None = None  # the line that made the optimizer


@dataclass(frozen=True, kw_only=True)
class LrRange:
    """Where does the loss fall fastest, and where does the user's learning rate lie?

    What it measures
    ----------------
    The user's optimizer on a copy takes 60 steps over the training batches while its rate rises
    exponentially from a ten-millionth to 10; the smoothed loss gives the rate of the steepest fall
    and the one at which it runs away.

    Why it matters
    --------------
    The learning rate is the first hyperparameter to get right: one that is a thousand times too
    small looks like a model that cannot learn.

    How it decides
    --------------
    fail: the user's rate is at least 10 times the one at which the loss runs away. warn: it is
    at or above that rate; it is below 3/10,000 of the suggested one, which is the rate of the
    steepest fall, at most a tenth of the one at which the loss runs away.

    Cost
    ----
    At most 60 training steps.

    Known limits
    ------------
    A rate of zero at the start (warm-up) is judged by the largest rate of the groups; where it is
    zero everywhere, or nothing lowers the loss, the check is skipped. A suggestion, not a law: it
    holds for the start of training.

    Example
    -------
    `Adam(lr=1e-8)`.

    Fix
    ---
    Take the suggested rate.

    Sources
    -------
    Smith 2017, Cyclical Learning Rates (range test); Karpathy, A Recipe for Training Neural
    Networks (2019).
    """

    meta: ClassVar[Meta] = Meta(
        id="lr-range",
        stage="training",
        title="The learning rate is in range",
        fail_title="The learning rate is out of range",
        cost="60 S",
        needs=frozenset({"optimizer"}),
        after=("determinism",),
        preset="default",
        seeded=True,
    )
    far: float = 10.0  # times the rate of divergence
    small: float = 3e-4  # of the suggested rate: Adam at 1e-4 on small networks measures 1e-3

    def measure(self, lab: Lab) -> Sweep:
        from ._sweep import see_sweep

        return see_sweep(lab)

    def borderline(self, seen: Sweep) -> bool:
        """Within a factor of three of a limit, on the wrong side."""
        limits = [self.small * seen.best, *([seen.diverges] if seen.diverges else [])]
        near = any(1 / 3 < seen.rate / limit < 3 for limit in limits)
        return near and self._decide(seen)[0] is not Status.PASS

    def judge(self, seen: Sweep) -> Verdict:
        status, message = self._decide(seen)
        bad = status is not Status.PASS
        limit = f"{seen.diverges:.1g}" if seen.diverges else "above 10"
        return Verdict(
            status=status,
            message=message,
            measured=f"{seen.rate:g}",
            expected=f"about {seen.best:.1g}, below {limit}",
            causes=_causes(seen, self.small) if bad else (),
            fix=Fix(text=f"use a learning rate of about {seen.best:.1g}") if bad else None,
            location=seen.location if bad else None,
            values={"rate": seen.rate, "suggested": seen.best},
            details=(_plot(seen), _table(seen)),
        )

    def _decide(self, seen: Sweep) -> tuple[Status, str]:
        if seen.diverges is not None and seen.rate >= seen.diverges:
            status = Status.FAIL if seen.rate >= self.far * seen.diverges else Status.WARN
            return status, (
                f"the learning rate {seen.rate:g} lies {seen.rate / seen.diverges:.2g} times above "
                f"{seen.diverges:.2g}, where the loss of {seen.optimizer} runs away"
            )
        if seen.rate < self.small * seen.best:
            return Status.WARN, (
                f"the learning rate {seen.rate:g} is {seen.best / seen.rate:.0f} times below "
                f"{seen.best:.2g}, where the loss falls fastest"
            )
        return Status.PASS, (
            f"{seen.rate:g}; the loss falls fastest at about {seen.best:.1g}"
            + (f" and runs away at {seen.diverges:.1g}" if seen.diverges else "")
        )


def _causes(seen: Sweep, small: float) -> tuple[Cause, ...]:
    high = seen.diverges is not None and seen.rate >= seen.diverges
    return (
        Cause(title="the learning rate is too high", state=state_of(high),
              check="optimizer-learns"),
        Cause(title="the learning rate is too low", state=state_of(seen.rate < small * seen.best),
              check="optimizer-learns"),
    )  # fmt: skip


def _table(seen: Sweep) -> Table:
    return Table(
        title="Rates",
        columns=("what", "learning rate"),
        rows=(("yours", seen.rate), ("steepest fall", seen.best), ("runs away", seen.diverges)),
    )


def _plot(seen: Sweep) -> Series:
    from math import log10

    return Series(
        title="Loss while the learning rate rises",
        x_label="log10 of the learning rate",
        y_label="smoothed loss",
        lines=(Line(name=seen.optimizer, x=thin([log10(r) for r in seen.rates]),
                    y=thin(seen.losses)),),
        marks=(Mark(name="start", value=seen.losses[0]),),
        caption=f"Yours is {log10(seen.rate):.2g} on this axis, the steepest fall at "
        f"{log10(seen.best):.2g}",
    )  # fmt: skip
