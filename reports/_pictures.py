"""Heat maps and grids of small pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path

from recipe_check.details import Images, Matrix

from ._limits import MOST_CELLS, MOST_IMAGES
from ._style import HEAT, axes_of, color, cut, name_axes

Run = tuple[int, int, int]  # row, first column, column after the last
_COLUMNS = 8  # pictures side by side


def matrix(detail: Matrix) -> Figure:
    """A heat map in five steps of one hue; exactly zero is the background and stands out."""
    values = [row[:MOST_CELLS] for row in detail.values[:MOST_CELLS]]
    rows, columns = len(values), max((len(row) for row in values), default=0)
    known = [v for row in values for v in row if math.isfinite(v)]
    largest = max(known, default=0.0)
    height = min(0.9 + 0.24 * max(rows, 4), 4.4)
    figure, axes = axes_of(height, 5.6)
    axes.grid(False)
    axes.add_patch(Rectangle((0, 0), columns, rows, facecolor=color("heat0"), linewidth=0))
    for name, runs in _runs(values, largest).items():
        axes.add_patch(PathPatch(_path(runs), facecolor=color(name), linewidth=0))
    _gaps(axes, rows, columns)
    name_axes(axes, detail.x_label, detail.y_label)
    _legend(axes, largest, finite=len(known) == sum(len(row) for row in values))
    return figure


def _level(value: float, largest: float) -> str:
    if not math.isfinite(value):
        return "bad"
    if value <= 0 or largest <= 0:
        return HEAT[0]
    return HEAT[max(1, math.ceil(value / largest * (len(HEAT) - 1)))]


def _runs(values: list[tuple[float, ...]], largest: float) -> dict[str, list[Run]]:
    """Neighbours of one colour as one rectangle: a small file whatever the pattern."""
    found: dict[str, list[Run]] = {}
    for number, row in enumerate(values):
        start = 0
        levels = [_level(value, largest) for value in row]
        for place, name in enumerate(levels):
            if place + 1 == len(levels) or levels[place + 1] != name:
                found.setdefault(name, []).append((number, start, place + 1))
                start = place + 1
    found.pop(HEAT[0], None)
    return found


def _path(runs: list[Run]) -> Path:
    shapes = [
        Path([(a, row), (b, row), (b, row + 1), (a, row + 1), (a, row)], closed=True)
        for row, a, b in runs
    ]
    return Path.make_compound_path(*shapes)


def _gaps(axes: Axes, rows: int, columns: int) -> None:
    """Lines in the colour of the page between the cells; row 0 on top, cells square."""
    line: Any = {"color": color("page"), "linewidth": 0.8}
    axes.vlines(range(columns + 1), 0, rows, **line)
    axes.hlines(range(rows + 1), 0, columns, **line)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_aspect("equal")
    axes.set_xlim(0, max(columns, 1))
    axes.set_ylim(max(rows, 1), 0)
    step = 1 if max(rows, columns) <= 8 else 5
    axes.set_xticks(
        [i + 0.5 for i in range(0, columns, step)], [*map(str, range(0, columns, step))]
    )
    axes.set_yticks([i + 0.5 for i in range(0, rows, step)], [*map(str, range(0, rows, step))])


def _legend(axes: Axes, largest: float, *, finite: bool) -> None:
    """What each step of the hue means."""
    steps = len(HEAT) - 1
    shown = [(HEAT[0], "0")]
    if largest > 0:
        shown += [(HEAT[i], f"≤ {largest * i / steps:.2g}") for i in range(1, steps + 1)]
    if not finite:
        shown.append(("bad", "not finite"))
    patches = [Patch(facecolor=color(name), label=text) for name, text in shown]
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False,
                labelcolor=color("muted"), fontsize=9, handlelength=1, handleheight=1,
                borderaxespad=0)  # fmt: skip


def images(detail: Images) -> Figure:
    """The pictures as one grid, each with its label below."""
    tiles = [_rgba(picture) for picture in detail.pixels[:MOST_IMAGES]]
    columns = min(_COLUMNS, max(len(tiles), 1))
    rows = -(-len(tiles) // columns) or 1
    tall = max((tile.shape[0] for tile in tiles), default=1)
    wide = max((tile.shape[1] for tile in tiles), default=1)
    gap = max(1, wide // 8)
    under = gap + tall // 4  # room for the label
    canvas = np.zeros((rows * (tall + under), columns * (wide + gap), 4))
    figure = Figure(figsize=(0.8 * columns, 0.8 * columns * canvas.shape[0] / canvas.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for place, tile in enumerate(tiles):
        top, left = place // columns * (tall + under), place % columns * (wide + gap)
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        label = cut(detail.labels[place], 10) if place < len(detail.labels) else ""
        axes.text(left + wide / 2 - 0.5, top + tall + under / 2 - 0.5, label, ha="center",
                  va="center", fontsize=9, color=color("ink"))  # fmt: skip
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    return figure


def _rgba(picture: Any) -> Any:
    """[height][width] or [height][width][3], 0 to 1 → an opaque array [height, width, 4]."""
    values = np.nan_to_num(np.asarray(picture, dtype=float)).clip(0, 1)
    colors = values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)
    return np.concatenate([colors, np.ones_like(colors[:, :, :1])], axis=2)
