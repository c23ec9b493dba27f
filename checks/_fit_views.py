"""Plots and tables of `overfit-one-batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipe_check import Images, Line, Mark, Series, Table, thin

if TYPE_CHECKING:
    from .overfit_one_batch import BatchFit


def details_of(seen: BatchFit) -> tuple[Series | Table | Images, ...]:
    """The curves, and what the model made of the labels."""
    lines = tuple(
        Line(
            name=attempt.name,
            x=thin([float(i) for i in range(len(attempt.losses))]),
            y=thin(attempt.losses),
        )
        for attempt in seen.attempts
    )
    marks = []
    if seen.chance is not None:
        marks.append(Mark(name="chance", value=seen.chance))
    if seen.floor is not None:
        marks.append(Mark(name="attainable", value=seen.floor))
    curve = Series(
        title="Loss on one batch",
        x_label="step",
        y_label="loss",
        lines=lines,
        marks=tuple(marks),
        caption="The same samples at every step",
    )
    if not seen.labels:
        return (curve, *seen.filters)
    table = Table(
        title="Labels and predictions after the fit",
        columns=("sample", "label", "prediction"),
        rows=tuple((i, label, guess) for i, (label, guess) in enumerate(seen.labels)),
    )
    return (curve, *(seen.best.predictions or (table,)), *seen.filters)
