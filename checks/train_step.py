"""Does the user's own training loop do its steps in the right order?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Slip:
    """One mistake in a loop."""

    title: str
    text: str
    fix: str
    location: Location | None
    certain: bool


@dataclass(frozen=True)
class Loops:
    """The loops that were read, as (header, file and line, steps in order), and what is wrong."""

    loops: tuple[tuple[str, str, str], ...]
    slips: tuple[Slip, ...]
    looked_for: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """Does the user's own training loop do its steps in the right order?

    What it measures
    ----------------
    The source of the training loop, wherever it stands (below `__main__`, in a function, in a
    method, in a module beside the target); functions of the user's own are followed. Nothing of it
    is run. Of a captured script (--capture) the first steps are run once more and recorded: order
    and gradients are judged as they were, at the lines that made the calls.

    Why it matters
    --------------
    Loops with a missing zero_grad or a model left in eval mode run without an error and train
    badly.

    How it decides
    --------------
    fail: nothing in the loop clears gradients, or they are cleared once an epoch while every batch
    steps; gradients of most batches are cleared before any step; gradients are clipped after the
    step that uses them, below a loss scale, or to a thousandth of their size; the model is switched
    to eval in an epoch and never back to train (where it has dropout or batch statistics); the
    model is built anew or reset in every epoch, or the loop runs a copy of it; no optimizer steps;
    a method is named and not called (`optimizer.step`); the forward pass keeps no graph, the loss
    is made anew as a leaf, or adds up over batches; the best weights are kept by reference. warn:
    gradients are accumulated without dividing the loss; the scheduler steps before the optimizer;
    an optimizer is made in the loop, or cleared and never stepped; validation in training mode, on
    training data, or with steps; the worse epoch kept as the best; a constant seed in every epoch;
    a rate divided at every batch; losses summed up with their graphs; predictions taken over the
    wrong axis or divided by batches for the accuracy.

    Cost
    ----
    None: the source is read. With --capture at most 40 steps of the script, in another process.

    Known limits
    ------------
    Loops of frameworks have nothing to read, but are recorded with --capture. Where a function
    that cannot be followed receives the optimizer, nothing is said to be missing.

    Example
    -------
    `loss.backward(); optimizer.step(); clip_grad_norm_(model.parameters(), 1.0)`.

    Fix
    ---
    optimizer.zero_grad(); loss = loss_fn(model(x), y); loss.backward(); clip; optimizer.step();
    scheduler.step().

    Sources
    -------
    Karpathy's list of common mistakes (2018), items 2 and 3; PyTorch documentation of
    torch.optim; TrainCheck (OSDI 2025).
    """

    meta: ClassVar[Meta] = Meta(
        id="train-step",
        stage="training",
        title="The training loop is in order",
        fail_title="The training loop is out of order",
        cost="0",
        preset="quick",
    )

    def measure(self, lab: Lab) -> Loops:
        from ._rerun_order import see_training

        return see_training(lab)

    def observe(self, lab: Lab) -> Loops:
        from ._rerun_order import see_training

        return see_training(lab)

    def judge(self, seen: Loops) -> Verdict:
        worst = sorted(seen.slips, key=lambda slip: not slip.certain)
        found = {slip.title for slip in worst}
        first = worst[0] if worst else None
        status = Status.PASS
        if first is not None:
            status = Status.FAIL if first.certain else Status.WARN
        return Verdict(
            status=status,
            message="; ".join(slip.text for slip in worst) or f"read {seen.loops[0][1]}: in order",
            measured=", ".join(slip.title for slip in worst) or "nothing out of order",
            expected="zero_grad, backward, clip, step, schedule",
            causes=tuple(
                Cause(
                    title=title,
                    state=CauseState.MATCHES if title in found else CauseState.RULED_OUT,
                )
                for title in sorted(seen.looked_for, key=lambda t: t not in found)
            )
            if worst
            else (),
            fix=Fix(text=first.fix) if first else None,
            location=first.location if first else None,
            values={"slips": len(worst)},
            details=(
                Table(
                    title="Training loops found",
                    columns=("loop", "where", "what it does"),
                    rows=seen.loops,
                ),
            ),
        )
