"""Are the gradients right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Bars, Cause, CauseState, Fix, Location, Mark, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Slopes:
    """The slope of the loss along one direction, both ways, and the Function to blame."""

    analytic: float
    numeric: float
    error: float  # relative, the best over step sizes and points
    step: float
    function: str
    function_error: float
    nature: str  # wrong, identity, step, or '' where no custom Function is to blame
    location: Location | None


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """Compares autograd's gradient with a numerical derivative of the same loss.

    What it measures
    ----------------
    On a float64 copy without dropout, and on four samples, the slope of the loss along one
    direction over all parameters (for each tensor its normalised gradient plus a random unit
    vector) is taken from the gradient and by central differences. What the model detaches on
    purpose is held fixed on both sides.

    Why it matters
    --------------
    A wrong backward of a custom autograd.Function raises no error: the model trains a little, in
    a wrong direction.

    How it decides
    --------------
    Relative error |a - n| / max(|a|, |n|), the best over the steps 1e-7, 1e-6, 1e-5 and, where it
    is off, over a second point (kinks of ReLU move). pass: at most 1e-6 (clean models measured
    1e-11 to 5e-9). fail: above 1e-6, and a custom autograd.Function fails the same comparison on
    its own inputs. A Function whose forward is the identity or piecewise constant has another
    gradient on purpose (reversal, clipping, straight-through): pass, and it is named. warn: more
    than 1e-2 without any such Function.

    Cost
    ----
    3 forward passes and 1 backward in float64 on 4 samples of a clean model of any size; up to 16
    and 2 where they disagree.

    Known limits
    ------------
    Skipped where part of the computation stays in float32, or the model does not run in float64.

    Example
    -------
    A backward that returns `2 * x` instead of `2 * x * grad_output`.

    Fix
    ---
    Multiply every local derivative by grad_output; test the Function with
    torch.autograd.gradcheck.

    Sources
    -------
    CS231n, Neural Networks 3, gradient checks (thresholds for float32: 1e-2 wrong); Karpathy, A
    Recipe for Training Neural Networks (2019).
    """

    meta: ClassVar[Meta] = Meta(
        id="gradient-check",
        stage="skeleton",
        title="Gradients agree with differences",
        fail_title="A backward pass computes a wrong gradient",
        cost="3 to 16 F, 1 to 2 B",
        after=("initial-loss", "dead-relu"),
        group="gradients",
    )
    tolerance: float = 1e-6  # relative, float64; one wrong backward in 12 layers gave 1e-7 to 4e-3
    unexplained: float = 1e-2  # relative; CS231n: above it the gradient is probably wrong

    def measure(self, lab: Lab) -> Slopes:
        from ._slopes import see_slopes

        return see_slopes(lab, self.tolerance)

    def judge(self, seen: Slopes) -> Verdict:
        status = self._status(seen)
        return Verdict(
            status=status,
            message=_message(seen, status),
            measured=f"relative error {seen.error:.1e}",
            expected=f"at most {self.tolerance:g}",
            causes=_causes(seen) if status is not Status.PASS else (),
            fix=_fix(seen) if status is not Status.PASS else None,
            location=seen.location if status is not Status.PASS else None,
            values={"error": seen.error, "analytic": seen.analytic, "numeric": seen.numeric},
            details=(self._plot(seen),),
        )

    def _status(self, seen: Slopes) -> Status:
        if seen.error <= self.tolerance:
            return Status.PASS
        if seen.nature == "wrong":
            return Status.FAIL
        if seen.nature:
            return Status.PASS
        return Status.WARN if seen.error > self.unexplained else Status.PASS

    def _plot(self, seen: Slopes) -> Bars:
        names, values = ["whole loss"], [seen.error]
        if seen.function:
            names.append(seen.function)
            values.append(seen.function_error)
        return Bars(
            title="Relative error of the gradient",
            value_label="relative error",
            names=tuple(names),
            values=tuple(max(value, 1e-16) for value in values),
            marks=(Mark(name="limit", value=self.tolerance),),
            log_y=True,
            caption=f"slope by autograd {seen.analytic:.6g}, by differences {seen.numeric:.6g}",
        )


def _message(seen: Slopes, status: Status) -> str:
    if seen.nature == "wrong":
        return (
            f"{seen.function}.backward does not match its forward (relative error "
            f"{seen.function_error:.1e}): gradients behind it are wrong"
        )
    if seen.nature:
        meant = {"identity": "passes its input on and changes the gradient",
                 "step": "is piecewise constant and passes a made-up gradient"}  # fmt: skip
        return (
            f"{seen.function} {meant[seen.nature]}: taken as meant (gradient reversal, clipping, "
            "straight-through)"
        )
    if status is Status.PASS:
        return f"the slope of the loss agrees with differences to {seen.error:.1e}"
    return (
        f"the gradient and the differences disagree by {seen.error:.1e}, and no custom Function "
        "explains it: the loss may be discontinuous or change between passes"
    )


def _causes(seen: Slopes) -> tuple[Cause, ...]:
    wrong = seen.nature == "wrong"
    return (
        Cause(
            title="a custom autograd.Function has a wrong backward",
            state=CauseState.MATCHES if wrong else CauseState.RULED_OUT,
            evidence=f"{seen.function}: error {seen.function_error:.1e} on its own inputs"
            if wrong
            else "",
        ),
        Cause(
            title="the gradient is replaced on purpose (straight-through, reversal)",
            state=CauseState.RULED_OUT,
            evidence="its forward is neither the identity nor piecewise constant" if wrong else "",
        ),
        Cause(
            title="kinks of ReLU or max",
            state=CauseState.RULED_OUT,
            evidence="three step sizes at two points",
        ),
    )


def _fix(seen: Slopes) -> Fix:
    if seen.nature != "wrong":
        return Fix(text="look for a value that changes between two passes, or for .data edits")
    return Fix(text="multiply the local derivative by grad_output, for every input; then run "
               "torch.autograd.gradcheck on the Function")  # fmt: skip
