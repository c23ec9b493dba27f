"""Plots as small, byte-stable SVG files drawn by matplotlib through one style."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from recipe_check.reports._text import number, short

from recipe_check.results import Bars, Detail, Histogram, Images, Mark, Matrix, Series, Table

_LIGHT = {"ink": "#1f2430", "muted": "#5c6370", "grid": "#dfe2e8",
          "lines": ("#2458b3", "#c0362c", "#1e7d46", "#8a5a00", "#6b3fa0", "#0f7c86")}  # fmt: skip
_DARK = {"ink": "#e7e9ee", "muted": "#a4abb8", "grid": "#3a404c",
         "lines": ("#7fb0ff", "#ff8a80", "#6fcf97", "#f0b95a", "#c3a3f5", "#5fd0da")}  # fmt: skip
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recipe-check",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "path.simplify_threshold": 0.5,
}
MOST_BARS = 40
Theme = dict[str, Any]


def svg(detail: Detail, *, dark: bool) -> str:
    """The detail as an SVG `data:` URI; raises KeyError for a table, which is no picture."""
    theme = _DARK if dark else _LIGHT
    with mpl.rc_context(_RC):
        figure = _DRAW[type(detail)](detail, theme)
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    encoded = base64.b64encode(file.getvalue()).decode()
    return f"data:image/svg+xml;base64,{encoded}"


def is_picture(detail: Detail) -> bool:
    return not isinstance(detail, Table)


def _axes(theme: Theme, height: float, width: float = 6.8) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=theme["muted"], labelcolor=theme["ink"])
    for spine in axes.spines.values():
        spine.set_color(theme["muted"])
    axes.grid(True, color=theme["grid"], linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _labels(axes: Axes, theme: Theme, x: str, y: str) -> None:
    axes.set_xlabel(short(x), color=theme["ink"])
    axes.set_ylabel(short(y), color=theme["ink"])


def _series(detail: Series, theme: Theme) -> Figure:
    figure, axes = _axes(theme, 2.9)
    for place, line in enumerate(detail.lines):
        color = theme["lines"][place % len(theme["lines"])]
        style = ("-", "--", "-.", ":")[place % 4]
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        marker = "o" if len(points) < 12 else None
        axes.plot(*_columns(points), style, color=color, label=short(line.name), linewidth=1.8,
                  marker=marker, markersize=4)  # fmt: skip
    if detail.log_y and _all_positive(detail):
        axes.set_yscale("log")
    _marks(axes, theme, detail.marks, horizontal=True)
    _labels(axes, theme, detail.x_label, detail.y_label)
    if len(detail.lines) > 1:
        axes.legend(frameon=False, labelcolor=theme["ink"], fontsize=9)
    return figure


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _all_positive(detail: Series) -> bool:
    return all(y > 0 for line in detail.lines for y in line.y if math.isfinite(y))


def _marks(axes: Axes, theme: Theme, marks: tuple[Mark, ...], *, horizontal: bool) -> None:
    """Dashed reference lines, labelled at their end."""
    for mark in marks:
        if not math.isfinite(mark.value):
            continue
        draw = axes.axhline if horizontal else axes.axvline
        draw(mark.value, color=theme["muted"], linestyle=(0, (4, 3)), linewidth=1)
        text = f"{short(mark.name)} {number(mark.value)}"
        if horizontal:
            axes.annotate(text, (1, mark.value), xycoords=("axes fraction", "data"), ha="right",
                          va="bottom", color=theme["muted"], fontsize=8.5)  # fmt: skip
        else:
            axes.annotate(text, (mark.value, 1), xycoords=("data", "axes fraction"), ha="left",
                          va="top", color=theme["muted"], fontsize=8.5, rotation=90)  # fmt: skip


def _bars(detail: Bars, theme: Theme) -> Figure:
    """Lollipops, the first item on top."""
    names = [short(name)[:40] for name in detail.names[:MOST_BARS]]
    values = [value if math.isfinite(value) else math.nan for value in detail.values[:MOST_BARS]]
    figure, axes = _axes(theme, 0.9 + 0.22 * max(len(names), 2))
    places = list(range(len(names)))
    color = theme["lines"][0]
    positive = [v for v in values if v > 0]
    log = detail.log_y and bool(positive)
    start = min(positive) / 3 if log else 0.0
    shown = [max(v, start) if log else v for v in values]
    axes.hlines(places, start, shown, color=color, linewidth=1.6)
    axes.plot(shown, places, "o", color=color, markersize=5)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    if log:
        axes.set_xscale("log")
    _marks(axes, theme, detail.marks, horizontal=False)
    _labels(axes, theme, detail.value_label, "")
    return figure


def _matrix(detail: Matrix, theme: Theme) -> Figure:
    figure, axes = _axes(theme, 3.6, 4.6)
    axes.grid(False)
    largest = max((v for row in detail.values for v in row if math.isfinite(v)), default=1.0)
    mesh = axes.pcolormesh(
        [list(row) for row in detail.values], cmap="viridis", vmin=0.0, vmax=largest or 1.0
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8)
    bar.ax.tick_params(colors=theme["muted"], labelcolor=theme["ink"])
    _labels(axes, theme, detail.x_label, detail.y_label)
    return figure


def _histogram(detail: Histogram, theme: Theme) -> Figure:
    figure, axes = _axes(theme, 2.4)
    axes.stairs(list(detail.counts), list(detail.edges), fill=True, color=theme["lines"][0],
                alpha=0.85)  # fmt: skip
    _labels(axes, theme, detail.x_label, "count")
    return figure


def _images(detail: Images, theme: Theme) -> Figure:
    columns = min(8, max(len(detail.pixels), 1))
    rows = -(-len(detail.pixels) // columns) or 1
    figure = Figure(figsize=(0.85 * columns, 1.05 * rows), layout="constrained")
    for place, picture in enumerate(detail.pixels):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        label = detail.labels[place] if place < len(detail.labels) else ""
        axes.set_title(short(label)[:12], fontsize=9, color=theme["ink"], y=-0.28)
    return figure


_DRAW: dict[type[Any], Callable[[Any, Theme], Figure]] = {
    Series: _series,
    Bars: _bars,
    Matrix: _matrix,
    Histogram: _histogram,
    Images: _images,
}
