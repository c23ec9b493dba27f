"""How the loss grows with the batch, and by what its terms are scaled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Location, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.lineage import made_at, modules_made
from recipe_check.probes.watch import LossTerm

from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

EXACT = 1e-3  # relative: rounding of a sum of a few hundred floats is below 1e-5
ODD_SCALE = 1e3  # or its inverse: weights of whole losses lie between (accumulation, annealing)


def grown(lab: Lab, terms: list[LossTerm], line: Location | None) -> Breach | None:
    """The loss of the batch against that of the batch joined with itself, twice and three times:
    equal for a mean; double for a sum; half for a mean that is divided by the batch once more.

    Nothing is said of losses that draw noise. Cost: 3 forward passes, without a graph, 4 where
    twice the batch costs twice or half as much.
    """
    power = lab.cached("loss-growth", lambda: _power(lab))
    if power is None:
        return None
    if power == 1:
        return Breach(
            "the loss is summed over the batch",
            "twice the batch costs twice as much: the gradient, and with it the step, grows "
            "with the batch size",
            "take the mean over the samples (reduction='mean', .mean())",
            _summing(terms) or line,
            certain=False,
        )
    return Breach(
        "the loss is divided by the batch size twice",
        "twice the batch costs half as much: a mean was divided by the number of samples again",
        "divide once: a mean needs no len(batch)",
        line,
        certain=False,
    )


def scaled(terms: list[LossTerm], loss: float, line: Location | None) -> Breach | None:
    """The step minimises a tiny or huge multiple of the only loss that it computes."""
    if len(terms) != 1 or terms[0].value.numel() != 1:
        return None
    value = float(terms[0].value.detach())
    if terms[0].kwargs.get("reduction", "mean") != "mean" or not value or not loss:
        return None
    factor = abs(loss / value)
    if not math.isfinite(factor) or 1 / ODD_SCALE < factor < ODD_SCALE:
        return None
    return Breach(
        "the loss is scaled",
        f"{terms[0].kind} is {value:.3g}, and the step minimises {loss:.3g}: {factor:.3g} times",
        "remove the factor: the learning rate is the place for it",
        line,
        certain=False,
    )


def _summing(terms: list[LossTerm]) -> Location | None:
    """The line that made the summing loss module, or called the summing function."""
    if not any(term.kwargs.get("reduction") == "sum" for term in terms):
        return None
    made = (made_at(m) for m in modules_made() if getattr(m, "reduction", "") == "sum"
            and isinstance(m, nn.modules.loss._Loss))  # fmt: skip
    return next((where for where in made if where is not None), terms[0].location)


def _power(lab: Lab) -> int | None:
    """The n of loss ~ size ** n where it is -1 or 1; None where it is another or unknown."""
    rig = lab.rig().quiet()
    batch = rig.put(lab.train_batches[0])
    try:
        once, noisy = _loss(rig, batch, lab.seed), _loss(rig, batch, lab.seed + 1)
        if not math.isfinite(once) or abs(once) < 1e-12 or once != noisy:
            return None
        twice = _loss(rig, repeated(batch, 2), lab.seed) / once
        power = next((n for n in (-1, 1) if abs(twice / 2.0**n - 1) < EXACT), None)
        if power is None:
            return None
        thrice = _loss(rig, repeated(batch, 3), lab.seed) / once
    except (UserCodeError, RuntimeError, TypeError, ValueError):
        return None
    return power if abs(thrice / 3.0**power - 1) < EXACT else None


def _loss(rig: Rig, batch: Any, seed: int) -> float:
    with rig.looking():
        seed_everything(seed)
        return float(rig.step(batch).loss.detach())


def repeated(batch: Any, times: int) -> Any:
    """Each tensor with a row for each sample, joined with itself."""
    size = next((len(t) for t in tree.leaves(batch) if t.ndim), 0)

    def join(leaf: torch.Tensor) -> torch.Tensor:
        return torch.cat([leaf] * times) if leaf.ndim and len(leaf) == size else leaf

    return tree.map_leaves(batch, join)
