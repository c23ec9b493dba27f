"""Two-sided games: terms of one loss that train different parts of the model."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch

from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, Watch

from ._functions import functions_in, suspects

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
        loss = rig.step(batch).loss
    if hides_weights(loss):
        return False
    parameters = [p for _, p in rig.trainable()]
    reached = []
    for term in observer.terms[:MOST]:
        if term.value.requires_grad:
            try:
                grads = rig.grad(term.value.sum(), parameters)
            except UserCodeError:
                return False
            reached.append({i for i, g in enumerate(grads) if g is not None})
    apart = any(a and b and not a & b for a, b in combinations(reached, 2))
    return apart or any(s.nature == "identity" for s in suspects(rig, batch, REVERSED))


def hides_weights(loss: torch.Tensor) -> bool:
    """Whether re-entrant checkpointing stands in the graph: `autograd.grad` refuses it, or leaves
    out the weights behind it."""
    return any(function.__name__ == "CheckpointFunction" for function in functions_in(loss))
