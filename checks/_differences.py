"""Directional derivatives in float64: autograd against central differences.

What autograd is told to treat as constant (detach, no_grad, stop-gradient tricks) is recorded in
the first pass and replayed in the others, so that both sides differentiate the same function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable, tree
from recipe_check.lab import seed_everything

from ._frozen import Frozen

if TYPE_CHECKING:
    from recipe_check import Rig

# float64: truncation ~h², rounding ~1e-16/h. The smallest meets the fewest kinks and measured 1e-11
# to 5e-9 on sound models, where it comes first; a loss that is large beside its slope needs more.
STEPS = (1e-7, 1e-6, 1e-5)
LOCAL_STEP = 1e-6
NOISE_SEED = 7


@dataclass(frozen=True)
class Comparison:
    """Slopes along one direction; `error` is |difference| over the larger of the two."""

    analytic: float
    numeric: float
    error: float
    step: float
    low_precision: bool


def compare(rig: Rig, batch: Any, tolerance: float) -> Comparison:
    """The best agreement over the step sizes, stopping at the first good one.

    The direction is, for each tensor, the normalised gradient plus a random unit vector. Raises
    NotApplicable where the loss has no gradient or is not finite.
    """
    parameters: list[torch.Tensor] = [p for _, p in rig.trainable()]
    frozen = Frozen()
    before = [p.detach().clone() for p in parameters]
    gradients = _gradients(rig, batch, parameters, frozen)
    parameters, before, gradients = _left_alone(parameters, before, gradients)
    analytic, directions = _slope(gradients)

    def loss_at(distance: float) -> float:
        _move(parameters, before, directions, distance)
        seed_everything(NOISE_SEED)
        with frozen.replay():
            return float(rig.step(batch).loss.detach())

    def slope_over(step: float) -> float:
        try:
            return (loss_at(step) - loss_at(-step)) / (2 * step)
        finally:
            _move(parameters, before, directions, 0.0)

    best: Comparison | None = None
    for step in STEPS:
        numeric = slope_over(step)
        error = relative_error(analytic, numeric)
        found = Comparison(analytic, numeric, error, step, frozen.low_precision)
        best = found if best is None or error < best.error else best
        if best.error <= tolerance:
            break
    assert best is not None
    return best


def relative_error(analytic: float, numeric: float) -> float:
    """|a - n| / max(|a|, |n|), as CS231n has it; 0 where both vanish."""
    largest = max(abs(analytic), abs(numeric))
    if not math.isfinite(largest):
        return math.inf
    return abs(analytic - numeric) / largest if largest > 1e-12 else 0.0


def _gradients(
    rig: Rig, batch: Any, parameters: Sequence[torch.Tensor], frozen: Frozen
) -> list[torch.Tensor]:
    seed_everything(NOISE_SEED)
    for parameter in parameters:
        parameter.grad = None
    with frozen:
        loss = rig.step(batch).loss
    if not loss.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    if not bool(loss.isfinite()):
        raise NotApplicable("the loss is not finite (see gradient-norms)")
    rig.backward(loss)
    return [_taken(p) for p in parameters]


def _left_alone(
    parameters: Sequence[torch.Tensor], before: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:  # fmt: skip
    """Without the weights that the pass itself writes, such as prototypes that are normalised:
    where they are moved to, the loss does not see."""
    rows = [row for row in zip(parameters, before, gradients, strict=True)
            if bool((row[0].detach() == row[1]).all())]  # fmt: skip
    return [p for p, _, _ in rows], [b for _, b, _ in rows], [g for _, _, g in rows]


def _taken(parameter: torch.Tensor) -> torch.Tensor:
    """The gradient, which the parameter holds no longer."""
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    gradient, parameter.grad = parameter.grad.detach(), None
    return gradient.to_dense() if gradient.is_sparse else gradient


def _slope(gradients: list[torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
    """The slope along a direction, and that direction. Uses the gradients up: there is memory for
    one set of tensors less."""
    total, directions = 0.0, []
    while gradients:
        gradient = gradients.pop(0)
        direction = _direction(gradient)
        total += _inner(gradient, direction)
        directions.append(direction)
    return total, directions


def _direction(gradient: torch.Tensor) -> torch.Tensor:
    direction = noise_like(gradient)
    direction.div_(direction.norm().clamp_min(1e-12))
    norm = float(gradient.norm())
    return direction.add_(gradient, alpha=1 / norm) if norm > 0 else direction


def noise_like(tensor: torch.Tensor) -> torch.Tensor:
    """Normal noise of this shape and type. Drawn in float32, which is four times faster on a CPU
    and random enough for a direction."""
    if tensor.dtype != torch.float64:
        return torch.randn_like(tensor)
    return torch.randn(tensor.shape, device=tensor.device, dtype=torch.float32).double()


def _inner(gradient: torch.Tensor, direction: torch.Tensor) -> float:
    product = torch.vdot(gradient.reshape(-1), direction.reshape(-1))
    return float(product.real if product.is_complex() else product)


def _move(
    tensors: Sequence[torch.Tensor], before: Sequence[torch.Tensor],
    directions: Sequence[torch.Tensor], distance: float,
) -> None:  # fmt: skip
    """Puts the tensors so far from where they were."""
    with torch.no_grad():
        for tensor, start, direction in zip(tensors, before, directions, strict=True):
            tensor.copy_(start)
            if distance:
                tensor.add_(direction, alpha=distance)


def local_error(
    call: Callable[[Sequence[torch.Tensor]], Any], inputs: Sequence[torch.Tensor]
) -> tuple[float, float]:
    """Relative error of one function's backward at its own inputs, and its numeric slope.

    The output is projected on a random direction; both sides are exact for a linear function.
    """
    leaves = [t.detach().clone().requires_grad_(t.is_floating_point()) for t in inputs]
    free = [t for t in leaves if t.requires_grad]
    seed_everything(NOISE_SEED)
    outputs = [t for t in tree.leaves(call(leaves)) if t.is_floating_point() and t.requires_grad]
    if not outputs or not free:
        return 0.0, 0.0
    weights = [torch.randn_like(o) for o in outputs]
    directions = [torch.randn_like(t) for t in free]
    total = _projected(outputs, weights)
    gradients = torch.autograd.grad(total, free, allow_unused=True)
    analytic = sum(
        _inner(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None
    )
    numeric = _numeric(call, leaves, free, directions, weights)
    return relative_error(analytic, numeric), numeric


def _projected(outputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([(o * w).sum() for o, w in zip(outputs, weights, strict=True)]).sum()


def _numeric(
    call: Callable[[Sequence[torch.Tensor]], Any],
    leaves: Sequence[torch.Tensor],
    free: Sequence[torch.Tensor],
    directions: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
) -> float:
    values, before = [], [t.detach().clone() for t in free]
    try:
        for distance in (LOCAL_STEP, -LOCAL_STEP):
            _move(free, before, directions, distance)
            seed_everything(NOISE_SEED)
            found = [t for t in tree.leaves(call(leaves)) if t.is_floating_point()]
            values.append(float(_projected(found[: len(weights)], weights).detach()))
    finally:
        _move(free, before, directions, 0.0)
    return (values[0] - values[1]) / (2 * LOCAL_STEP)
