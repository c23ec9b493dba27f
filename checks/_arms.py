"""The measurement of `input-independent-baseline`: three short fits, judged on held-out data."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.lineage import REORDERING
from recipe_check.module_kinds import has_statistics
from recipe_check.probes.training import Fit, held_losses

from ._arm_values import Arm, Arms, Round
from ._balance import takes_labels
from ._batch_fit import fit_batch
from ._blame import input_line, placeholder_line, target_line
from ._blanks import Places, blank, find_places, only_blank, own_leaves, permuted
from ._calls import batch_size, input_axes, take
from ._culprits import culprit_of
from ._data_lines import cut_line, order_line
from ._uninformative import see_level
from .overfit_one_batch import OverfitOneBatch

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

TRAIN_BATCHES = 24  # few, so that a model without a signal learns them by heart and shows it
TRAIN_SAMPLES = 256  # more batches than that where they are small
HELD_PIECES = 6  # at least so many paired losses, or the t statistic says little
ABLE = 0.5  # progress on one batch from which a model can learn samples by heart
LEARN_BY_HEART = 1000  # steps on few samples, where 400 of each arm did not decide
ROUND = 20  # steps between two looks at the held-out batches


def see_arms(lab: Lab, steps: int, seconds: float, decided: Any) -> Arms:
    """Trains the three arms in turn until `decided(arms)` or the budget ends."""
    rig = lab.rig().quiet()
    places = find_places(rig, lab.train_batches[0])
    if not places.targets:
        raise NotApplicable("the batch has no target apart from its inputs")
    if not lab.held_batches:
        raise NotApplicable("the loader has one batch: nothing can be held out")
    drawn = placeholder_line(lab)
    if drawn is not None:
        raise NotApplicable(f"inputs and targets are random numbers that have nothing to do with "
                            f"each other ({drawn.file}:{drawn.line})")  # fmt: skip
    train = [rig.put(own_leaves(b)) for b in _enough(lab.train_batches)]
    if not _targets_matter(rig, train, places):
        raise NotApplicable("the loss does not use the targets of the batch")
    held = _pieces(lab, rig, [rig.put(own_leaves(b)) for b in lab.held_batches])
    fitted = OverfitOneBatch()
    fit = fit_batch(lab, fitted.steps, fitted.seconds, fitted.enough)
    odd = _is_odd(rig, blank(train[0], places))
    arms = {
        "real": (train, held),
        "zeros": (
            [blank(b, places, mean=odd) for b in train],
            [blank(b, places, mean=odd) for b in held],
        ),
        "permuted": (permuted(train, places), held),
    }
    runs = {name: Fit(lab.rig().quiet(), fit.best.rate) for name in arms}
    rounds: dict[str, list[Round]] = {name: [] for name in arms}
    start, found = time.monotonic(), None
    while found is None or not (
        decided(found) or found.steps >= steps or time.monotonic() - start > seconds
    ):
        for name, (batches, pieces) in arms.items():
            rounds[name].append(_round_of(name, runs[name], batches, pieces))
        found = _arms(lab, rounds, fit.progress, fit.best.rate, only_blank(train[0], places))
    if not decided(found) and fit.progress >= ABLE:
        small = Fit(lab.rig().quiet(), fit.best.rate)
        few = _first_samples(train)
        while _goes_on(found, small, time.monotonic() - start, seconds):
            rounds["real"].append(_round(small, few, held, after=found.steps))
        found = _arms(lab, rounds, fit.progress, fit.best.rate, found.all_inputs_blank)
    if not decided(found):
        return replace(found, culprit=culprit_of(lab, train, held, fit.best.rate))
    return found


def _goes_on(found: Arms, small: Fit, spent: float, seconds: float) -> bool:
    """Until the few samples are known by heart: had they anything in common with the held-out
    ones, it would have shown on the way."""
    control = found.zeros.rounds[-1].train
    known = bool(small.losses) and sum(small.losses[-ROUND:]) / ROUND < 0.5 * control
    return not known and len(small.losses) < LEARN_BY_HEART and spent < 2 * seconds


def _first_samples(batches: Sequence[Any]) -> list[Any]:
    """The first batches that hold 256 samples together."""
    found: list[Any] = []
    rows = 0
    for batch in batches:
        if rows >= TRAIN_SAMPLES:
            break
        found.append(batch)
        rows += next((len(leaf) for leaf in tree.leaves(batch) if leaf.ndim), 1)
    return found


def _enough(batches: Sequence[Any]) -> list[Any]:
    """The first 24 batches, more where they are small."""
    found: list[Any] = []
    rows = 0
    for batch in batches:
        if len(found) >= TRAIN_BATCHES and rows >= TRAIN_SAMPLES:
            break
        found.append(batch)
        rows += next((len(leaf) for leaf in tree.leaves(batch) if leaf.ndim), 1)
    return found


def _round_of(name: str, run: Fit, batches: Sequence[Any], held: Sequence[Any]) -> Round:
    """A round of an arm; what the model cannot take (indices of graphs, lengths) is no control."""
    try:
        return _round(run, batches, held)
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run on the {name} arm: {error}") from error


def _round(run: Fit, batches: Sequence[Any], held: Sequence[Any], after: int = 0) -> Round:
    """More steps, then a look at the held-out pieces; counted from `after`."""
    run.steps(batches, ROUND)
    recent = run.losses[-max(min(len(batches), ROUND), 1) :]
    losses = held_losses(run.rig, held)
    return Round(after + len(run.losses), sum(recent) / len(recent), tuple(losses))


def _arms(
    lab: Lab, rounds: dict[str, list[Round]], progress: float, rate: float, blank: bool
) -> Arms:
    level = lab.cached("loss-level", lambda: see_level(lab))
    prior = None
    own = any(takes_labels(lab, term) for term in lab.trace.terms)  # not made within the batch
    if level is not None and level.kind == "cross_entropy" and level.complete and own:
        prior = sum(s.best_constant for s in level.samples) / len(level.samples)
    return Arms(
        real=Arm("real inputs", tuple(rounds["real"])),
        zeros=Arm("zeroed inputs", tuple(rounds["zeros"])),
        permuted=Arm("permuted labels", tuple(rounds["permuted"])),
        batch_progress=progress,
        rate=rate,
        prior=prior,
        all_inputs_blank=blank,
        location=order_line(lab)
        or target_line(lab, REORDERING)
        or input_line(lab, REORDERING)
        or cut_line(lab),
    )


def _targets_matter(rig: Rig, batches: Sequence[Any], places: Places) -> bool:
    """Whether other targets give another loss: the same in another order, or another batch's."""
    leaves = tree.leaves(batches[0])
    rolled = {p: leaves[p].roll(1, 0) for p in places.targets if leaves[p].ndim}
    foreign = {p: tree.leaves(batches[-1])[p] for p in places.targets}
    candidates = [rolled]
    if all(foreign[p].shape == leaves[p].shape for p in places.targets):
        candidates.append(foreign)
    before = _loss(rig, batches[0])
    try:
        return any(_loss(rig, tree.replace_leaves(batches[0], c)) != before for c in candidates)
    except UserCodeError as error:
        raise NotApplicable(f"the targets cannot be exchanged: {error}") from error


