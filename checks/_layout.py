"""The measurement of `image-layout`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lineage import VIEWS

from ._blame import input_line
from ._data_lines import ENTRIES, VIEWED, first
from ._input_scale import entry_of
from ._moved_axes import moved_axes
from ._sources import chains
from .image_layout import Layout

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.entry import Entry

LEAST_SIDE = 6
LEAST_IMAGES = 8
SMOOTH = 0.5  # roughness: noise and learned features have 1


def see_layout(lab: Lab) -> Layout:
    """Roughness of images that reach the first weights, and views that move an axis."""
    moved = next(iter(moved_axes(lab)), None)
    try:
        return replace(_see_images(lab), moved=moved)
    except NotApplicable:
        if moved is None:
            raise
        return Layout((), 0.0, 0.0, moved.location, moved=moved)


def _see_images(lab: Lab) -> Layout:
    """Roughness of what reaches the first weights, in both orders."""
    entry = entry_of(lab)
    x = entry.value if entry is not None else torch.zeros(0)
    if entry is not None and _takes_rows_for_channels(entry):
        where = first(chains(lab).inputs, ENTRIES) or entry.location
        return Layout(tuple(x.shape), 0.0, 0.0, where, last=True)
    width = _own_width(x) if x.ndim == 4 else 0
    if width:
        where = first(chains(lab).inputs, VIEWED) or input_line(lab, VIEWS)
        rough = tuple(_at_lag(x.double().cpu(), lag) for lag in (x.shape[3], width))
        return Layout(tuple(x.shape), rough[0], rough[1], where, width=width)
    if x.ndim != 4 or not 2 <= x.shape[1] <= 4 or min(x.shape[2:]) < LEAST_SIDE:
        raise NotApplicable("no images of two to four channels")
    if len(x) < LEAST_IMAGES:
        raise NotApplicable(f"fewer than {LEAST_IMAGES} images")
    assert entry is not None
    x = x.double().cpu()
    count, channels, height, width = x.shape
    other = x.reshape(count, height, width, channels).permute(0, 3, 1, 2)
    return Layout(
        tuple(x.shape),
        _roughness(x),
        _roughness(other),
        input_line(lab, VIEWS) or first(chains(lab).inputs, VIEWED) or entry.location,
    )


def _own_width(x: torch.Tensor) -> int:
    """The row length at which images of one channel, read pixel by pixel, are far smoother from
    row to row than at their own: they were cut into rows of another length. 0 where none is.

    A resonance: at lengths two off it is gone, unlike along the rows of a smooth picture."""
    count, channels, height, width = x.shape
    if channels != 1 or min(height, width) < LEAST_SIDE or count < LEAST_IMAGES:
        return 0
    x = x.double().cpu()
    lags = range(max(4, width // 4), min(2 * width, height * width // 3))
    found = {lag: _at_lag(x, lag) for lag in (*lags, lags.start - 2, lags.start - 1,
                                              lags.stop, lags.stop + 1)}  # fmt: skip
    best = min((lag for lag in lags if lag != width), key=found.__getitem__, default=0)
    if not best or best % width == 0 or not 0 < found[best] <= SMOOTH * found[width]:
        return 0
    return best if found[best] <= SMOOTH * min(found[best - 2], found[best + 2]) else 0


def _at_lag(x: torch.Tensor, lag: int) -> float:
    """Roughness between pixels that lie so many places apart in the order they are stored in."""
    flat = x.flatten(1)
    apart = (flat[:, lag:] - flat[:, :-lag]).pow(2).mean()
    return float(apart / (2 * flat.var(correction=0)).clamp_min(1e-12))


def _takes_rows_for_channels(entry: Entry) -> bool:
    """Whether a convolution gets [N, height, width, channel]: a square of as many channels as rows,
    three or four numbers wide, that is smooth along its first two axes."""
    x = entry.value.double()
    if "conv2d" not in entry.op or x.ndim != 4 or len(x) < LEAST_IMAGES:
        return False
    if x.shape[1] != x.shape[2] or x.shape[3] not in (3, 4) or x.shape[1] <= 2 * x.shape[3]:
        return False
    return _roughness(x.permute(0, 3, 1, 2)) <= SMOOTH


def _roughness(x: torch.Tensor) -> float:
    """Mean squared difference of neighbours over twice the variance: 1 for noise, 0 for flat."""
    down = (x[:, :, 1:] - x[:, :, :-1]).pow(2).mean()
    across = (x[..., 1:] - x[..., :-1]).pow(2).mean()
    return float((down + across) / 2 / (2 * x.var(correction=0)).clamp_min(1e-12))
