"""`overfit-one-batch`, `optimizer-learns` and `gradient-norms` for a script that can only be
observed: its own loop runs, on the same batch again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recipe_check import NotApplicable
from recipe_check.probes.rerun import Recorded
from recipe_check.probes.rerun_process import run_again

from ._reruns import LONG, RATE, fall, losses, own_run

if TYPE_CHECKING:
    from recipe_check import Lab

    from .gradient_norms import Gradients
    from .optimizer_learns import Descent
    from .overfit_one_batch import Attempt, BatchFit

FALLS = 0.25  # of the first loss: with so much the script's own optimizer has learned the batch
SHOWN = 4  # steps whose gradients are shown, as many as the batches of the shared trace


def fit_observed(lab: Lab) -> BatchFit:
    """The loss of the script on one batch, with its own optimizers, and with Adam in their place
    where those do not get far. Cost: a run of the script of 100 steps, and another of 200."""
    from .overfit_one_batch import BatchFit

    own, adam = _runs(lab)
    attempts = [_attempt(math.nan, own)] + ([_attempt(RATE, adam)] if adam else [])
    best = min(attempts, key=lambda a: a.final if math.isfinite(a.final) else math.inf)
    return BatchFit(
        kind="",
        floor=None,
        chance=None,
        attempts=tuple(attempts),
        best=best,
        head_trains=True,
        frozen_share=0.0,
        labels=(),
        causes=(),
    )


def _runs(lab: Lab) -> tuple[Sequence[float], Sequence[float]]:
    """The script's losses on one batch, and with Adam; () where that was not needed."""
    seen = own_run(lab, "batch")
    if not seen.alike:
        raise NotApplicable("the script's data come from no DataLoader: they cannot be held, and "
                            "nothing is known of one batch")  # fmt: skip
    own = losses(seen)
    if fall(own) >= FALLS or not seen.optimizers:
        return own, ()
    try:
        return own, losses(run_again(lab, hold="batch", rate=RATE, steps=LONG))
    except NotApplicable:
        return own, ()


def _attempt(rate: float, curve: Sequence[float]) -> Attempt:
    from ._batch_fit import progress
    from .overfit_one_batch import Attempt

    last = curve[-max(len(curve) // 5, 1) :]
    final = sum(last) / len(last)
    return Attempt(rate, tuple(curve), final, math.nan, progress(curve[0], final, None))


def descent_observed(lab: Lab) -> Descent:
    """Both curves on one batch, as `fit_observed` has them. Cost: none beside it."""
    from .optimizer_learns import Descent

    own, adam = _runs(lab)
    optimizers = own_run(lab, "batch").optimizers
    return Descent(
        name=", ".join(dict.fromkeys(o.kind for o in optimizers)) or "the script",
        rate=math.nan,
        decay=0.0,
        start=own[0],
        own=tuple(own),
        reference=tuple(adam),
        growth=1.0,
        location=optimizers[0].place if len(optimizers) == 1 else None,
    )


def gradients_observed(lab: Lab) -> Gradients:
    """The gradients that the script's own optimizers get. Cost: one run of the script."""
    from recipe_check.probes.trace import TensorGradient

    from .gradient_norms import Gradients

    seen = run_again(lab)
    tensors = tuple(
        TensorGradient(
            name=found.name,
            shape=found.shape,
            weight_norm=found.weight,
            norms=found.norms[:SHOWN],
            settled=next((n for n in reversed(found.norms) if n), None),
        )
        for found in seen.norms
    )
    return Gradients(
        attached=any(n is not None for t in tensors for n in t.norms),
        losses=_first_losses(seen),
        tensors=tensors,
        cut=None,
        nonfinite=None,
        dead="",
        trainable=len(tensors),
        frozen=0,
    )


def _first_losses(seen: Recorded) -> tuple[float, ...]:
    if not seen.norms:
        raise NotApplicable(f"the script made no step when it was run again ({seen.ended})")
    return tuple(reading.value for reading in seen.readings[:SHOWN])
