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
    times the size of the outputs (at least 1).

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

    def measure(self, lab: Lab) -> Targets:
        from ._target_scale import see_targets

        return see_targets(lab)

    def judge(self, seen: Targets) -> Verdict:
        bad = seen.distance > self.largest
        text = f"targets have mean {seen.mean:.4g} and standard deviation {seen.std:.4g}"
        outputs = f"outputs {seen.output_mean:.3g} and {seen.output_std:.3g}"
        return Verdict(
            status=Status.WARN if bad else Status.PASS,
            message=f"{text}, the untrained {outputs}: {seen.distance:.3g} times their size away"
            if bad
            else text,
            measured=f"mean {seen.mean:.4g}, deviation {seen.std:.4g}",
            expected=f"within {self.largest:g} output sizes",
            fix=Fix(text=f"standardise the targets: (y - {seen.mean:.4g}) / {seen.std:.4g}")
            if bad
            else None,
            location=seen.location if bad else None,
            values={"mean": seen.mean, "std": seen.std, "distance": seen.distance},
            details=(_table(seen),),
        )


def _table(seen: Targets) -> Table:
    return Table(
        title="Targets and untrained outputs",
        columns=("what", "mean", "std", "minimum", "maximum"),
        rows=(
            ("targets", seen.mean, seen.std, seen.low, seen.high),
            ("outputs", seen.output_mean, seen.output_std, None, None),
        ),
    )
