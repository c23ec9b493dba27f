"""Hypotheses about what enters the loss of a model that cannot learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import Cause

from ._blame import last_layer
from ._floor import is_broadcast
from ._loss_input import LossInput
from ._tested import TestedCause, state_of

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.watch import LossTerm


def squashed(entered: LossInput, term: LossTerm | None, final: float) -> TestedCause:
    """Softmax, sigmoid or ReLU right before a loss that wants raw scores."""
    matches = bool(entered.op)
    evidence = entered.why
    if matches and term is not None and term.kind == "cross_entropy":
        classes = term.prediction.shape[1] if term.prediction.ndim > 1 else 1
        floor = math.log(1 + (classes - 1) / math.e) if classes > 1 else 0.0
        if entered.op == "softmax" and classes > 1:
            evidence += f"; that floors the loss at {floor:.4g}, it ended at {final:.4g}"
    return TestedCause(
        Cause(
            title=f"the loss receives the output of {entered.op or 'softmax, sigmoid or ReLU'}",
            state=state_of(matches),
            evidence=evidence,
            check="loss-contract",
        ),
        entered.location,
        f"return the raw scores: {entered.kind} applies its own normalisation",
    )


def broadcast(term: LossTerm | None, final: float) -> TestedCause:
    """(B, 1) against (B,): the loss compares every prediction with every target."""
    matches, evidence = False, ""
    if term is not None and isinstance(term.target, torch.Tensor):
        matches = is_broadcast(term)
        evidence = f"prediction {tuple(term.prediction.shape)}, target {tuple(term.target.shape)}"
        if matches:
            spread = float(term.target.double().var(correction=0))
            evidence += f"; the variance of the targets is {spread:.4g}, it ended at {final:.4g}"
    return TestedCause(
        Cause(
            title="prediction and target have different shapes and are broadcast",
            state=state_of(matches),
            evidence=evidence,
            check="loss-contract",
        ),
        term.location if term else None,
        "give both the same shape: prediction.squeeze(1), or target.unsqueeze(1)",
    )


def too_few_outputs(lab: Lab, term: LossTerm | None) -> TestedCause:
    matches, evidence = False, ""
    if term is not None and isinstance(term.target, torch.Tensor):
        if term.kind in ("cross_entropy", "nll_loss") and term.prediction.ndim > 1:
            matches = term.prediction.shape[1] == 1
            evidence = f"{term.prediction.shape[1]} outputs"
        elif term.kind.startswith("binary_cross_entropy") and term.target.numel():
            high = float(term.target.max())
            matches = high > 1 or float(term.target.min()) < 0
            evidence = f"targets up to {high:g}"
    return TestedCause(
        Cause(
            title="too few outputs for the labels",
            state=state_of(matches),
            evidence=evidence,
            check="label-range",
        ),
        last_layer(lab) if matches else None,
        "use one output for each class and cross-entropy",
    )