def _is_odd(rig: Rig, batch: Any) -> bool:
    """Whether zeros are no valid input: the logarithm of an exposure, an index of a graph."""
    try:
        return not math.isfinite(_loss(rig, batch))
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run on zeroed inputs: {error}") from error


def _loss(rig: Rig, batch: Any) -> float:
    with rig.looking():
        seed_everything(0)
        return float(rig.step(batch).loss.detach())


def _pieces(lab: Lab, rig: Rig, held: list[Any]) -> list[Any]:
    """At least six held-out losses: batches are cut where there are too few of them. Where
    the model takes batch statistics samples are mixed before: validation data are often sorted, and
    statistics of one class tell little.
    """
    if any(has_statistics(module) for module in rig.model.modules()):
        held = _mixed(lab, rig, held)
    if len(held) >= HELD_PIECES:
        return held
    cuts = -(-HELD_PIECES // len(held))
    try:
        found = [piece for batch in held for piece in _cut(lab, rig, batch, cuts)]
        with rig.looking():
            rig.step(found[-1])
    except (NotApplicable, UserCodeError):
        return held
    return found


def _mixed(lab: Lab, rig: Rig, held: list[Any]) -> list[Any]:
    """The same samples dealt out over the batches anew; as they are where rows cannot be moved."""
    try:
        sizes = [_size(lab, rig, batch) for batch in held]
        axes = input_axes(rig, held[0], sizes[0])
        columns = [torch.cat(leaves) for leaves in zip(*map(tree.leaves, held), strict=True)]
    except (NotApplicable, RuntimeError, ValueError):
        return held
    total = sum(sizes)
    if any(axis != 0 for axis in axes.values()) or any(len(c) != total for c in columns):
        return held
    order = torch.randperm(total, generator=torch.Generator().manual_seed(lab.seed))
    dealt = [torch.split(column[order.to(column.device)], sizes) for column in columns]
    return [
        tree.replace_leaves(batch, {place: parts[i] for place, parts in enumerate(dealt)})
        for i, batch in enumerate(held)
    ]


def _cut(lab: Lab, rig: Rig, batch: Any, cuts: int) -> list[Any]:
    size = _size(lab, rig, batch)
    axes = input_axes(rig, batch, size)
    cuts = min(cuts, max(size // 4, 1))
    device = tree.leaves(batch)[next(iter(axes))].device
    return [take(batch, axes, rows) for rows in torch.arange(size, device=device).chunk(cuts)]


def _size(lab: Lab, rig: Rig, batch: Any) -> int:
    """The samples of this very batch: the last one may be smaller than declared."""
    parts = rig.split(batch)
    target = next((t for t in tree.leaves(parts.target) if t.ndim), None)
    declared = batch_size(lab, rig, batch)
    shapes = [leaf.shape for leaf in tree.leaves(parts.inputs)]
    if any(declared in shape[:2] for shape in shapes) or target is None:
        return declared
    return int(target.shape[0])
