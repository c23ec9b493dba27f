"""What a model says of the fitted batch: its loss terms, predicted and true labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, LossTerm, Watch

from ._chance import uninformative

if TYPE_CHECKING:
    from recipe_check import Rig


@dataclass(frozen=True)
class Look:
    """The recorded terms of one pass, and whether they are the whole loss."""

    terms: Sequence[LossTerm]
    loss: float
    whole: bool


def look_at(rig: Rig, batch: Any) -> Look:
    observer = LossObserver()
    with rig.looking(), Watch(observer):
        seed_everything(0)
        loss = float(rig.step(batch).loss.detach())
    total = sum(float(t.value.sum()) for t in observer.terms)
    whole = bool(observer.terms) and abs(total - loss) <= 1e-3 * max(abs(loss), 1e-9)
    return Look(observer.terms, loss, whole)


def classes_of(look: Look) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Predicted and true classes; None for other tasks."""
    return predictions(look.terms[0]) if look.terms else (None, None)


def accuracy(look: Look) -> float:
    """Share of labels that the prediction gets right; NaN where there are none."""
    predicted, target = classes_of(look)
    if predicted is None or target is None or not target.numel():
        return math.nan
    return float((predicted == target).double().mean())


def predictions(term: LossTerm) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Predicted and true labels of a classification loss (ignored labels left out)."""
    target, prediction = term.target, term.prediction.detach()
    if not isinstance(target, torch.Tensor):
        return None, None
    if term.kind in ("cross_entropy", "nll_loss") and not target.is_floating_point():
        chosen = prediction.argmax(1 if prediction.ndim > 1 else 0)
        if chosen.shape != target.shape:
            return None, None
        ignored = term.kwargs.get("ignore_index", -100)
        kept = target != ignored
        return chosen[kept], target[kept]
    if term.kind.startswith("binary_cross_entropy") and prediction.shape == target.shape:
        limit = 0.0 if term.kind.endswith("logits") else 0.5
        return (prediction > limit).to(target.dtype), (target > 0.5).to(target.dtype)
    return None, None


def chance(look: Look) -> float | None:
    if not look.whole:
        return None
    total = 0.0
    for term in look.terms:
        flat = uninformative(term)
        if flat is None:
            return None
        total += float(term.replay(flat).double().mean())
    return total


def label_table(look: Look) -> tuple[tuple[str, str], ...]:
    """(label, prediction) of the fitted samples, at most 16."""
    terms = look.terms
    if not terms:
        return ()
    predicted, target = predictions(terms[0])
    if predicted is None or target is None:
        predicted, target = terms[0].prediction, terms[0].target
    if not isinstance(target, torch.Tensor) or predicted.numel() != target.numel():
        return ()
    pairs = zip(target.flatten()[:16].tolist(), predicted.flatten()[:16].tolist(), strict=True)
    return tuple((f"{label:.4g}", f"{guess:.4g}") for label, guess in pairs)
