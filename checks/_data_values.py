"""Problems that show in the values of the samples, or in how often they can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import Location, tree

from ._blame import input_line, maker
from ._data_lines import CASTS, JOINS, first, own_line
from ._leaks import samples
from ._sources import chains
from .batch_contract import Problem

if TYPE_CHECKING:
    from recipe_check import Lab

LEVELS = 256
LEAST_LEVELS = 128  # between the lowest and the highest value, in steps of the smallest
SMOOTHER = 0.5  # of the roughness, where bytes that went round are put back
LEAST_SIDE = 6
LEAST_IMAGES = 8
NUMBERED = 1e-3  # of a step: how near values must be to whole numbers of it
LEAST_ROWS = 64
RANGES = frozenset({"arange", "range", "enumerate", "reset_index", "linspace", "index"})


def numbered_rows(lab: Lab) -> Problem | None:
    """A feature that numbers the rows of a file that was sorted by class. No pass of the model.

    Its values are all distinct, whole numbers of one step and dense, and sorted by it the labels
    stand class by class."""
    x, y = samples(lab)
    if x is None or y is None or y.is_floating_point() or len(y) < LEAST_ROWS or x.shape[1] < 2:
        return None
    classes = len(torch.unique(y))
    for column in range(x.shape[1]):
        values, order = x[:, column].sort()
        steps = values.diff()
        step = float(steps.min()) if len(steps) else 0.0
        if step <= 0 or float(values[-1] - values[0]) > 4 * len(values) * step:
            continue
        odd = float((steps / step - (steps / step).round()).abs().max())
        changes = int((y[order].diff() != 0).sum())
        if odd < NUMBERED * float((steps / step).max()) + NUMBERED and changes == classes - 1 > 0:
            return Problem(
                f"feature {column} of the inputs numbers the rows (all distinct, in steps of "
                f"{step:.3g}), and sorted by it the classes stand one after the other: an index "
                "of a sorted file leaks the target",
                f"feature {column} tells the class by its order", "no feature that does",
                "leave the index column out of the inputs", certain=False,
                location=first(chains(lab).only("inputs"), RANGES)
                or own_line(lab, "inputs", JOINS),
            )  # fmt: skip
    return None


def went_round(lab: Lab) -> Problem | None:
    """Images of 256 levels that are much smoother once levels are counted from another one on:
    bytes were cast to int8, or added to, and left their range. No pass of the model."""
    x = _images(lab)
    if x is None:
        return None
    levels = _levels(x)
    if levels is None:
        return None
    plain = _roughness(levels)
    for shift in range(32, LEVELS, 32):
        turned = (levels + shift) % LEVELS
        wide = float(turned.std()) >= 0.5 * float(levels.std())
        shares = [new / max(old, 1e-12) for new, old in zip(_roughness(turned), plain, strict=True)]
        if wide and min(shares) <= SMOOTHER and max(shares) <= 1:
            return Problem(
                "pixels wrapped around: counted from another level on, the images are "
                f"{1 / max(min(shares), 1e-9):.2g} times smoother, so bytes left their range (a "
                "cast to int8, or arithmetic on uint8)",
                "values that wrapped around", "none",
                "convert to float before arithmetic; bytes above 127 do not fit int8",
                certain=False, location=_cast_line(lab),
            )  # fmt: skip
    return None


def _cast_line(lab: Lab) -> Location | None:
    steps = chains(lab).inputs
    bytes_first = next((m.location for m in steps if "int8" in m.location.source), None)
    return bytes_first or first(steps, CASTS) or input_line(lab, frozenset({"to"}))


def _images(lab: Lab) -> torch.Tensor | None:
    """Up to 64 images [N, C, H, W] of the first batches."""
    found: list[torch.Tensor] = []
    for batch in lab.train_batches[:4]:
        leaves = tree.leaves(lab.rig().split(batch).inputs)
        if not leaves or leaves[0].ndim != 4 or min(leaves[0].shape[2:]) < LEAST_SIDE:
            return None
        found.append(leaves[0].detach().double().cpu())
    if len({tuple(t.shape[1:]) for t in found}) != 1:
        return None
    x = torch.cat(found)[:64]
    whole = len(x) >= LEAST_IMAGES and bool(x.isfinite().all())
    return x if whole else None


def _levels(x: torch.Tensor) -> torch.Tensor | None:
    """The images as whole numbers 0 to 255, where their values are at most 256 equal steps."""
    values = torch.unique(x)
    if not LEAST_LEVELS // 2 <= len(values) <= LEVELS:
        return None
    step = float(values.diff().min())
    levels = (x - float(values[0])) / step
    if float((levels - levels.round()).abs().max()) > 0.05:
        return None
    high = float(levels.max())
    return levels.round() if LEAST_LEVELS <= high < LEVELS else None


def _roughness(x: torch.Tensor) -> tuple[float, float]:
    """Mean squared difference of neighbours over twice the variance, down and across."""
    down, across = x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]
    scale = (2 * x.var()).clamp_min(1e-12)
    return float(down.pow(2).mean() / scale), float(across.pow(2).mean() / scale)


def used_up(lab: Lab) -> Problem | None:
    """A loader that can be read once, in front of a loop over epochs that reads it again. No
    pass; the loop is read from the source."""
    loader = lab.subject.loader
    if loader is None or iter(loader) is not loader:
        return None
    again = [t for t in lab.training_loops if t.epoch is not None and t.epoch.count != 1]
    if not again or again[0].epoch is None:
        return None
    return Problem(
        "the loader is an iterator that can be read once, and the training loop reads it in every "
        "epoch: from the second epoch on it yields no batch",
        "one reading", "one for each epoch",
        "give an object whose __iter__ starts anew (a DataLoader), or make the generator inside "
        "the epoch loop", certain=False, location=maker(lab, "data") or _loader_line(lab),
    )  # fmt: skip


def _loader_line(lab: Lab) -> Location | None:
    route = chains(lab).route
    return route[0].location if route else None
