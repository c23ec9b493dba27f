"""Plots as small, byte-stable SVG files drawn by matplotlib through one style."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recipe_check.results import Bars, Detail, Histogram, Images, Mark, Matrix, Series, Table

from ._text import number, short

# Every colour is drawn as on a light page and then named, so that the picture's own style sheet
# can exchange it on a dark one: name -> (light, dark).
_COLORS = {
    "ink": ("#1f2431", "#e7e9ee"),
    "muted": ("#5c6371", "#a4abb8"),
    "grid": ("#dfe2e9", "#3a404c"),
    "line0": ("#2458b4", "#7fb0ff"),
    "line1": ("#c0362d", "#ff8a80"),
    "line2": ("#1e7d47", "#6fcf97"),
    "line3": ("#8a5a01", "#f0b95a"),
}
_LINES = tuple(name for name in _COLORS if name.startswith("line"))
_RC: Any = {
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


@lru_cache(maxsize=256)
def svg(detail: Detail) -> str:
    """The detail as an SVG `data:` URI; raises KeyError for a table, which is no picture."""
    with mpl.rc_context(_RC):
        figure = _DRAW[type(detail)](detail)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    text = _small(file.getvalue())
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"


_METADATA = ("Date", "Creator", "Format", "Type")


def _small(text: str) -> str:
    """Colours by name with a style for dark pages, short font lists, no preamble."""
    text = text[text.index("<svg") :]
    text = re.sub(r"font-family: [^;\"]*", "font-family: system-ui,sans-serif", text)
    text = re.sub(r"<[^>]*>", _shorter, text)
    for name, (light, _) in _COLORS.items():
        text = text.replace(light, f"var(--{name})")
    return text.replace("<defs>", f"<defs><style>{_style()}</style>", 1)


def _shorter(tag: re.Match[str]) -> str:
    """Coordinates with two decimals; the texts between the tags stay as they are."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0])


def _style() -> str:
    light = ";".join(f"--{name}:{pair[0]}" for name, pair in _COLORS.items())
    dark = ";".join(f"--{name}:{pair[1]}" for name, pair in _COLORS.items())
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _color(name: str) -> str:
    return _COLORS[name][0]


def is_picture(detail: Detail) -> bool:
    return not isinstance(detail, Table)


def _axes(height: float, width: float = 6.8) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=_color("muted"), labelcolor=_color("ink"))
    for spine in axes.spines.values():
        spine.set_color(_color("muted"))
    axes.grid(True, color=_color("grid"), linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(short(x), color=_color("ink"))
    axes.set_ylabel(short(y), color=_color("ink"))


def _series(detail: Series) -> Figure:
    figure, axes = _axes(2.9)
    for place, line in enumerate(detail.lines):
        color = _color(_LINES[place % len(_LINES)])
        style = ("-", "--", "-.", ":")[place % 4]
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        marker = "o" if len(points) < 12 else None
        axes.plot(*_columns(points), style, color=color, label=short(line.name), linewidth=1.8,
                  marker=marker, markersize=4)  # fmt: skip
    if detail.log_y and _all_positive(detail):
        axes.set_yscale("log")
    _marks(axes, detail.marks, horizontal=True)
    _labels(axes, detail.x_label, detail.y_label)
    if len(detail.lines) > 1:
        axes.legend(frameon=False, labelcolor=_color("ink"), fontsize=9)
    return figure


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _all_positive(detail: Series) -> bool:
    return all(y > 0 for line in detail.lines for y in line.y if math.isfinite(y))


def _marks(axes: Axes, marks: tuple[Mark, ...], *, horizontal: bool) -> None:
    """Dashed reference lines, labelled at their end."""
    for mark in marks:
        if not math.isfinite(mark.value):
            continue
        draw = axes.axhline if horizontal else axes.axvline
        draw(mark.value, color=_color("muted"), linestyle=(0, (4, 3)), linewidth=1)
        text = f"{short(mark.name)} {number(mark.value)}"
        if horizontal:
            axes.annotate(text, (1, mark.value), xycoords=("axes fraction", "data"), ha="right",
                          va="bottom", color=_color("muted"), fontsize=8.5)  # fmt: skip
        else:
            axes.annotate(text, (mark.value, 1), xycoords=("data", "axes fraction"), ha="left",
                          va="top", color=_color("muted"), fontsize=8.5, rotation=90)  # fmt: skip


def _bars(detail: Bars) -> Figure:
    """Lollipops, the first item on top."""
    names = [short(name)[:40] for name in detail.names[:MOST_BARS]]
    values = [value if math.isfinite(value) else math.nan for value in detail.values[:MOST_BARS]]
    figure, axes = _axes(0.9 + 0.22 * max(len(names), 2))
    places = list(range(len(names)))
    color = _color("line0")
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
    _marks(axes, detail.marks, horizontal=False)
    _labels(axes, detail.value_label, "")
    return figure


def _matrix(detail: Matrix) -> Figure:
    figure, axes = _axes(3.6, 4.6)
    axes.grid(False)
    largest = max((v for row in detail.values for v in row if math.isfinite(v)), default=1.0)
    picture = axes.imshow(
        [list(row) for row in detail.values], cmap="viridis", vmin=0.0, vmax=largest or 1.0,
        interpolation="nearest",
    )  # fmt: skip
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.ax.tick_params(colors=_color("muted"), labelcolor=_color("ink"))
    _labels(axes, detail.x_label, detail.y_label)
    return figure


def _histogram(detail: Histogram) -> Figure:
    figure, axes = _axes(2.4)
    axes.stairs(list(detail.counts), list(detail.edges), fill=True, color=_color("line0"),
                alpha=0.85)  # fmt: skip
    _labels(axes, detail.x_label, "count")
    return figure


def _images(detail: Images) -> Figure:
    columns = min(8, max(len(detail.pixels), 1))
    rows = -(-len(detail.pixels) // columns) or 1
    figure = Figure(figsize=(0.85 * columns, 1.05 * rows), layout="constrained")
    for place, picture in enumerate(detail.pixels):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        label = detail.labels[place] if place < len(detail.labels) else ""
        axes.set_title(short(label)[:12], fontsize=9, color=_color("ink"), y=-0.28)
    return figure


_DRAW: dict[type[Any], Callable[[Any], Figure]] = {
    Series: _series,
    Bars: _bars,
    Matrix: _matrix,
    Histogram: _histogram,
    Images: _images,
}
