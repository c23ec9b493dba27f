"""The measurement of `image-layout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lineage import VIEWS

from ._blame import input_line
from ._data_lines import ENTRIES, VIEWED, first
from ._input_scale import entry_of
from ._sources import chains
from .image_layout import Layout

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.entry import Entry

LEAST_SIDE = 6
LEAST_IMAGES = 8
SMOOTH = 0.5  # roughness: noise and learned features have 1


def see_layout(lab: Lab) -> Layout:
    """Roughness of what reaches the first weights, in both orders."""
    entry = entry_of(lab)
    x = entry.value if entry is not None else torch.zeros(0)
    if entry is not None and _takes_rows_for_channels(entry):
        where = first(chains(lab).inputs, ENTRIES) or entry.location
        return Layout(tuple(x.shape), 0.0, 0.0, where, last=True)
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
