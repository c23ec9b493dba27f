"""The measurement of `gradient-check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError

from ._differences import Comparison, compare, noise_like
from ._functions import suspects
from ._subset import on_few_rows
from .gradient_check import Slopes

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

SAMPLES = 4


def see_slopes(lab: Lab, tolerance: float) -> Slopes:
    """One directional derivative in float64; a second point and the suspects where it is off."""
    rig = lab.rig().double().quiet()
    whole = rig.put(_to_double(lab.train_batches[0]))
    try:
        batch, first = on_few_rows(
            lab, rig, whole, SAMPLES, lambda few: (few, compare(rig, few, tolerance))
        )
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run in float64: {error}") from error
    if first.low_precision:
        raise NotApplicable("part of the computation stays in float32: no exact differences")
    best = first
    if first.error > tolerance:
        _step_aside(rig)
        second = compare(rig, batch, tolerance)
        best = min(first, second, key=lambda found: found.error)
    bad = suspects(rig, batch, tolerance) if best.error > tolerance else []
    return _slopes(best, tuple(bad))


def _slopes(best: Comparison, bad: tuple[Any, ...]) -> Slopes:
    worst = max(bad, key=lambda s: (s.nature == "wrong", s.error), default=None)
    return Slopes(
        analytic=best.analytic,
        numeric=best.numeric,
        error=best.error,
        step=best.step,
        function=worst.name if worst else "",
        function_error=worst.error if worst else 0.0,
        nature=worst.nature if worst else "",
        location=worst.location if worst else None,
    )


def _to_double(batch: Any) -> Any:
    return tree.map_leaves(batch, lambda t: t.double() if t.is_floating_point() else t)


def _step_aside(rig: Rig) -> None:
    """Another point, away from the kinks of the first."""
    with torch.no_grad():
        for _, parameter in rig.trainable():
            parameter.add_(noise_like(parameter), alpha=1e-3)
