"""Two-sided games: terms of one loss that train different parts of the model."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, Watch

from ._functions import suspects

if TYPE_CHECKING:
    from recipe_check import Rig

MOST = 6  # terms
REVERSED = 0.5  # relative error of the slope: a reversed gradient has 2


def is_game(rig: Rig, batch: Any) -> bool:
    """Whether two recorded terms have gradients for different parameters only, as the sides of an
    adversarial training have, or a custom Function reverses the gradient. Cost: three forward
    passes and a backward pass for each term."""
    observer = LossObserver()
    with Watch(observer):
        seed_everything(0)
        rig.step(batch)
    parameters = [p for _, p in rig.trainable()]
    reached = []
    for term in observer.terms[:MOST]:
        if term.value.requires_grad:
            grads = rig.grad(term.value.sum(), parameters)
            reached.append({i for i, g in enumerate(grads) if g is not None})
    apart = any(a and b and not a & b for a, b in combinations(reached, 2))
    return apart or any(s.nature == "identity" for s in suspects(rig, batch, REVERSED))
