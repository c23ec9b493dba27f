"""Causes, fix and plots of `initial-loss`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from recipe_check import (
    Bars,
    Cause,
    Fix,
    Mark,
    Table,
)

from ._tested import state_of

if TYPE_CHECKING:
    from ._uninformative import LossLevel


def terms_table(seen: tuple[LossLevel, ...]) -> Table:
    return Table(
        title="Terms of the loss",
        columns=("term", "measured", "expected"),
        rows=tuple(
            (level.kind, average([s.measured for s in level.samples]),
             average([s.expected for s in level.samples]))
            for level in seen
        ),
    )  # fmt: skip


def average(values: list[float]) -> float:
    return sum(values) / len(values)


def formula(seen: LossLevel, expected: float) -> str:
    """` (ln 10)` where that is what it is."""
    if seen.classes > 1 and abs(expected - math.log(seen.classes)) < 1e-3:
        return f" (ln {seen.classes})"
    return ""


def causes_of_level(seen: LossLevel, measured: float, expected: float) -> tuple[Cause, ...]:
    if not math.isfinite(measured):
        return (_broken(seen),)
    excess, gaussian = measured - expected, seen.spread**2 / 2
    wide = seen.classifying and seen.spread > 1.0 and excess > 0
    raw = max(seen.input_std, abs(seen.input_mean)) > 10
    far = not seen.classifying and abs(seen.target_mean) > 2 * max(seen.target_std, 1e-12)
    return (
        Cause(
            title="the last layer starts too large",
            state=state_of(wide),
            evidence=f"logits have standard deviation {seen.spread:.3g}; Gaussian ones of that "
            f"size cost about {gaussian:.3g} above chance",
        ),
        Cause(
            title="the inputs are not scaled",
            state=state_of(raw),
            evidence=f"input mean {seen.input_mean:.3g}, standard deviation {seen.input_std:.3g}",
            check="input-scale",
        ),
        Cause(
            title="the targets are far from zero",
            state=state_of(far),
            evidence=f"target mean {seen.target_mean:.3g}, standard deviation "
            f"{seen.target_std:.3g}",
            check="target-scale",
        ),
        Cause(
            title="the loss is summed over the batch (reduction='sum')",
            state=state_of(seen.summed),
            check="loss-contract",
        ),
    )


def _broken(seen: LossLevel) -> Cause:
    """No scale explains a loss that is not finite."""
    found = seen.broken
    return Cause(
        title="an operation that is not finite",
        state=state_of(found is not None),
        evidence=f"{found.op or 'the data'}: {found.why}" if found else "",
        check="gradient-norms",
    )


def fix_of(seen: LossLevel, measured: float, expected: float) -> Fix:
    if not math.isfinite(measured):
        return Fix(text="guard logarithms, divisions and square roots with a small constant, and "
                   "look for NaN in the data (batch-contract)")  # fmt: skip
    if max(seen.input_std, abs(seen.input_mean)) > 10:
        return Fix(text="scale the inputs to mean 0 and standard deviation 1 (or to 0..1)")
    if seen.summed:
        return Fix(text="use reduction='mean', or divide by the number of samples")
    if not seen.classifying:
        return Fix(text=f"standardise the targets, or set the last bias to their mean "
                   f"({seen.target_mean:.4g})")  # fmt: skip
    if measured < expected:
        return Fix(text="make sure that the input does not contain the label")
    return Fix(text="initialise the last layer small (embeddings and heads with std 0.02)")


def plot_level(seen: LossLevel, expected: float) -> Bars:
    return Bars(
        title="Loss of the untrained model",
        value_label=f"{seen.kind}",
        names=tuple(f"batch {number + 1}" for number in range(len(seen.samples))),
        values=tuple(sample.measured for sample in seen.samples),
        marks=(Mark(name="chance", value=expected),),
        caption="One stick for each batch and initialisation; the line is the loss of the "
        "uninformative prediction on the same targets",
    )
