"""The measurement of `output-collapse`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable, tree
from recipe_check.lab import seed_everything

from ._batch_fit import fitted_batch
from .output_collapse import Outputs

if TYPE_CHECKING:
    from recipe_check import Lab, Rig


def see_outputs(lab: Lab) -> Outputs:
    """Outputs of the fitted batch before and after the fit."""
    fitted = fitted_batch(lab)
    targets = tree.leaves(fitted.rig.split(fitted.batch).target)
    if targets and all(t.ndim and bool((t == t[:1]).all()) for t in targets):
        raise NotApplicable("all samples of the batch have the same target")
    before = _matrix(lab.rig().quiet(), fitted.batch)
    after = _matrix(fitted.rig, fitted.batch)
    if after is None or before is None:
        raise NotApplicable("the output has no row for each sample")
    if not bool(after.isfinite().all()):
        raise NotApplicable("the fitted outputs are not finite (see overfit-one-batch)")
    dead = lab.trace.blocked
    return Outputs(
        before=_spread(before),
        after=_spread(after),
        rank=_effective_rank(after),
        width=min(after.shape),
        samples=after.shape[0],
        dead=(dead.module or dead.op) if dead else "",
        location=dead.location if dead else None,
        progress=fitted.fit.progress,
    )


def _matrix(rig: Rig, batch: Any) -> torch.Tensor | None:
    """The first float output as [samples, values] in float64."""
    with rig.looking():
        seed_everything(0)
        output = rig.forward(batch)
    rows = next((len(t) for t in tree.leaves(rig.split(batch).inputs) if t.ndim), 0)
    for leaf in tree.leaves(output):
        if leaf.is_floating_point() and leaf.ndim and leaf.shape[0] == rows > 1:
            return leaf.detach().double().reshape(rows, -1)
    return None


def _spread(value: torch.Tensor) -> float:
    return float(value.std(0, correction=0).max() / value.abs().max().clamp_min(1e-12))


def _effective_rank(value: torch.Tensor) -> float:
    """exp of the entropy of the normalised squared singular values, 1 to min(shape)."""
    power = torch.linalg.svdvals(value - value.mean(0)).square()
    share = power / power.sum().clamp_min(1e-300)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum())) if len(share) else 0.0
