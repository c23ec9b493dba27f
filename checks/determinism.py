"""Do two runs with the same seed give the same losses?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Line, Location, Meta, Series, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Runs:
    """Losses of two runs from the same state and seed; `warnings` are torch's own words on
    operations without a deterministic form."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    warnings: tuple[str, ...]
    location: Location | None = None  # the first operation that differs
    rounding: float = 0.0  # relative difference that parallel sums of this device may make

    @property
    def differing(self) -> int | None:
        """The first step at which they differ."""
        pairs = enumerate(zip(self.first, self.second, strict=True))
        return next((i for i, (a, b) in pairs if self._differ(a, b)), None)

    @property
    def is_rounded(self) -> bool:
        """Whether they are equal up to rounding alone."""
        return self.differing is None and repr(self.first) != repr(self.second)

    def _differ(self, one: float, other: float) -> bool:
        return repr(one) != repr(other) and not abs(one - other) <= self.rounding * abs(other)


@dataclass(frozen=True, kw_only=True)
class Determinism:
    """Do two runs with the same seed give the same losses?

    What it measures
    ----------------
    Three training steps on the same batches, twice, from the same weights and with all generators
    of torch, NumPy and random seeded alike; the losses are compared bit by bit.

    Why it matters
    --------------
    Without a repeatable run no change can be compared with what was before, and no bug be
    bisected.

    How it decides
    --------------
    warn: the losses differ in any bit; on a GPU, whose kernels add in no fixed order, by more than
    1e-3 of their size (what torch.testing.assert_close allows half precision). Where they do, torch
    is asked which operations have no deterministic form.

    Cost
    ----
    6 training steps; 3 more and 2 forward passes where they differ.

    Known limits
    ------------
    Only within one process on one machine: another number of threads or another GPU may add in
    another order.

    Example
    -------
    Noise drawn from `os.urandom` or from a generator that is seeded by the clock.

    Fix
    ---
    Draw from torch's generator; `torch.use_deterministic_algorithms(True)` on GPUs.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "fix random seed"; PyTorch documentation
    on reproducibility.
    """

    meta: ClassVar[Meta] = Meta(
        id="determinism",
        stage="training",
        severity="warning",
        title="Same seed, same losses",
        fail_title="Same seed, other losses",
        cost="6 S",
        preset="default",
    )

    def measure(self, lab: Lab) -> Runs:
        from ._repeats import see_runs

        return see_runs(lab)

    def judge(self, seen: Runs) -> Verdict:
        step = seen.differing
        bad = step is not None
        return Verdict(
            status=Status.WARN if bad else Status.PASS,
            message=f"two runs with the same seed differ from step {step} on: "
            f"{seen.first[step]:.6g} and {seen.second[step]:.6g}"
            if step is not None
            else _equal(seen),
            measured=f"differ at step {step}" if bad else "equal",
            expected="equal up to rounding" if seen.rounding else "equal bit by bit",
            causes=_causes(seen) if bad else (),
            fix=Fix(text="draw all noise from torch's generator; on a GPU also call "
                    "torch.use_deterministic_algorithms(True)") if bad else None,
            location=seen.location,
            details=(_plot(seen),) if bad else (),
        )  # fmt: skip


def _equal(seen: Runs) -> str:
    if not seen.is_rounded:
        return f"{len(seen.first)} steps are repeated bit by bit"
    pairs = zip(seen.first, seen.second, strict=True)
    most = max(abs(a - b) / max(abs(b), 1e-30) for a, b in pairs)
    return (
        f"{len(seen.first)} steps are repeated up to rounding ({most:.1g} of the loss): "
        "parallel sums on this device"
    )


def _causes(seen: Runs) -> tuple[Cause, ...]:
    named = bool(seen.warnings)
    return (
        Cause(
            title="an operation without a deterministic form",
            state=CauseState.MATCHES if named else CauseState.RULED_OUT,
            evidence="; ".join(seen.warnings[:2]),
        ),
        Cause(
            title="randomness that no seed reaches",
            state=CauseState.RULED_OUT if named else CauseState.MATCHES,
        ),
    )


def _plot(seen: Runs) -> Series:
    steps = tuple(float(i) for i in range(len(seen.first)))
    return Series(
        title="Losses of two runs with the same seed",
        x_label="step",
        y_label="loss",
        lines=(Line(name="first", x=steps, y=seen.first),
               Line(name="second", x=steps, y=seen.second)),
    )  # fmt: skip
