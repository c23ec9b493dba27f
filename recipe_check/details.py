"""The numbers behind a finding, in the shapes that a report can draw."""

from __future__ import annotations

from collections.abc import Sequence

from recipe_check.values import Value


class Line(Value, frozen=True, kw_only=True):
    """One named curve of a Series; `x` and `y` have the same length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Mark(Value, frozen=True, kw_only=True):
    """A horizontal reference line: a floor, chance level or threshold."""

    name: str
    value: float


class Series(Value, frozen=True, kw_only=True, tag="series"):
    """Curves over a shared x axis (at most 400 points a line; see `thin`)."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    log_y: bool = False
    caption: str = ""


class Bars(Value, frozen=True, kw_only=True, tag="bars"):
    """One value for each named item, in order: lollipops by depth, counts by class."""

    title: str
    value_label: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    marks: tuple[Mark, ...] = ()
    log_y: bool = False
    caption: str = ""


class Table(Value, frozen=True, kw_only=True, tag="table"):
    """Rows of cells; numbers are formatted by the report."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    caption: str = ""


class Matrix(Value, frozen=True, kw_only=True, tag="matrix"):
    """A heat map, at most 32 x 32; `values[row][column]`, non-negative."""

    title: str
    x_label: str
    y_label: str
    values: tuple[tuple[float, ...], ...]
    caption: str = ""


class Histogram(Value, frozen=True, kw_only=True, tag="histogram"):
    """Counts between edges; len(edges) == len(counts) + 1."""

    title: str
    x_label: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    caption: str = ""


class Images(Value, frozen=True, kw_only=True, tag="images"):
    """Small pictures, each [height][width] grey or [height][width][3] colour, values 0 to 1."""

    title: str
    labels: tuple[str, ...]
    pixels: tuple[tuple[tuple[float | tuple[float, float, float], ...], ...], ...]
    caption: str = ""


Detail = Series | Bars | Table | Matrix | Histogram | Images


def thin(values: Sequence[float], most: int = 400) -> tuple[float, ...]:
    """At most `most` of the values, evenly spaced, the first and the last kept."""
    if len(values) <= most:
        return tuple(values)
    last = len(values) - 1
    return tuple(values[round(i * last / (most - 1))] for i in range(most))
