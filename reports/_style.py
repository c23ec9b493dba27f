"""How every plot looks: its colours by name, light and dark, and the way to a small SVG."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ._svg import compact
from ._text import number, one_line

# Every colour is drawn as on a light page and then named, so that the picture's own style sheet
# can exchange it on a dark one: name -> (light, dark). No two may be equal on a light page.
COLORS = {
    "ink": ("#1f2431", "#e7e9ee"),
    "muted": ("#5c6371", "#a4abb8"),
    "grid": ("#dfe2e9", "#333b47"),
    "page": ("#fefefe", "#171c23"),
    "bad": ("#b4271f", "#ff9b91"),
    "line0": ("#2458b4", "#7fb0ff"),
    "line1": ("#c0362d", "#ff8a80"),
    "line2": ("#1e7d47", "#6fcf97"),
    "line3": ("#8a5a01", "#f0b95a"),
    "line4": ("#6b3fa1", "#c3a3f5"),
    "line5": ("#0f7c87", "#5fd0da"),
    "heat0": ("#f0f2f6", "#222a34"),
    "heat1": ("#c8d6ef", "#29406b"),
    "heat2": ("#9db6e2", "#34568f"),
    "heat3": ("#6f93d3", "#4a78c2"),
    "heat4": ("#4169b5", "#7aa6ec"),
    "heat5": ("#1e458b", "#bcd6ff"),
}
LINES = tuple(name for name in COLORS if name.startswith("line"))
HEAT = tuple(name for name in COLORS if name.startswith("heat"))
DASHES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1.2)))
_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recipe-check",
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify_threshold": 0.5,
}
_METADATA = ("Date", "Creator", "Format", "Type")


def color(name: str) -> str:
    return COLORS[name][0]


@contextmanager
def plotting() -> Iterator[None]:
    """Our settings, whatever the user's are; no word about characters that a font lacks."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcParams.update(mpl.rcParamsDefault | _RC)
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield


def data_uri(draw: Callable[[], Figure]) -> str:
    """What `draw` returns as an SVG `data:` URI, the same bytes every time."""
    with plotting():
        file = io.StringIO()
        draw().savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    encoded = base64.b64encode(compact(file.getvalue(), COLORS).encode()).decode()
    return f"data:image/svg+xml;base64,{encoded}"


def axes_of(height: float, width: float = 6.3) -> tuple[Figure, Axes]:
    """A figure of that many inches with one pair of axes in our style."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=color("muted"), labelcolor=color("muted"), length=3)
    for spine in axes.spines.values():
        spine.set_color(color("muted"))
    axes.grid(True, color=color("grid"), linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(cut(x, 80), color=color("ink"))
    axes.set_ylabel(cut(y, 40), color=color("ink"))


def cut(text: str, most: int) -> str:
    """One line of at most `most` characters."""
    line = one_line(text)
    return line if len(line) <= most else line[: most - 1] + "…"


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Plain numbers at powers of ten, and between them where the values span little."""
    axis.set_major_locator(
        LogLocator(subs=(1.0,) if high / low > 50 else (1.0, 2.0, 5.0), numticks=8)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(float(value))))
    axis.set_minor_locator(NullLocator())
