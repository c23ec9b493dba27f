"""A part of the gradient is lost: autograd's slope against the one that the loss really has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import Cause
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything

from ._recorded_ops import Op, Recording, record
from ._tested import TestedCause, state_of

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

STEP = 1e-2  # of the weights' norm: float32 keeps three digits of the difference
LOST = 0.2  # of the slope along the gradient; kinks and curvature cost a few percent
_WITHOUT = ("detach", "detach_", "data", "numpy", "item", "tolist")


def cut_off(lab: Lab) -> TestedCause:
    """Whether an operation such as `.data` keeps back much of the gradient, although some still
    reaches every weight. Cost: 3 forward passes and a backward pass."""
    op, lost = None, 0.0
    try:
        taken = record(lab)
        op = _cut(taken)
        lost = _lost(lab, _before(taken, op)) if op is not None else 0.0
    except (UserCodeError, RuntimeError):
        op = None
    matches = op is not None and lost > LOST
    return TestedCause(
        Cause(
            title="an operation leaves the autograd graph and takes a part of the gradient along",
            state=state_of(matches),
            evidence=f"{op.name} at {op.location}; along the gradient the loss really changes by "
            f"{lost:.0%} more or less than autograd says"
            if op is not None
            else "nothing on the way to the loss leaves the graph",
            check="gradient-norms",
        ),
        op.location if matches and op is not None else None,
        f"keep {op.name} out of the way to the loss" if op is not None else "",
    )


def _cut(taken: Recording) -> Op | None:
    """The first operation that takes a tensor out of the graph whose values enter the loss."""
    entering = taken.reaching([taken.loss])
    return next(
        (op for op in taken.ops
         if op.name in _WITHOUT and op.attached
         and any(id(t) in entering and not t.requires_grad for t in op.outputs)), None,
    )  # fmt: skip


def _before(taken: Recording, op: Op) -> set[str]:
    """Names of the weights that the operation's input is made from."""
    entering = taken.reaching(op.attached)
    return {name for name, weight in taken.parameters.items() if id(weight) in entering}


def _lost(lab: Lab, names: set[str]) -> float:
    """|true slope / autograd's slope - 1| along the gradient of these weights, noise off."""
    rig = lab.rig().quiet()
    batch = rig.put(lab.train_batches[0])
    weights = [p for name, p in rig.trainable() if name in names]
    grads = rig.grad(_loss(rig, batch, lab.seed), weights, keep=False)
    pairs = [(p, g) for p, g in zip(weights, grads, strict=True) if g is not None]
    norm = math.sqrt(sum(float(g.double().square().sum()) for _, g in pairs))
    size = math.sqrt(sum(float(p.detach().double().square().sum()) for p, _ in pairs))
    if not pairs or not norm or not math.isfinite(norm):
        return 0.0
    step = STEP * max(size, 1e-3) / norm
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for weight, grad in pairs:
                weight.add_(grad, alpha=sign * step)
            values.append(float(_loss(rig, batch, lab.seed)))
    return abs((values[0] - values[1]) / (2 * step * norm * norm) - 1)


def _loss(rig: Rig, batch: object, seed: int) -> torch.Tensor:
    seed_everything(seed)
    return rig.step(batch).loss
