"""Hypotheses for a model that cannot learn, each tested on the model that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recipe_check import CauseState
from recipe_check.probes.watch import LossTerm

from ._loss_causes import broadcast, squashed, too_few_outputs
from ._loss_input import loss_input
from ._model_causes import (
    dead,
    ignores_input,
    narrow,
    no_gradient,
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
    """All hypotheses, those that match first. Cost: 3 forward passes."""
    term = terms[0] if terms else None
    found = [
        squashed(loss_input(lab), term, final),
        broadcast(term, final),
        too_few_outputs(lab, term),
        symmetric(lab),
        no_gradient(lab),
        vanishing(lab),
        dead(lab),
        saturated(lab),
        ignores_input(rig, batch),
        unregistered(lab),
        narrow(lab, rig, term),
    ]
    return tuple(sorted(found, key=lambda c: _ORDER.index(c.cause.state)))
