"""The measurement of `update-ratio`: one step on a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lab import seed_everything

from ._blame import maker
from .update_ratio import Move, Updates

if TYPE_CHECKING:
    from recipe_check import Lab


def see_moves(lab: Lab) -> Updates:
    """Takes the step; two synchronisations."""
    rig = lab.rig().train()
    optimizer = rig.warm_optimizer()
    rates = {id(p): float(g.get("lr", 0.0)) for g in optimizer.param_groups for p in g["params"]}
    weights = [(n, p) for n, p in rig.trainable() if p.ndim >= 2 and rates.get(id(p), 0.0) > 0]
    if not weights:
        raise NotApplicable("no weight with a learning rate above zero (warm-up from zero?)")
    before = [p.detach().clone() for _, p in weights]
    seed_everything(lab.seed)
    if not lab.trace.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    rig.update(optimizer, rig.put(lab.train_batches[0]))
    moves = []
    for (name, p), old in zip(weights, before, strict=True):
        size, change = _norm(old), _norm(p.detach() - old)
        has_gradient = p.grad is not None and _norm(p.grad) > 0
        if size > 0 and (has_gradient or change > 0):
            moves.append(Move(name, change / size, has_gradient and change == 0, p.numel()))
    if not moves:
        raise NotApplicable("no weight has both a size and a gradient")
    first = weights[0][1]
    return Updates(
        optimizer=type(optimizer).__name__,
        rate=rates[id(first)],
        dtype=str(first.dtype).removeprefix("torch."),
        moves=tuple(moves),
        location=maker(lab, "optimizer"),
    )


def _norm(value: torch.Tensor) -> float:
    dense = value.detach().to_dense() if value.is_sparse else value.detach()
    return float(dense.abs().double().norm())
