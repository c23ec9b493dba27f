"""Does a next-token model see the future?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Future:
    """Largest relative change of an output when only later tokens changed, and the operation."""

    change: float
    op: str
    location: Location | None
    copies: bool = False  # the target is the input itself
    back: int = 0  # places by which the target lags behind the input


@dataclass(frozen=True, kw_only=True)
class TimeDependency:
    """Does a next-token model see the future?

    What it measures
    ----------------
    Where the target is the input shifted by one, the tokens after a position are exchanged, and
    the outputs up to that position are compared.

    Why it matters
    --------------
    A missing or misplaced causal mask lets the model copy the answer: the loss falls near zero,
    and generation is useless.

    How it decides
    --------------
    fail: an output changes by more than 1e-5 (relative) when only later tokens change. warn:
    the target of a causal model is its input, unshifted, or an earlier token of it: copying solves
    it. skip: the target is not the input shifted by one.

    Cost
    ----
    4 forward passes; 2 more to name the line.

    Known limits
    ------------
    Only shifts by one are recognised.

    Example
    -------
    `F.scaled_dot_product_attention(q, k, v)` without `is_causal=True`.

    Fix
    ---
    Mask the future: is_causal=True, or a triangular mask.

    Sources
    -------
    Vaswani et al. 2017, 3.2.3; karpathy/nanoGPT issue 331.
    """

    meta: ClassVar[Meta] = Meta(
        id="time-dependency",
        stage="skeleton",
        title="Outputs do not see the future",
        fail_title="Outputs see the future",
        cost="4 to 6 F",
        after=("batch-dependency",),
        preset="quick",
    )
    tolerance: float = 1e-5  # relative change of an output that must not change

    def measure(self, lab: Lab) -> Future:
        from ._future import see_future

        return see_future(lab)

    def judge(self, seen: Future) -> Verdict:
        if seen.copies:
            return _copying(seen)
        if seen.back:
            return _looking_back(seen)
        leaks = seen.change > self.tolerance
        where = f", first at {seen.op}" if seen.op else ""
        return Verdict(
            status=Status.FAIL if leaks else Status.PASS,
            message=f"exchanging later tokens changes earlier outputs by {seen.change:.1e}{where}"
            if leaks
            else "earlier outputs do not change when later tokens do",
            measured=f"change {seen.change:.1e}",
            expected="0",
            location=seen.location if leaks else None,
            fix=Fix(text="mask the future: is_causal=True, or a triangular mask")
            if leaks
            else None,
            values={"change": seen.change},
        )


def _copying(seen: Future) -> Verdict:
    return Verdict(
        status=Status.WARN,
        message="inputs and targets are the same tokens and the model looks back only: copying "
        "the input solves the task",
        measured="target = input",
        expected="target = input shifted by one",
        causes=(Cause(title="the target is not shifted", state=CauseState.MATCHES),),
        fix=Fix(text="predict the next token: x = tokens[:, :-1], y = tokens[:, 1:]"),
        location=seen.location,
    )


def _looking_back(seen: Future) -> Verdict:
    return Verdict(
        status=Status.WARN,
        message=f"each target is the input token {seen.back} place{'s' * (seen.back > 1)} earlier: "
        "the targets are shifted the wrong way, and copying a past token solves the task",
        measured=f"target = input {seen.back} back",
        expected="target = input shifted by one",
        causes=(Cause(title="the target is shifted the wrong way", state=CauseState.MATCHES),),
        fix=Fix(text="predict the next token: x = tokens[:, :-1], y = tokens[:, 1:]"),
        location=seen.location,
    )
