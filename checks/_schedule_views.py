"""What `lr-schedule` shows: the rate at every step of the planned training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipe_check import Line, Series, thin

if TYPE_CHECKING:
    from .lr_schedule import Plan


def plot(seen: Plan) -> Series:
    """The rate over the steps, at most 400 points."""
    steps = [float(i) for i in range(len(seen.rates))]
    return Series(
        title="Learning rate over the planned training",
        x_label="step",
        y_label="learning rate",
        lines=(Line(name=seen.name, x=thin(steps), y=thin(seen.rates)),),
        caption="From a dry run of a copy of the scheduler",
    )
