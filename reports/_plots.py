"""A picture for each kind of detail, drawn by matplotlib as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recipe_check.details import (
    Bars,
    Detail,
    Histogram,
    Images,
    Line,
    Mark,
    Matrix,
    Series,
    Table,
    thin,
)

from . import _pictures
from ._limits import MOST_LINES, bars_shown
from ._style import DASHES, LINES, axes_of, color, cut, data_uri, log_ticks, name_axes
from ._text import number

Label = tuple[float, str, str]  # the value it stands at, its text, the name of its colour


@lru_cache(maxsize=256)
def svg(detail: Detail) -> str:
    """The detail as an SVG `data:` URI; raises KeyError for a table, which is no picture."""
    draw = _DRAW[type(detail)]
    try:
        return data_uri(lambda: draw(detail))
    except (ValueError, IndexError, TypeError):
        # A check may break the contract of its detail (ragged rows, too few edges): the rest of
        # the report is still worth having.
        return data_uri(_undrawable)


def is_picture(detail: Detail) -> bool:
    return not isinstance(detail, Table)


def _undrawable() -> Figure:
    figure = Figure(figsize=(6.3, 0.5))
    figure.text(0.01, 0.4, "This detail could not be drawn.", color=color("bad"))
    return figure


def _series(detail: Series) -> Figure:
    """Curves, each named at its end; reference lines dashed, named beside the axes."""
    shown = [line for line in detail.lines[:MOST_LINES] if line.y]
    marks = [mark for mark in detail.marks if math.isfinite(mark.value)]
    figure, axes = axes_of(max(2.7, 0.8 + 0.17 * (len(shown) + len(marks))))
    labels = [_curve(axes, line, place) for place, line in enumerate(shown)]
    known = [y for line in shown for y in line.y if math.isfinite(y)]
    known += [mark.value for mark in marks]
    if detail.log_y and known and min(known) > 0:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, min(known), max(known))
    for mark in marks:
        axes.axhline(mark.value, color=color("muted"), linestyle=(0, (4, 3)), linewidth=1)
        labels.append((mark.value, _mark_text(mark), "muted"))
    name_axes(axes, detail.x_label, detail.y_label)
    axes.margins(x=0.01)
    _write_beside(axes, labels, figure.get_size_inches()[1])
    return figure


def _curve(axes: Axes, line: Line, place: int) -> Label:
    """Draws one line; its label says where it ends, or from where on it is not finite."""
    name = LINES[place % len(LINES)]
    pairs = list(zip(line.x, line.y, strict=False))
    points = [(x, y) for x, y in pairs if math.isfinite(y)]
    xs, ys = thin([x for x, _ in points]), thin([y for _, y in points])
    axes.plot(xs, ys, color=color(name), linewidth=1.8,
              linestyle=DASHES[place // len(LINES) % len(DASHES)],
              marker="o" if len(xs) < 12 else None, markersize=4)  # fmt: skip
    if not points:
        return 0.0, f"{cut(line.name, 22)}: not finite", name
    end_x, end = points[-1]
    axes.plot([end_x], [end], color=color(name), marker="o", markersize=4)
    if len(points) < len(pairs):
        lost = next(x for x, y in pairs if not math.isfinite(y))
        return end, f"{cut(line.name, 18)}: not finite at {number(lost)}", name
    return end, f"{cut(line.name, 26)} {end:.3g}", name


def _mark_text(mark: Mark) -> str:
    return f"{cut(mark.name, 26)} {mark.value:.3g}"


def _write_beside(axes: Axes, labels: list[Label], inches: float) -> None:
    """Labels right of the axes at the height of their values, moved apart where they are close."""
    gap = 12 / (72 * (inches - 0.7))  # a line of text as a share of the height of the axes
    places = [_height(axes, value) for value, _, _ in labels]
    order = sorted(range(len(labels)), key=lambda i: (places[i], -i))
    previous = -gap
    for i in order:
        places[i] = previous = max(places[i], previous + gap)
    ceiling = 1 + gap
    for i in reversed(order):
        places[i] = ceiling = min(places[i], ceiling - gap)
    for place, (_, text, name) in zip(places, labels, strict=True):
        axes.annotate(text, (1.012, place), xycoords="axes fraction", va="center",
                      color=color(name), fontsize=9, annotation_clip=False)  # fmt: skip


def _height(axes: Axes, value: float) -> float:
    """Where a value stands on the y axis, 0 at the bottom and 1 at the top."""
    axes.get_ylim()
    inside = axes.transAxes.inverted().transform(
        axes.transData.transform((axes.get_xlim()[0], value))
    )
    return min(max(float(inside[1]), 0.0), 1.0)


def _bars(detail: Bars) -> Figure:
    """Lollipops, the first item on top, each with its number."""
    chosen = bars_shown(detail)
    names = [cut(detail.names[i], 34) for i in chosen]
    values = [detail.values[i] for i in chosen]
    figure, axes = axes_of(0.75 + 0.22 * max(len(names), 2) + 0.16 * len(detail.marks))
    axes.grid(False, axis="y")
    start, high = _bar_scale(axes, detail, values)
    for place, value in enumerate(values):
        _lollipop(axes, place, value, start)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(max(len(names), 1) - 0.4, -0.6)
    axes.margins(x=0.12)
    for place, mark in enumerate(m for m in detail.marks if math.isfinite(m.value)):
        _vertical(axes, mark, place, left=mark.value > (start + high) / 2)
    name_axes(axes, detail.value_label, "")
    return figure


def _bar_scale(axes: Axes, detail: Bars, values: list[float]) -> tuple[float, float]:
    """Sets the scale; where the stems start, and the largest value or mark."""
    known = [v for v in (*values, *(m.value for m in detail.marks)) if math.isfinite(v)]
    positive = [v for v in known if v > 0]
    if not (detail.log_y and positive):
        return 0.0, max(known, default=1.0)
    axes.set_xscale("log")
    log_ticks(axes.xaxis, min(positive) / 3, max(positive))
    return min(positive) / 3, max(positive)


def _lollipop(axes: Axes, place: int, value: float, start: float) -> None:
    """A value that its scale cannot show (not finite, zero on a log scale) is a hollow dot."""
    shown = math.isfinite(value) and (start == 0 or value > 0)
    drawn, name = (value, "line0") if shown else (start, "bad")
    axes.plot([start, drawn], [place, place], color=color("heat3"), linewidth=2)
    axes.plot([drawn], [place], marker="o", color=color(name), markersize=5,
              markerfacecolor=color(name if shown else "page"))  # fmt: skip
    axes.annotate(f"{value:.3g}", (drawn, place), xytext=(6, 0), textcoords="offset points",
                  va="center", fontsize=9, color=color("muted" if shown else name),
                  bbox={"facecolor": color("page"), "linewidth": 0, "pad": 1})  # fmt: skip


def _vertical(axes: Axes, mark: Mark, place: int, *, left: bool) -> None:
    """A reference line, named above the axes; a second name stands above the first."""
    axes.axvline(mark.value, color=color("line2"), linestyle=(0, (4, 3)), linewidth=1.2)
    axes.annotate(_mark_text(mark), (mark.value, 1), xycoords=("data", "axes fraction"),
                  xytext=(0, 3 + 12 * place), textcoords="offset points", va="bottom",
                  ha="right" if left else "left", color=color("line2"), fontsize=9,
                  annotation_clip=False)  # fmt: skip


def _histogram(detail: Histogram) -> Figure:
    figure, axes = axes_of(2.2)
    axes.stairs(list(detail.counts), list(detail.edges), fill=True, color=color("heat3"))
    name_axes(axes, detail.x_label, "count")
    return figure


_DRAW: dict[type[Any], Callable[[Any], Figure]] = {
    Series: _series,
    Bars: _bars,
    Matrix: _pictures.matrix,
    Histogram: _histogram,
    Images: _pictures.images,
}
