"""The measurement of `loss-contract`: every rule on every recorded call, and on losses by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from recipe_check import Location, NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.probes.watch import LossTerm

from . import _loss_arguments as arguments
from . import _loss_documents as documents
from . import _loss_ends as ends
from . import _loss_rules as rules
from . import _loss_targets as targets
from ._blame import maker
from ._log_of_zero import strain
from ._loss_batches import grown, scaled
from ._loss_by_hand import by_hand
from ._loss_input import Origin, origins
from ._recorded_ops import record
from .loss_contract import Breach, Contract

if TYPE_CHECKING:
    from recipe_check import Lab

Rule = Callable[["Lab", LossTerm, Origin], Breach | None]


def see_contract(lab: Lab) -> Contract:
    """Of two breaches with one title the first is kept. Cached."""
    return lab.cached("loss-contract", lambda: _contract(lab))


def _contract(lab: Lab) -> Contract:
    found = origins(lab)
    looked_into = _is_own(lab)
    breaches: dict[str, Breach] = {}
    for breach in _breaches(lab, found, looked_into):
        placed = breach if breach.location else replace(breach, location=maker(lab, "loss"))
        breaches.setdefault(breach.title, placed)
    if not (found or looked_into or breaches):
        raise NotApplicable("no known loss function: what it documents cannot be compared")
    return Contract(
        terms=tuple((t.kind, _text(t.prediction), _text(t.target)) for t, _ in found),
        breaches=tuple(breaches.values()),
        notes=tuple(
            "log_softmax before cross_entropy is redundant, and harmless"
            for term, origin in found
            if term.kind == "cross_entropy" and origin.op == "log_softmax"
        ),
        tested=TITLES,
    )


def _is_own(lab: Lab) -> bool:
    """Whether the user wrote the loss, or the step around it."""
    loss = lab.subject.original.loss
    written = loss is not None and not type(loss).__module__.startswith("torch.")
    return written or lab.subject.training_step is not None


def _breaches(lab: Lab, found: list[tuple[LossTerm, Origin]], own: bool) -> Iterator[Breach]:
    for term, origin in found:
        yield from (breach for rule in RULES if (breach := rule(lab, term, origin)) is not None)
    terms = [term for term, _ in found]
    line = _inner_line(lab) if lab.subject.original.loss is None and not own else None
    if own:
        line, breaches = by_hand(lab)
        yield from breaches
    alone = found[0][1].loss if found else 0.0
    general = (strain(lab), grown(lab, terms, line), scaled(terms, alone, line))
    yield from (breach for breach in general if breach is not None)


def _inner_line(lab: Lab) -> Location | None:
    """The line of a model that computes its own loss. One forward pass."""
    try:
        return record(lab).loss_line()
    except UserCodeError:
        return None


def _text(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


RULES: tuple[Rule, ...] = (
    rules.wrong_axis, rules.squashed, rules.broadcast, rules.no_log, rules.one_output,
    arguments.averaged, rules.negative, rules.flipped, arguments.weights, arguments.swapped,
    arguments.no_distribution, arguments.lifted_down, ends.out_of_range, ends.tight,
    ends.rivals, ends.flattened,
    ends.noisy_end, ends.normalised_end, targets.left_out, targets.padding_scored,
    targets.smoothed_away, documents.signed_labels, documents.logarithms, documents.rates,
    documents.shares, documents.alignments, documents.last_axis,
)  # fmt: skip
TITLES = (
    "squashed scores instead of raw ones",
    "prediction and target are broadcast",
    "raw scores or probabilities where log-probabilities are expected",
    "one output for several classes",
    "softmax over the batch axis",
    "softmax over the wrong axis",
    "the loss is below its lowest value",
    "the loss has no lowest value",
    "the sign of the loss is flipped",
    "the logarithm of zero",
    "prediction and target are swapped",
    "targets that are no probabilities",
    "pos_weight makes the rare class lighter",
    "targets outside the range of the last activation",
    "softmax over labels that do not exclude each other",
    "a constant flattens the scores",
    "dropout right before the loss",
    "normalisation right before the loss",
    "a class is left out of the loss",
    "padding is scored in the loss",
    "label smoothing hides the label",
    "the loss is summed over the batch",
    "the loss is divided by the batch size twice",
    "the loss is scaled",
    "labels of 0 and 1 where -1 and 1 are expected",
    "log-probabilities as the target of kl_div",
    "the exponential is taken twice",
    "targets outside 0 to 1 in a binary cross-entropy",
    "the blank of ctc_loss stands in the targets",
    "the class axis is not where the loss reads it",
    "labels that do not count in the loss",
    "raw scores where the loss wants probabilities",
    "similar pairs are pushed apart",
    "positive and negative of the triplets are swapped",
)
