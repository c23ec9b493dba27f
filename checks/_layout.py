"""The measurement of `image-layout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lineage import VIEWS

from ._blame import input_line
from ._input_scale import entry_of
from .image_layout import Layout

if TYPE_CHECKING:
    from recipe_check import Lab

LEAST_SIDE = 6
LEAST_IMAGES = 8


def see_layout(lab: Lab) -> Layout:
    """Roughness of what reaches the first weights, in both orders."""
    entry = entry_of(lab)
    x = entry.value if entry is not None else torch.zeros(0)
    if x.ndim != 4 or not 2 <= x.shape[1] <= 4 or min(x.shape[2:]) < LEAST_SIDE:
        raise NotApplicable("no images of two to four channels")
    if len(x) < LEAST_IMAGES:
        raise NotApplicable(f"fewer than {LEAST_IMAGES} images")
    assert entry is not None
    x = x.double().cpu()
    count, channels, height, width = x.shape
    other = x.reshape(count, height, width, channels).permute(0, 3, 1, 2)
    return Layout(
        tuple(x.shape), _roughness(x), _roughness(other), input_line(lab, VIEWS) or entry.location
    )


def _roughness(x: torch.Tensor) -> float:
    """Mean squared difference of neighbours over twice the variance: 1 for noise, 0 for flat."""
    down = (x[:, :, 1:] - x[:, :, :-1]).pow(2).mean()
    across = (x[..., 1:] - x[..., :-1]).pow(2).mean()
    return float((down + across) / 2 / (2 * x.var(correction=0)).clamp_min(1e-12))
