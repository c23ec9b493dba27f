"""The lowest loss that any model could reach: the recorded loss minimised over free outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import tree
from recipe_check.probes.watch import LossTerm

if TYPE_CHECKING:
    from recipe_check import Rig

ITERATIONS = 60  # of L-BFGS; convex losses of 16 samples converge in fewer
_LOG_PROBABILITIES = ("nll_loss", "kl_div", "ctc_loss")
ELEMENTWISE = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_BOUNDED = frozenset({
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "ctc_loss",
    "multi_margin_loss", "multilabel_soft_margin_loss", "soft_margin_loss", "poisson_nll_loss",
    "multilabel_margin_loss",
})  # fmt: skip


def is_bounded(term: LossTerm) -> bool:
    """Whether the loss has a lowest value over free outputs."""
    return term.kind in _BOUNDED and term.value.numel() == 1


def attainable(term: LossTerm, rows: torch.Tensor | None) -> float:
    """The minimum of the term over its prediction.

    `rows` maps each sample to one of the distinct inputs: samples with the same input must share
    their prediction, so that conflicting labels cost what they must. None: all are free.
    """
    shape = list(term.prediction.shape)
    if rows is not None:
        shape[0] = int(rows.max()) + 1
    device = term.prediction.device
    free = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        spread = free if rows is None else free[rows]
        return _replayed(term, _valid(term, spread))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        minimise: Callable[..., Any] = optimizer.step
        minimise(closure)
    found = float(loss().detach())
    return found if math.isfinite(found) else 0.0


def _valid(term: LossTerm, free: torch.Tensor) -> torch.Tensor:
    """Free numbers as what the loss takes: log-probabilities, probabilities, or themselves."""
    if term.kind in _LOG_PROBABILITIES:
        axis = 1 if term.kind == "nll_loss" and free.ndim > 1 else free.ndim - 1
        return free.log_softmax(axis)
    return free.sigmoid() if term.kind == "binary_cross_entropy" else free


def _replayed(term: LossTerm, prediction: torch.Tensor) -> torch.Tensor:
    """The loss in float64: targets and weights that are floats go along."""

    def lift(value: Any) -> Any:
        return tree.map_leaves(value, lambda t: t.double() if t.is_floating_point() else t)

    arguments, named = lift(list(term.args)), lift(dict(term.kwargs))
    value: torch.Tensor = term.func(prediction, lift(_aligned(term)), *arguments, **named)
    return value


def _aligned(term: LossTerm) -> Any:
    """The target in the prediction's shape: (B,) against (B, 1) is meant sample by sample, and
    what broadcasting costs is no floor but a mistake."""
    if is_broadcast(term):
        return term.target.reshape(term.prediction.shape)
    return term.target


def is_broadcast(term: LossTerm) -> bool:
    """An elementwise loss whose two sides have as many elements in different shapes."""
    target = term.target
    return (
        term.kind in ELEMENTWISE
        and isinstance(target, torch.Tensor)
        and target.shape != term.prediction.shape
        and target.numel() == term.prediction.numel() > 1
    )


def distinct_rows(rig: Rig, batch: Any, count: int) -> torch.Tensor | None:
    """For each of `count` samples the number of its distinct input; None where all differ or
    the inputs have no common first axis."""
    leaves = [t for t in tree.leaves(rig.split(batch).inputs) if t.ndim]
    if not leaves or any(t.shape[0] != count for t in leaves):
        return None
    flat = torch.cat([t.detach().reshape(count, -1).double().cpu() for t in leaves], 1)
    unique, rows = torch.unique(flat, dim=0, return_inverse=True)
    return rows.to(leaves[0].device) if len(unique) < count else None
