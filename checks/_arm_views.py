"""What `input-independent-baseline` shows, and what it advises."""

from __future__ import annotations

from recipe_check import Line, Mark, Series

from ._arm_values import Arms

FIX = {
    "misaligned": "shuffle inputs and labels with the same permutation, and look at pairs of them",
    "ignored": "fix overfit-one-batch first",
    "leak": "look for the label in lengths, masks, the order of samples, or batch statistics",
    "undecided": "run again with more steps, or check that the inputs can predict the labels",
    "learns": "",
    "related": "",
}


def plot(seen: Arms) -> Series:
    """The held-out loss of the three fits over time."""
    marks = () if seen.prior is None else (Mark(name="class frequencies", value=seen.prior),)
    return Series(
        title="Held-out loss of the three fits",
        x_label="training step",
        y_label="held-out loss",
        lines=tuple(
            Line(
                name=arm.name,
                x=tuple(float(r.step) for r in arm.rounds),
                y=tuple(r.mean for r in arm.rounds),
            )
            for arm in (seen.real, seen.zeros, seen.permuted)
        ),
        marks=marks,
        caption="Real inputs must end lowest",
    )
