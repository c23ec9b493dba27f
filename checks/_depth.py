"""Geometric decay of a quantity over depth: a straight line through its logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_LAYERS = 4  # fewer points fit any line
LEAST_CORRELATION = 0.9  # of log norm with depth: monotone, not merely one small layer
TINY_RATIO = 1e-5  # gradient / weight below which early layers hardly move


@dataclass(frozen=True)
class Decay:
    """`factor` is first / largest by the fitted line, `correlation` that of the fit."""

    factor: float
    correlation: float
    layers: int


def decay_over_depth(norms: Sequence[float | None], weights: Sequence[float]) -> Decay | None:
    """The decay towards the first layers; None where there is none to speak of.

    `norms` and `weights` are gradient and weight norms in the order of depth. Needs at least four
    positive norms, a correlation of at least 0.9, and first layers whose gradient is also tiny
    against their weights.
    """
    points = [(i, math.log(n)) for i, n in enumerate(norms) if n is not None and n > 0]
    if len(points) < LEAST_LAYERS:
        return None
    slope, correlation = fitted_line(points)
    if correlation < LEAST_CORRELATION:
        return None
    factor = math.exp(-slope * (points[-1][0] - points[0][0]))
    first = points[0][0]
    ratio = (norms[first] or 0.0) / max(weights[first], 1e-30)
    if ratio > TINY_RATIO:
        return None
    return Decay(min(factor, 1.0), correlation, len(points))


def fitted_line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Slope and correlation of (x, y) points by least squares; zeros where they do not vary."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    xx = sum((x - mean_x) ** 2 for x, _ in points)
    yy = sum((y - mean_y) ** 2 for _, y in points)
    xy = sum((x - mean_x) * (y - mean_y) for x, y in points)
    if xx == 0 or yy == 0:
        return 0.0, 0.0
    return xy / xx, xy / math.sqrt(xx * yy)
