"""The measurement of `class-balance`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import WeightedRandomSampler

from recipe_check import Location, NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import preserved_rng

from ._blame import maker
from ._data_lines import CHOSEN, first, sampler_line
from ._scan import Scan, scan
from ._sources import chains
from .class_balance import Balance

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.watch import LossTerm

FETCHED = 500  # samples of the data set behind a weighted sampler
KINDS = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
         "multi_margin_loss")  # fmt: skip


def see_balance(lab: Lab) -> Balance:
    """Labels by class over the loader, and what the recorded loss does about rare ones."""
    found = scan(lab)
    term, known = _term(lab)
    if term is not None and not takes_labels(lab, term):
        raise NotApplicable("the loss does not take the labels of the batch")
    counts = _counts(found, term)
    if term is None and lab.subject.training_step is not None and sum(c > 0 for c in counts) == 1:
        raise NotApplicable("the training step has no loss on the labels, which are all the same")
    natural = natural_counts(lab, len(counts))
    return Balance(
        counts,
        _lift(term),
        known,
        not found.late,
        _line(lab, counts, natural) or maker(lab, "data"),
        natural=natural,
        unseen=_unseen(lab, counts),
    )


def _line(lab: Lab, counts: tuple[int, ...], natural: tuple[int, ...]) -> Location | None:
    """Where classes were left out, or what the sampler was made of."""
    if natural or not all(counts):
        made = sampler_line(lab)
        if made is not None:
            return made
    steps = chains(lab).targets[1:] if not all(counts) else ()
    cut = frozenset({"slice"})
    return first(steps, CHOSEN) or next((m.location for m in steps if m.ops == cut), None)


def _unseen(lab: Lab, counts: tuple[int, ...]) -> tuple[int, int]:
    """Validation samples of classes that never occur in training, and all of them."""
    if lab.subject.val_loader is None or all(counts):
        return 0, 0
    other = scan(lab, validation=True)
    every = other.labels or other.one_hot
    labels = torch.cat(every).long() if every else torch.zeros(0, dtype=torch.long)
    if len(labels) != other.rows:
        return 0, 0
    missing = torch.tensor([i for i, count in enumerate(counts) if not count])
    return int(torch.isin(labels, missing).sum()), len(labels)


def natural_counts(lab: Lab, classes: int) -> tuple[int, ...]:
    """Labels by class of up to 500 evenly spread samples of the data set itself, where a weighted
    sampler draws from it; () without such a sampler."""
    loader: Any = lab.subject.loader
    if not isinstance(getattr(loader, "sampler", None), WeightedRandomSampler):
        return ()
    try:
        with preserved_rng():
            rows = range(0, len(loader.dataset), max(len(loader.dataset) // FETCHED, 1))
            batch = loader.collate_fn([loader.dataset[i] for i in rows])
            label = tree.leaves(lab.rig().split(batch).target)[0].flatten().cpu()
    except Exception:
        return ()
    if label.numel() != len(rows) or bool((label != label.round()).any()) or label.min() < 0:
        return ()
    return tuple(torch.bincount(label.long(), minlength=classes).tolist())


def _term(lab: Lab) -> tuple[LossTerm | None, bool]:
    """The first classification loss, and whether it is the whole loss."""
    try:
        trace = lab.trace
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run: {error}") from error
    terms = [t for t in trace.terms if t.kind in KINDS]
    total = sum(float(t.value.sum()) for t in trace.terms)
    whole = abs(total - trace.losses[0]) <= 1e-3 * max(abs(trace.losses[0]), 1e-9)
    return (terms[0], whole) if terms else (None, False)


def takes_labels(lab: Lab, term: LossTerm) -> bool:
    """In-batch contrastive losses make their own targets."""
    batch = lab.train_batches[0]
    own = [t.to(lab.device) for t in tree.leaves(lab.rig().split(batch).target)]
    if not isinstance(term.target, torch.Tensor):
        return False
    flat = term.target.double().flatten()
    return any(t.numel() == flat.numel() and torch.equal(t.double().flatten(), flat) for t in own)


def _counts(found: Scan, term: LossTerm | None) -> tuple[int, ...]:
    """One label a sample: integers, or zeros and ones of a binary loss."""
    joined = torch.cat(found.labels).long() if found.labels else torch.zeros(0, dtype=torch.long)
    if len(joined) == found.rows and len(joined):
        joined = joined[joined >= 0]
        outputs = term.prediction.shape[1] if term is not None and term.prediction.ndim == 2 else 0
        high = int(joined.max()) + 1 if len(joined) else 0
        if outputs == 1 or high <= max(outputs, 2):
            return tuple(torch.bincount(joined, minlength=max(outputs, 2)).tolist())
        raise NotApplicable("labels and outputs do not fit (see label-range)")
    hot = torch.cat(found.one_hot) if found.one_hot else joined[:0]
    if len(hot) == found.rows and len(hot):
        return tuple(torch.bincount(hot, minlength=found.width).tolist())
    target = found.target_moments
    binary = term is not None and term.kind.startswith("binary_cross_entropy")
    if binary and target.count is not None and len(target.count) == 1:
        assert target.low is not None and target.high is not None
        mean, std = float(target.mean[0]), float(target.std[0])
        is_hard = abs(std * std - mean * (1 - mean)) < 1e-6
        if is_hard and float(target.low) >= 0 and float(target.high) <= 1:
            total = int(target.count[0])
            ones = round(mean * total)
            return total - ones, ones
    raise NotApplicable("no class labels, one a sample")


def _lift(term: LossTerm | None) -> str:
    """Class weights of the recorded loss."""
    if term is None:
        return ""
    weights = [term.kwargs.get("weight"), term.kwargs.get("pos_weight"), *term.args[:1]]
    return "weights in the loss" if any(isinstance(w, torch.Tensor) for w in weights) else ""
