"""How much of a long detail a report shows, and the words that say so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recipe_check.details import Bars, Detail, Images, Matrix, Series

MOST_BYTES = 1_000_000  # of an HTML report
MOST_BARS = 40
MOST_LINES = 24
MOST_CELLS = 32  # rows and columns of a heat map
MOST_IMAGES = 64


@dataclass(frozen=True)
class Room:
    """What a report has room for: rows of a table (0: no table either), characters of a text and
    of a long one, and whether pictures of findings and of the rest are in it."""

    rows: int
    text: int
    long: int
    of_findings: bool
    of_others: bool


ROOMS = (
    Room(rows=200, text=500, long=20_000, of_findings=True, of_others=True),
    Room(rows=40, text=500, long=4_000, of_findings=True, of_others=False),
    Room(rows=12, text=160, long=1_000, of_findings=False, of_others=False),
    Room(rows=2, text=60, long=100, of_findings=False, of_others=False),
    Room(rows=0, text=20, long=40, of_findings=False, of_others=False),
)


def bars_shown(detail: Bars) -> list[int]:
    """Places of the items to draw, in order: all, or the extremes with what is not finite."""
    count = min(len(detail.names), len(detail.values))
    if count <= MOST_BARS:
        return list(range(count))
    ranked = sorted(
        range(count), key=lambda i: (not math.isfinite(detail.values[i]), _key(detail, i))
    )
    half = MOST_BARS // 2
    return sorted(ranked[:half] + ranked[-half:])


def _key(detail: Bars, place: int) -> float:
    value = detail.values[place]
    return value if math.isfinite(value) else 0.0


def left_out(detail: Detail) -> str:
    """A sentence about what the picture leaves out, '' where it shows all."""
    if isinstance(detail, Bars) and len(detail.names) > MOST_BARS:
        half = MOST_BARS // 2
        return f"The {half} smallest and the {half} largest of {len(detail.names)} are drawn."
    if isinstance(detail, Series) and len(detail.lines) > MOST_LINES:
        return f"The first {MOST_LINES} of {len(detail.lines)} lines are drawn."
    if isinstance(detail, Matrix) and len(detail.values) > MOST_CELLS:
        return f"The first {MOST_CELLS} of {len(detail.values)} rows are drawn."
    if isinstance(detail, Images) and len(detail.pixels) > MOST_IMAGES:
        return f"The first {MOST_IMAGES} of {len(detail.pixels)} pictures are drawn."
    return ""
