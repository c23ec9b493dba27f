"""Does one step move every weight by a sane share of its size?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median, median_low
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Bars, Cause, Fix, Location, Mark, Meta, Status, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Move:
    """One weight tensor: the norm of its first step over its own norm. `stuck` where it has a
    gradient and a rate and did not move at all."""

    name: str
    ratio: float
    stuck: bool
    size: int


@dataclass(frozen=True)
class Updates:
    """All weight tensors with two or more dimensions, after one step of the user's optimizer."""

    optimizer: str
    rate: float
    dtype: str
    moves: tuple[Move, ...]
    location: Location | None = None  # the line that made the optimizer

    @property
    def middle(self) -> float:
        return median(move.ratio for move in self.moves)

    @property
    def most(self) -> float:
        """What at least half of the tensors move by: a tiny embedding before a norm may move by
        many times its size, and is no verdict on the rest."""
        return median_low(move.ratio for move in self.moves)

    @property
    def stuck(self) -> float:
        """Share of the weights (by number) that a step should move and does not."""
        total = sum(move.size for move in self.moves)
        return sum(move.size for move in self.moves if move.stuck) / max(total, 1)


@dataclass(frozen=True, kw_only=True)
class UpdateRatio:
    """Does one step move every weight by a sane share of its size?

    What it measures
    ----------------
    One step of the user's optimizer on one batch, on a copy: for each weight tensor the norm of the
    change over the norm of the weights.

    Why it matters
    --------------
    Around 1/1000 is a healthy pace. A step larger than the weights throws the initialisation away;
    one that is lost in rounding trains nothing.

    How it decides
    --------------
    fail: a weight is NaN after the step; the median ratio is above 10 (one step replaces the
    weights ten times over). warn: above 2; both only where at least half of the weights move by
    their own size. warn: below 1e-7 (float32 resolves 6e-8); at least half of
    the weights have a gradient and do not move at all, as in bfloat16 with a small rate. The usual
    band of 1e-4 to 1e-1 is only drawn: wide layers under Adam start above it and warm-ups below.

    Cost
    ----
    1 training step.

    Known limits
    ------------
    Tensors of norm zero are left out; a first rate of zero (warm-up) is skipped.

    Example
    -------
    `torch.optim.Adam(model.parameters(), lr=10)`: ratio 140

    Fix
    ---
    Change the learning rate by the factor that brings the ratio near 1e-3.

    Sources
    -------
    CS231n, Neural Networks 3, ratio of weights to updates (1e-3); TheDeepChecker (TOSEM 2022),
    unstable parameter updates.
    """

    meta: ClassVar[Meta] = Meta(
        id="update-ratio",
        stage="model",
        title="Steps are in proportion to the weights",
        fail_title="Steps are out of proportion to the weights",
        cost="1 S",
        needs=frozenset({"optimizer"}),
        preset="quick",
    )
    broken: float = 10.0  # median ratio
    large: float = 2.0  # likewise; Adam 1e-3 on rows of 4,096 weights starts at 0.1, Adagrad at 1
    replaced: float = 1.0  # ratio: a step as large as the weight itself
    small: float = 1e-7  # float32 resolves 6e-8
    stuck: float = 0.5  # share of the weights

    def measure(self, lab: Lab) -> Updates:
        from ._moves import see_moves

        return see_moves(lab)

    def judge(self, seen: Updates) -> Verdict:
        status, message, fix = self._decide(seen)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=message,
            measured=f"median {seen.middle:.2g}",
            expected="1e-4 to 1e-1, about 1e-3",
            causes=self._causes(seen) if bad else (),
            fix=Fix(text=fix) if fix else None,
            location=seen.location if bad else None,
            values={"median": seen.middle, "rate": seen.rate},
            details=(_plot(seen),),
        )

    def _decide(self, seen: Updates) -> tuple[Status, str, str]:
        how = f"the first step of {seen.optimizer} (lr {seen.rate:g})"
        broken = [move.name for move in seen.moves if not math.isfinite(move.ratio)]
        if broken:
            return Status.FAIL, f"{how} makes {broken[0]} not finite", "lower the learning rate"
        goal = f"try a learning rate near {seen.rate * 1e-3 / max(seen.middle, 1e-30):.1g}"
        if seen.middle > self.large and seen.most > self.replaced:
            status = Status.FAIL if seen.middle > self.broken else Status.WARN
            return status, f"{how} moves the weights by {seen.middle:.3g} times their size", goal
        if seen.stuck >= self.stuck:
            return (
                Status.WARN,
                (
                    f"{how} is lost in the rounding of {seen.dtype} for {seen.stuck:.0%} of the "
                    "weights"
                ),
                "keep the weights in float32 (autocast), or raise the learning rate",
            )
        if seen.middle < self.small:
            return Status.WARN, f"{how} moves the weights by {seen.middle:.1e} of their size", goal
        return Status.PASS, f"{how} moves the weights by {seen.middle:.2g} of their size", ""

    def _causes(self, seen: Updates) -> tuple[Cause, ...]:
        return (
            Cause(
                title="the learning rate is too high",
                state=state_of(not seen.middle <= self.large),
                evidence=f"lr {seen.rate:g}",
                check="optimizer-learns",
            ),
            Cause(
                title="the learning rate is too low for the weights' precision",
                state=state_of(seen.middle < self.small or seen.stuck >= self.stuck),
                evidence=f"weights are {seen.dtype}",
            ),
        )


def _plot(seen: Updates) -> Bars:
    finite = [move for move in seen.moves if math.isfinite(move.ratio)]
    return Bars(
        title="Size of the first step over the size of the weights",
        value_label="ratio",
        names=tuple(move.name for move in finite),
        values=tuple(move.ratio for move in finite),
        marks=(Mark(name="healthy", value=1e-3),),
        log_y=True,
        caption="One step of your optimizer on one batch, weights in model order",
    )
