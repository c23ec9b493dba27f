"""Does the trained model still tell its samples apart?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Outputs:
    """Spread of the outputs over samples, relative to their size, before and after the fit of one
    batch; `rank` is the effective number of directions in which the fitted outputs vary."""

    before: float
    after: float
    rank: float
    width: int
    samples: int
    dead: str  # a rectifier that is almost dead, '' where there is none
    location: Location | None
    progress: float = 1.0  # how far the batch was fitted


@dataclass(frozen=True, kw_only=True)
class OutputCollapse:
    """Does the trained model still tell its samples apart?

    What it measures
    ----------------
    The spread of the outputs over the samples of one batch, relative to their size, before and
    after the short fit of `overfit-one-batch`, and the effective rank of the fitted outputs (the
    exponential of the entropy of their normalised squared singular values).

    Why it matters
    --------------
    A network that gives every sample the same answer has lost its input on the way; its loss stops
    at that of the best constant.

    How it decides
    --------------
    fail: after the fit of samples with different targets the outputs differ by less than 1e-4 of
    their size. Equal outputs before the fit alone are sound: heads may start at zero.

    Cost
    ----
    2 forward passes beside the shared fit.

    Known limits
    ------------
    Where the fit's samples have one and the same target the check is skipped.

    Example
    -------
    A bias of -20 before the last ReLU: every sample ends as the bias of the last layer.

    Fix
    ---
    Follow the input through forward(); see dead-relu, weight-init and batch-dependency.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "input-independent baseline"; Roy &
    Vetterli 2007 (effective rank).
    """

    meta: ClassVar[Meta] = Meta(
        id="output-collapse",
        stage="model",
        title="Outputs differ between samples",
        fail_title="All samples get the same output",
        cost="2 F (shared fit)",
        after=("activation-scale",),
        preset="default",
    )
    least: float = 1e-4  # of the outputs' size; float32 resolves 1e-7

    def measure(self, lab: Lab) -> Outputs:
        from ._outputs import see_outputs

        return see_outputs(lab)

    def judge(self, seen: Outputs) -> Verdict:
        bad = seen.after < self.least
        return Verdict(
            status=Status.FAIL if bad else Status.PASS,
            message=f"after the fit all {seen.samples} samples get the same output (they differ by "
            f"{seen.after:.1e} of its size), though their targets differ"
            if bad
            else f"outputs differ by {seen.after:.2g} of their size, effective rank "
            f"{seen.rank:.2g} of {seen.width}",
            measured=f"{seen.after:.1e}",
            expected=f"above {self.least:g}",
            causes=(
                Cause(
                    title="a dead rectifier drops the input",
                    state=CauseState.MATCHES if seen.dead else CauseState.RULED_OUT,
                    evidence=seen.dead,
                    check="dead-relu",
                ),
                Cause(
                    title="the batch could not be fitted",
                    state=CauseState.MATCHES if seen.progress < 0.5 else CauseState.RULED_OUT,
                    evidence=f"the loss went {seen.progress:.0%} of its way",
                    check="overfit-one-batch",
                ),
                Cause(
                    title="the outputs were equal from the start",
                    state=CauseState.MATCHES if seen.before < self.least else CauseState.RULED_OUT,
                    evidence=f"spread {seen.before:.1e} at the initial weights",
                ),
            )
            if bad
            else (),
            fix=Fix(text="follow the input through forward(): something drops it") if bad else None,
            location=seen.location if bad else None,
            values={"before": seen.before, "after": seen.after, "rank": seen.rank},
            details=(
                Table(
                    title="Spread of the outputs over samples",
                    columns=("when", "spread relative to size"),
                    rows=(("before the fit", seen.before), ("after the fit", seen.after)),
                ),
            ),
        )
