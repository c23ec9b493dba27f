"""The measurement of `input-independent-baseline`: three short fits, judged on held-out data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.lineage import REORDERING
from recipe_check.probes.training import Fit, held_losses

from ._batch_fit import fit_batch
from ._blame import input_line, target_line
from ._rows import batch_size, input_axes, take
from ._uninformative import see_level
from .input_independent_baseline import Arm, Arms, Round
from .overfit_one_batch import OverfitOneBatch

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

TRAIN_BATCHES = 24  # few, so that a model without a signal learns them by heart and shows it
TRAIN_SAMPLES = 256  # more batches than that where they are small
HELD_PIECES = 6  # at least so many paired losses, or the t statistic says little
ABLE = 0.5  # progress on one batch from which a model can learn samples by heart
LEARN_BY_HEART = 1000  # steps on few samples, where 400 of each arm did not decide
ROUND = 20  # steps between two looks at the held-out batches


@dataclass(frozen=True)
class Places:
    """Positions of the input and target tensors among the leaves of a batch."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def see_arms(lab: Lab, steps: int, seconds: float, decided: Any) -> Arms:
    """Trains the three arms in turn until `decided(arms)` or the budget ends."""
    rig = lab.rig().quiet()
    places = _places(rig, lab.train_batches[0])
    if not places.targets:
        raise NotApplicable("the batch has no target apart from its inputs")
    if not lab.held_batches:
        raise NotApplicable("the loader has one batch: nothing can be held out")
    train = [rig.put(_own(b)) for b in _enough(lab.train_batches)]
    if not _targets_matter(rig, train, places):
        raise NotApplicable("the loss does not use the targets of the batch")
    held = _pieces(lab, rig, [rig.put(_own(b)) for b in lab.held_batches])
    fitted = OverfitOneBatch()
    fit = fit_batch(lab, fitted.steps, fitted.seconds, fitted.enough)
    arms = {
        "real": (train, held),
        "zeros": ([_blank(b, places) for b in train], [_blank(b, places) for b in held]),
        "permuted": (_permuted(train, places), held),
    }
    runs = {name: Fit(lab.rig().quiet(), fit.best.rate) for name in arms}
    rounds: dict[str, list[Round]] = {name: [] for name in arms}
    start, found = time.monotonic(), None
    while found is None or not (
        decided(found) or found.steps >= steps or time.monotonic() - start > seconds
    ):
        for name, (batches, pieces) in arms.items():
            rounds[name].append(_round(runs[name], batches, pieces))
        found = _arms(lab, rounds, fit.progress, fit.best.rate, _only_blank(train[0], places))
    if not decided(found) and fit.progress >= ABLE:
        small = Fit(lab.rig().quiet(), fit.best.rate)
        few = _first_samples(train)
        while _goes_on(found, small, time.monotonic() - start, seconds):
            rounds["real"].append(_round(small, few, held, after=found.steps))
        found = _arms(lab, rounds, fit.progress, fit.best.rate, found.all_inputs_blank)
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
    if level is not None and level.kind == "cross_entropy" and level.complete:
        prior = sum(s.best_constant for s in level.samples) / len(level.samples)
    return Arms(
        real=Arm("real inputs", tuple(rounds["real"])),
        zeros=Arm("zeroed inputs", tuple(rounds["zeros"])),
        permuted=Arm("permuted labels", tuple(rounds["permuted"])),
        batch_progress=progress,
        rate=rate,
        prior=prior,
        all_inputs_blank=blank,
        location=target_line(lab, REORDERING) or input_line(lab, REORDERING),
    )


def _own(batch: Any) -> Any:
    """Every leaf an object of its own: labels may be the very tensor of the inputs."""
    return tree.map_leaves(batch, torch.Tensor.clone)


def _places(rig: Rig, batch: Any) -> Places:
    batch = _own(batch)
    parts = rig.split(batch)
    targets = {id(leaf) for leaf in tree.leaves(parts.target)}
    everything = list(enumerate(tree.leaves(batch)))
    return Places(
        tuple(place for place, leaf in everything if id(leaf) not in targets),
        tuple(place for place, leaf in everything if id(leaf) in targets),
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
    return any(_loss(rig, tree.replace_leaves(batches[0], c)) != before for c in candidates)


def _loss(rig: Rig, batch: Any) -> float:
    with rig.looking():
        seed_everything(0)
        return float(rig.step(batch).loss.detach())


def _is_mask(leaf: torch.Tensor) -> bool:
    if leaf.dtype == torch.bool:
        return True
    whole = not leaf.is_floating_point() and not leaf.is_complex()
    return whole and bool(((leaf == 0) | (leaf == 1)).all())


def _blank(batch: Any, places: Places) -> Any:
    """Float inputs zero, tokens all one valid token, masks kept."""
    leaves = tree.leaves(batch)
    changed = {}
    for place in places.inputs:
        leaf = leaves[place]
        if _is_mask(leaf) or not leaf.numel():
            continue
        if leaf.is_floating_point() or leaf.is_complex():
            changed[place] = torch.zeros_like(leaf)
        else:
            changed[place] = torch.full_like(leaf, int(leaf.flatten()[0]))
    return tree.replace_leaves(batch, changed)


def _only_blank(batch: Any, places: Places) -> bool:
    """Whether nothing of the inputs is kept when they are blanked."""
    leaves = tree.leaves(batch)
    return not any(_is_mask(leaves[place]) for place in places.inputs)


def _permuted(batches: Sequence[Any], places: Places) -> list[Any]:
    """Targets dealt out again over all samples; within each batch where shapes differ."""
    order_seed = 12345
    result = [dict[int, torch.Tensor]() for _ in batches]
    for place in places.targets:
        parts = [tree.leaves(batch)[place] for batch in batches]
        for number, part in enumerate(_dealt(parts, order_seed)):
            result[number][place] = part
    return [tree.replace_leaves(b, changed) for b, changed in zip(batches, result, strict=True)]


def _dealt(parts: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if any(part.ndim == 0 for part in parts):
        return list(parts)
    if len({part.shape[1:] for part in parts}) == 1:
        pool = torch.cat(list(parts))
        order = torch.randperm(len(pool), generator=generator).to(pool.device)
        return list(torch.split(pool[order], [len(part) for part in parts]))
    return [p[torch.randperm(len(p), generator=generator).to(p.device)] for p in parts]


def _pieces(lab: Lab, rig: Rig, held: list[Any]) -> list[Any]:
    """At least six held-out losses: batches are cut where there are too few of them."""
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
