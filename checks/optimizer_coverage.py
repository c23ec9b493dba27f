"""Does the optimizer hold the parameters that should train?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, Fix, Location, Meta, Status, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Coverage:
    """Trainable tensors held, the names of those missing that get a gradient and their share of
    the elements, and how many tensors of the optimizer belong to nothing here."""

    held: int
    missing: tuple[str, ...]
    missing_share: float
    foreign: int
    twice: int = 0  # tensors that stand in the groups more than once
    still: tuple[str, ...] = ()  # names in a group whose rate is zero, while others have one
    location: Location | None = None  # the line that made the optimizer


@dataclass(frozen=True, kw_only=True)
class OptimizerCoverage:
    """Does the optimizer hold the parameters that should train?

    What it measures
    ----------------
    The tensors in the optimizer's groups are compared, by identity, with the model's parameters.

    Why it matters
    --------------
    A parameter outside the optimizer never moves; an optimizer that holds another model's
    parameters trains nothing.

    How it decides
    --------------
    fail: the optimizer holds none of the model's trainable parameters, or holds parameters of
    another model while trainable ones are missing, or misses trainable weights that get a
    gradient and make up more than half of the model. warn: it misses others that get a gradient;
    a tensor stands in it twice (each step moves it twice); a group has a rate of zero that no
    schedule and no line raises, while others have one.

    Cost
    ----
    None of its own.

    Known limits
    ------------
    Two optimizers that share a model (GAN) are only seen one at a time: parameters without a
    gradient in the step, or in another optimizer of the file, are not counted.

    Example
    -------
    `torch.optim.Adam(model.head.parameters())` for a model that should train whole.

    Fix
    ---
    Pass model.parameters(), and set requires_grad=False on what is meant to stay.

    Sources
    -------
    PyTorch documentation of torch.optim; ACEsuit/mace issue 1529.
    """

    meta: ClassVar[Meta] = Meta(
        id="optimizer-coverage",
        stage="model",
        title="The optimizer holds every trainable weight",
        fail_title="The optimizer misses trainable weights",
        cost="0 (shared trace)",
        needs=frozenset({"optimizer"}),
        preset="quick",
    )
    fail_share: float = 0.5  # of the trainable elements that get a gradient

    def measure(self, lab: Lab) -> Coverage:
        from ._coverage import see_coverage

        return see_coverage(lab)

    def judge(self, seen: Coverage) -> Verdict:
        if not seen.missing and not seen.foreign and (seen.twice or seen.still):
            return _held_badly(seen)
        if not seen.missing and not seen.foreign:
            return Verdict(
                status=Status.PASS,
                message=f"the optimizer holds all {seen.held} trainable tensors",
                measured=f"{seen.held} of {seen.held}",
                expected="all",
            )
        total = seen.held + len(seen.missing)
        names = ", ".join(seen.missing[:4]) + (" …" if len(seen.missing) > 4 else "")
        stale = f" and {seen.foreign} tensors of something else" if seen.foreign else ""
        serious = (
            not seen.held or seen.missing_share > self.fail_share or (seen.foreign and seen.missing)
        )
        return Verdict(
            status=Status.FAIL if serious else Status.WARN,
            message=f"the optimizer holds {seen.held} of {total} trainable tensors{stale}; "
            f"missing: {names or 'none'}",
            measured=f"{seen.held} of {total} held",
            expected="all",
            fix=Fix(
                text="pass model.parameters() after the model is final, or freeze what is "
                "meant to stay with requires_grad_(False)"
            ),
            location=seen.location,
            values={"missing_share": seen.missing_share},
        )


def _held_badly(seen: Coverage) -> Verdict:
    """Everything is held, but not as it should be."""
    text = f"{seen.twice} tensors stand in the optimizer twice: every step moves them twice"
    fix = "give each parameter once: list(dict.fromkeys(parameters))"
    if not seen.twice:
        names = ", ".join(seen.still[:4]) + (" …" if len(seen.still) > 4 else "")
        text = f"{len(seen.still)} tensors are in a group whose learning rate is zero: {names}"
        fix = "give the group a rate, or freeze what is meant to stay"
    return Verdict(
        status=Status.WARN,
        message=text,
        measured=f"{seen.twice} twice, {len(seen.still)} at rate zero",
        expected="each once, with a rate",
        causes=(
            Cause(title="a parameter is given twice", state=state_of(bool(seen.twice))),
            Cause(title="a group's rate is zero", state=state_of(bool(seen.still))),
        ),
        fix=Fix(text=fix),
        location=seen.location,
        values={"twice": seen.twice, "still": len(seen.still)},
    )
