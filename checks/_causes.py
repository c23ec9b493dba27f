"""Hypotheses for a model that cannot learn, each tested on the model that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recipe_check import CauseState
from recipe_check.probes.watch import LossTerm

from ._cut_gradient import cut_off
from ._loss_causes import broadcast, contract, small_scores, squashed, too_few_outputs
from ._loss_input import loss_input
from ._model_causes import (
    dead,
    ignores_input,
    narrow,
    no_gradient,
    overruns,
    saturated,
    symmetric,
    unregistered,
    vanishing,
)
from ._tested import TestedCause

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

_ORDER = (CauseState.MATCHES, CauseState.RULED_OUT, CauseState.NOT_TESTED)


def causes_of(
    lab: Lab, rig: Rig, batch: Any, final: float, terms: Sequence[LossTerm]
) -> tuple[TestedCause, ...]:
    """All hypotheses, those that match first. Cost: 6 forward passes and one backward pass, and
    those of loss-contract where that has not run."""
    term = terms[0] if terms else None
    found = [
        overruns(lab, final),
        *_of_the_loss(lab, term, final),
        symmetric(lab),
        no_gradient(lab),
        vanishing(lab),
        dead(lab),
        saturated(lab),
        ignores_input(rig, batch),
        unregistered(lab),
        narrow(lab, rig, term),
        small_scores(lab, term),
        cut_off(lab),
    ]
    return tuple(sorted(found, key=lambda c: _ORDER.index(c.cause.state)))


def _of_the_loss(lab: Lab, term: LossTerm | None, final: float) -> list[TestedCause]:
    entering = {
        "squashed scores instead of raw ones": squashed(loss_input(lab), term, final),
        "prediction and target are broadcast": broadcast(term, final),
        "one output for several classes": too_few_outputs(lab, term),
    }
    told = [t for t, c in entering.items() if c.cause.state is CauseState.MATCHES]
    return [*entering.values(), *contract(lab, told)]


def breaks_contract(lab: Lab, final: float, terms: Sequence[LossTerm]) -> bool:
    """Whether the loss gets what it does not take, so that labels which are all right do not
    speak for the model. Cost: the passes of loss-contract where that has not run."""
    found = _of_the_loss(lab, terms[0] if terms else None, final)
    return any(
        c.cause.check == "loss-contract" and c.cause.state is CauseState.MATCHES for c in found
    )
