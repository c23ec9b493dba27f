"""The measurement of `target-scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.lineage import ARITHMETIC

from ._blame import maker, target_line
from ._data_lines import scaled_line, validation_line
from ._input_scale import LEAST_ROWS, has_outlier
from ._scan import scan
from .target_scale import Targets

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.watch import LossTerm

KINDS = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss"})


def see_targets(lab: Lab) -> Targets:
    """Targets of the whole loader where the loss gets them as they are, else of the loss."""
    term = _regression(lab)
    moments = scan(lab).target_moments
    target = term.target.detach().double()
    mean, std = moments.overall if moments.count is not None else (0.0, 0.0)
    plain = _is_plain(lab, target, mean, std)
    if not plain:
        mean, std = float(target.mean()), float(target.std(correction=0))
        low, high = float(target.min()), float(target.max())
    else:
        assert moments.low is not None and moments.high is not None
        low, high = float(moments.low.min()), float(moments.high.max())
    output = term.prediction.detach().double()
    return Targets(
        mean=mean,
        std=std,
        low=low,
        high=high,
        output_mean=float(output.mean()),
        output_std=float(output.std(correction=0)),
        location=target_line(lab, ARITHMETIC)
        or scaled_line(lab, "targets", (low, high))
        or term.location,
        validation=_validation(lab) if plain else None,
        validation_location=validation_line(lab, "targets") or maker(lab, "val_data"),
    )


def _validation(lab: Lab) -> tuple[float, float] | None:
    """Mean and deviation of the validation targets; None where there are few, or a few of them
    make most of the deviation (amounts, incomes)."""
    if lab.subject.val_loader is None:
        return None
    found = scan(lab, validation=True)
    moments = found.target_moments
    if moments.count is None or found.rows < LEAST_ROWS:
        return None
    if has_outlier(moments) or has_outlier(scan(lab).target_moments):
        return None
    return moments.overall


def _regression(lab: Lab) -> LossTerm:
    try:
        terms = lab.trace.terms
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run: {error}") from error
    found = [t for t in terms if t.kind in KINDS and isinstance(t.target, torch.Tensor)]
    if not found or not found[0].target.numel() or found[0].prediction.is_complex():
        raise NotApplicable("no regression loss was called")
    return found[0]


def _is_plain(lab: Lab, target: torch.Tensor, mean: float, std: float) -> bool:
    """Whether the loss got what the loader yields (not something made from it)."""
    if lab.subject.training_step is not None or std == 0:
        return False
    return abs(float(target.mean()) - mean) <= 3 * std
