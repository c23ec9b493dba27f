"""Causes and plot of `gradient-norms`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipe_check import (
    Bars,
    Cause,
    CauseState,
    Fix,
)

from ._depth import Decay

if TYPE_CHECKING:
    from recipe_check.probes.trace import TensorGradient

    from .gradient_norms import Gradients


def largest_norm(tensor: TensorGradient) -> float | None:
    """The largest over the batches."""
    known = [n for n in tensor.norms if n is not None]
    return max(known) if known else None


def graph_causes(seen: Gradients) -> tuple[Cause, ...]:
    cut = seen.cut
    return (
        Cause(
            title="an operation leaves the autograd graph or has a slope of zero",
            state=CauseState.MATCHES if cut else CauseState.RULED_OUT,
            evidence=f"{cut.op} at {cut.location}: {cut.why}"
            if cut
            else "no detach, item, argmax … on the way",
        ),
        Cause(
            title="a dead rectifier blocks the gradient",
            state=CauseState.MATCHES if seen.dead else CauseState.RULED_OUT,
            evidence=f"{seen.dead} never fires" if seen.dead else "",
            check="dead-relu",
        ),
        Cause(
            title="parameters are frozen",
            state=CauseState.MATCHES if not seen.trainable else CauseState.RULED_OUT,
            evidence=f"{seen.trainable} of {seen.trainable + seen.frozen} tensors are trainable",
        ),
    )


def fix_of(seen: Gradients) -> Fix:
    if seen.cut is not None:
        return Fix(text=f"replace {seen.cut.op}: {seen.cut.why}")
    return Fix(text="remove the detach (or no_grad, item, argmax) between them and the loss, or "
               "leave them out of the optimizer")  # fmt: skip


def finite_causes(seen: Gradients) -> tuple[Cause, ...]:
    found = seen.nonfinite
    return (
        Cause(
            title="an operation that is not finite",
            state=CauseState.MATCHES if found else CauseState.RULED_OUT,
            evidence=f"{found.op or 'the data'}: {found.why}" if found else "",
        ),
    )


def decay_causes(decay: Decay) -> tuple[Cause, ...]:
    return (
        Cause(
            title="each layer multiplies the gradient by the same small factor",
            state=CauseState.MATCHES,
            evidence=f"correlation of log norm with depth {decay.correlation:.2f}",
        ),
    )


def plot_norms(seen: Gradients) -> tuple[Bars, ...]:
    shown = [t for t in seen.tensors if len(t.shape) >= 2] or list(seen.tensors)
    if not shown:
        return ()
    return (
        Bars(
            title="Gradient norm of each weight, by depth",
            value_label="norm of the gradient",
            names=tuple(t.name for t in shown),
            values=tuple(largest_norm(t) or 0.0 for t in shown),
            log_y=True,
            caption="At the initial weights, the largest over four batches; first layer on top",
        ),
    )
