"""Hypotheses about what enters the loss of a model that cannot learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from recipe_check import Cause, CauseState, NotApplicable

from ._blame import last_layer
from ._floor import is_broadcast
from ._loss_calls import see_contract
from ._loss_input import LossInput, origins
from ._tested import TestedCause, state_of

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.watch import LossTerm


SCALES = ("the loss is summed over the batch", "the loss is divided by the batch size twice",
          "the loss is scaled", "the logarithm of zero", "an exponential that overflows",
          "kl_div divides by the number of elements", "padding is scored in the loss",
          "class weights grow with the class's frequency",
          "pos_weight makes the rare class lighter", "a class is left out of the loss",
          "dropout right before the loss")  # fmt: skip
SMALL = 1.0  # width of scores: ten classes cost at least ln(1 + 9 / e) = 1.46 then
_SCORES = ("cross_entropy", "nll_loss", "multi_margin_loss")
_FREE = ("linear", "conv1d", "conv2d", "conv3d", "@", "matmul", "bmm", "addmm", "+", "baddbmm", "")


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


def contract(lab: Lab, told: Sequence[str]) -> list[TestedCause]:
    """What loss-contract found, without what was told and what no fit suffers from (scales)."""
    try:
        breaches = see_contract(lab).breaches
    except NotApplicable:
        return []
    return [
        TestedCause(
            Cause(
                title=breach.title,
                state=CauseState.MATCHES,
                evidence=breach.evidence,
                check="loss-contract" if breach.certain else "",
            ),
            breach.location,
            breach.fix,
        )
        for breach in breaches
        if breach.title not in (*told, *SCALES)
    ]


def small_scores(lab: Lab, term: LossTerm | None) -> TestedCause:
    """Scores that stay small after the fit although they differ, and come from no free layer."""
    matches, evidence, where = False, "", None
    if term is not None and term.kind in _SCORES and term.prediction.ndim > 1:
        scores = term.prediction.detach().double()
        width = float((scores.amax(1) - scores.amin(1)).max())
        made = next((o.made for t, o in origins(lab) if t.kind == term.kind), None)
        free = made is None or made.op in _FREE
        varied = float(scores.std(0).max()) > 1e-3 * float(scores.abs().max())
        matches = width < SMALL and not free and varied
        where = made.location if made is not None else None
        evidence = f"the scores of a sample differ by at most {width:.3g} after the fit"
    return TestedCause(
        Cause(
            title="the scores are kept small (a temperature or scale)",
            state=state_of(matches),
            evidence=evidence,
        ),
        where if matches else None,
        "divide bounded scores (cosines) by a small temperature such as 0.05, or scale them up",
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
