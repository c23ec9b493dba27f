"""Are regression targets of a size that the model's outputs can reach?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Targets:
    """Targets over the whole loader, and the untrained model's outputs."""

    mean: float
    std: float
    low: float
    high: float
    output_mean: float
    output_std: float
    location: Location | None  # the last operation on the targets, else the loss call
    validation: tuple[float, float] | None = None  # mean and deviation of the validation targets
    validation_location: Location | None = None

    @property
    def shift(self) -> tuple[float, float]:
        """How many training deviations the validation mean is away, and the larger deviation over
        the smaller."""
        if self.validation is None or not self.std:
            return 0.0, 1.0
        mean, std = self.validation
        ratio = max(std, self.std) / max(min(std, self.std), 1e-12)
        return abs(mean - self.mean) / self.std, ratio

    @property
    def smallness(self) -> float:
        """How much larger the untrained outputs are than the largest target."""
        return self.output_std / max(abs(self.low), abs(self.high), 1e-300)

    @property
    def distance(self) -> float:
        """How far outputs have to travel, in units of their own size (at least one)."""
        far = max(abs(self.mean - self.output_mean), self.std)
        return far / max(self.output_std, abs(self.output_mean), 1.0)


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """Are regression targets of a size that the model's outputs can reach?

    What it measures
    ----------------
    Mean and standard deviation of the targets over the whole loader, against those of the
    untrained model's outputs.

    Why it matters
    --------------
    An optimizer moves an output by about its learning rate at each step: to reach targets around
    10,000 it needs thousands of steps, or gradients so large that they destroy the weights.

    How it decides
    --------------
    warn: the targets' deviation, or the distance of their mean from the mean output, exceeds 10
    times the size of the outputs (at least 1); the untrained outputs are 300 times as large as the
    largest target (a step of the optimizer is far more than a target then); the validation targets
    have five times the deviation, or a mean five deviations away (32 of them at least).

    Cost
    ----
    None of its own: the shared reading of the data and the shared trace.

    Known limits
    ------------
    Only losses of torch that compare prediction and target (mse, l1, smooth_l1, huber, gaussian
    likelihood) are looked at. A last bias set to the targets' mean passes, as it should.

    Example
    -------
    House prices in dollars as targets of an MLP.

    Fix
    ---
    Standardise the targets with the training data's mean and deviation, or start the last bias at
    their mean and divide by their deviation.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "init well": a regression of mean 50
    wants its final bias at 50; Google, Deep Learning Tuning Playbook.
    """

    meta: ClassVar[Meta] = Meta(
        id="target-scale",
        stage="data",
        severity="warning",
        title="Targets are scaled",
        fail_title="Targets are far from the outputs",
        cost="0 (shared)",
        after=("batch-contract", "input-scale"),
        preset="quick",
    )
    largest: float = 10.0  # sizes of the outputs (CHECKS: about ten times the output's scale)
    smallest: float = 300.0  # times smaller than the outputs; steps of Adam are about 1e-3 of these
    apart: float = 5.0  # training deviations, or times the deviation: other units

    def measure(self, lab: Lab) -> Targets:
        from ._target_scale import see_targets

        return see_targets(lab)

    def judge(self, seen: Targets) -> Verdict:
        message, fix, location = self._decide(seen)
        text = f"targets have mean {seen.mean:.4g} and standard deviation {seen.std:.4g}"
        return Verdict(
            status=Status.WARN if message else Status.PASS,
            message=message or text,
            measured=f"mean {seen.mean:.4g}, deviation {seen.std:.4g}",
            expected=f"within {self.largest:g} output sizes",
            fix=Fix(text=fix) if message else None,
            location=location if message else None,
            values={"mean": seen.mean, "std": seen.std, "distance": seen.distance},
            details=(_table(seen),),
        )

    def _decide(self, seen: Targets) -> tuple[str, str, Location | None]:
        """Message, fix and line; no message where nothing is wrong."""
        text = f"targets have mean {seen.mean:.4g} and standard deviation {seen.std:.4g}"
        outputs = f"outputs {seen.output_mean:.3g} and {seen.output_std:.3g}"
        fix = f"standardise the targets: (y - {seen.mean:.4g}) / {seen.std:.4g}"
        shift, ratio = seen.shift
        if seen.validation is not None and max(shift, ratio) > self.apart:
            return (
                f"validation targets are scaled differently: mean {seen.validation[0]:.4g} and "
                f"deviation {seen.validation[1]:.4g}, training {seen.mean:.4g} and {seen.std:.4g}",
                "apply the training targets' scaling to the validation targets, too",
                seen.validation_location,
            )
        if seen.distance > self.largest:
            return (
                f"{text}, the untrained {outputs}: {seen.distance:.3g} times their size away",
                fix,
                seen.location,
            )
        if seen.std and seen.smallness > self.smallest:
            return (
                f"{text}, the untrained {outputs}: the targets are {seen.smallness:.3g} times "
                "smaller, and every step overshoots them",
                fix,
                seen.location,
            )
        return "", "", None


def _table(seen: Targets) -> Table:
    return Table(
        title="Targets and untrained outputs",
        columns=("what", "mean", "std", "minimum", "maximum"),
        rows=(
            ("targets", seen.mean, seen.std, seen.low, seen.high),
            ("outputs", seen.output_mean, seen.output_std, None, None),
        ),
    )
