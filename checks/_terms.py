"""The measurement of `loss-terms`: a backward pass for each recorded term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, LossTerm, Watch

from ._from_data import is_from_data
from ._game import hides_weights
from .loss_terms import Term, Terms

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

MOST = 6


def see_terms(lab: Lab) -> Terms:
    """Each term's share of the gradient on the first batch."""
    if len(lab.trace.terms) < 2:
        raise NotApplicable("the loss has a single term, or none that is known")
    rig, observer = lab.rig().train(), LossObserver()
    batch = rig.put(lab.train_batches[0])
    with Watch(observer):
        seed_everything(lab.seed)
        loss = rig.step(batch).loss
    recorded = [t for t in observer.terms if _counts(t, batch)][:MOST]
    if len(recorded) < 2 or not loss.requires_grad:
        raise NotApplicable("fewer than two terms have a gradient")
    groups: dict[int, list[LossTerm]] = {}
    for term in recorded:  # mixup calls the loss twice on one prediction
        groups.setdefault(id(term.prediction), []).append(term)
    if len(groups) < 2:
        raise NotApplicable("all terms judge the same prediction")
    names = _names([group[0] for group in groups.values()])
    if hides_weights(loss):
        raise NotApplicable("re-entrant checkpointing hides weights from the gradient of a term")
    try:
        terms = [_term(rig, loss, n, g) for n, g in zip(names, groups.values(), strict=True)]
    except UserCodeError as error:
        raise NotApplicable(f"the gradient of a single term cannot be taken: {error}") from error
    known = tuple(t for t in terms if t is not None and t.gradient > 0)
    if len(known) < 2:
        raise NotApplicable("fewer than two terms reach the loss")
    return Terms(known)


def _is_penalty(term: LossTerm) -> bool:
    """A distance from zero (sparse codes, weight decay by hand) is meant to be small."""
    return isinstance(term.target, torch.Tensor) and not bool(term.target.any())


def _counts(term: LossTerm, batch: Any) -> bool:
    return term.value.requires_grad and not _is_penalty(term) and is_from_data(term, batch)


def _names(terms: list[LossTerm]) -> list[str]:
    """`cross_entropy`, `mse_loss (2)`: kinds, numbered where one occurs again."""
    seen: dict[str, int] = {}
    found = []
    for term in terms:
        seen[term.kind] = seen.get(term.kind, 0) + 1
        found.append(f"{term.kind} ({seen[term.kind]})" if seen[term.kind] > 1 else term.kind)
    return found


def _term(rig: Rig, loss: torch.Tensor, name: str, group: list[LossTerm]) -> Term | None:
    """Terms of one prediction together; None where none of them enters the loss."""
    weights = rig.grad(loss, [term.value for term in group])
    pairs = [(t, w.detach()) for t, w in zip(group, weights, strict=True) if w is not None]
    if not pairs:
        return None
    parameters = [p for _, p in rig.trainable()]
    scalar = torch.stack([(term.value * weight).sum() for term, weight in pairs]).sum()
    grads = [g for g in rig.grad(scalar, parameters) if g is not None]
    norms = [(g.to_dense() if g.is_sparse else g).abs().double().norm() for g in grads]
    return Term(
        name=name,
        value=float(sum(term.value.detach().sum() for term, _ in pairs)),
        weight=float(pairs[0][1].double().mean()),
        gradient=float(torch.stack(norms).norm()) if norms else 0.0,
        location=group[0].location,
    )
