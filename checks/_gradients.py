"""What `gradient-norms` reads from the shared trace, and where the gradient stops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._gradient_stops import gradient_stop
from ._not_finite import not_finite
from .gradient_norms import Gradients

if TYPE_CHECKING:
    from recipe_check import Lab, Rig
    from recipe_check.probes.trace import TensorGradient, Trace


def see_gradients(lab: Lab) -> Gradients:
    """Reads the trace; one more forward and backward pass only where something is wrong."""
    trace, rig = lab.trace, lab.rig().train()
    held = _held_names(rig)
    tensors = tuple(t for t in trace.gradients if held is None or t.name in held)
    silent = frozenset(t.name for t in tensors if is_silent(t) or not trace.requires_grad)
    broken = any(not math.isfinite(loss) for loss in trace.losses) or _has_nonfinite(tensors)
    parameters = list(rig.model.parameters())
    trainable = sum(p.requires_grad for p in parameters)
    return Gradients(
        attached=trace.requires_grad,
        losses=trace.losses,
        tensors=tensors,
        cut=gradient_stop(lab, silent) if silent else None,
        nonfinite=not_finite(lab) if broken else None,
        dead=_dead_rectifier(trace),
        trainable=trainable,
        frozen=len(parameters) - trainable,
    )


def _held_names(rig: Rig) -> set[str] | None:
    """Names of the tensors that the user's optimizer holds, None where there is none."""
    if rig.optimizer is None:
        return None
    held = {id(p) for group in rig.optimizer.param_groups for p in group["params"]}
    names = {name for name, p in rig.trainable() if id(p) in held}
    return names or None


def is_silent(tensor: TensorGradient) -> bool:
    """A weight without a gradient at the start and after three steps."""
    return len(tensor.shape) >= 2 and not any((*tensor.norms, tensor.settled))


def _has_nonfinite(tensors: tuple[TensorGradient, ...]) -> bool:
    return any(
        n is not None and not math.isfinite(n) for t in tensors for n in (*t.norms, t.settled)
    )


def _dead_rectifier(trace: Trace) -> str:
    dead = trace.blocked
    return (dead.module or dead.op) if dead else ""
