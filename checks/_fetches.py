"""The measurement of `loader-determinism`: the same indices fetched again."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, NotApplicable, tree
from recipe_check.lab import preserved_rng, seed_everything
from recipe_check.lineage import RANDOM

from ._blame import input_line, maker, target_line
from ._data_lines import DRAWS, GENERATORS, REORDERS, VALUES, nearest
from ._refetch import Leaves, conflicting, drifts, is_switched_on, turned
from ._scan import scan
from .loader_determinism import Fetches

if TYPE_CHECKING:
    from recipe_check import Lab

SAMPLES = 32
SECONDS = 5.0  # of fetching; then fewer samples
LONG = 16  # positions along an axis, before their order may be what is redrawn
TURNING = frozenset({"flip", "fliplr", "flipud", "rot90", "transpose", "hflip", "vflip"})
CONFLICTING = 0.2  # of the inputs occur with several labels
MOST_BYTES = 256 * 2**20  # a larger data set is not copied to play the workers


def see_fetches(lab: Lab) -> Fetches:
    """Fetches the samples three times in this process, and from two copies where workers do."""
    loader = lab.subject.loader
    dataset, collate = getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)
    if dataset is None or collate is None or not _is_map_style(dataset):
        raise NotApplicable("no map-style data set behind a DataLoader")
    indices = _indices(dataset)
    try:
        with preserved_rng():
            batches = [_fetch(dataset, collate, indices, seed) for seed in (1, 2, 3)]
            workers = int(getattr(loader, "num_workers", 0))
            twins = _are_twins(dataset, collate, indices, batches) if workers >= 2 else None
    except Exception as error:
        raise NotApplicable(f"fetching a sample raised {type(error).__name__}: {error}") from error
    return _compare(lab, batches, twins, workers)


def _is_map_style(dataset: Any) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and len(dataset) > 1


def _indices(dataset: Any) -> list[int]:
    """Evenly spread; fewer where one fetch is slow."""
    start = time.monotonic()
    dataset[0]
    each = time.monotonic() - start
    count = min(SAMPLES, len(dataset), max(int(SECONDS / 3 / max(each, 1e-6)), 2))
    return [i * len(dataset) // count for i in range(count)]


def _fetch(dataset: Any, collate: Any, indices: Sequence[int], seed: int) -> Any:
    seed_everything(seed)
    return collate([dataset[i] for i in indices])


def _are_twins(dataset: Any, collate: Any, indices: Sequence[int], batches: Sequence[Any]) -> bool:
    """Whether two copies, seeded apart as workers are, draw the same where one does not."""
    if _same(batches[0], batches[1]):
        return False
    stored = pickle.dumps(dataset)
    if len(stored) > MOST_BYTES:
        return False
    first, second = pickle.loads(stored), pickle.loads(stored)
    return _same(_fetch(first, collate, indices, 4), _fetch(second, collate, indices, 5))


def _same(one: Any, other: Any) -> bool:
    pairs = list(zip(tree.leaves(one), tree.leaves(other), strict=False))
    return bool(pairs) and all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _compare(lab: Lab, batches: Sequence[Any], twins: bool | None, workers: int) -> Fetches:
    rig = lab.rig()
    parts = [rig.split(batch) for batch in batches]
    inputs = [tree.leaves(part.inputs) for part in parts]
    targets = [tree.leaves(part.target) for part in parts]
    if not inputs[0] or not inputs[0][0].ndim:
        raise NotApplicable("the samples hold no tensors")
    rows = len(inputs[0][0])
    moved = _changed(inputs, rows)
    label = targets[0][0] if len(targets[0]) == 1 else None
    classes = label is not None and label.ndim == 1 and not label.is_floating_point()
    flips = (
        _changed(targets, rows)
        if classes or _is_mask(label, inputs[0][0])
        else torch.zeros(rows, dtype=torch.bool)
    )
    swapped = classes and bool(moved.all()) and conflicting(scan(lab)) >= CONFLICTING
    return Fetches(
        samples=rows,
        flipped=int((flips & ~moved).sum()),
        drifting=drifts(inputs),
        turned=turned(inputs, targets),
        swapped=swapped and not bool(flips.any()),
        validation=_validation(lab) if classes and not bool(flips.any()) else 0,
        validation_location=maker(lab, "val_data"),
        changing=int(moved.sum()),
        noise=_redrawn([leaves[0] for leaves in inputs]),
        labels_kept=classes and not bool(flips.any()),
        twins=twins,
        workers=workers,
        location=_line(lab, bool((flips & ~moved).any()), bool(twins), inputs, targets),
    )


def _is_mask(label: torch.Tensor | None, x: torch.Tensor) -> bool:
    """Class labels as large as the images."""
    if label is None or label.is_floating_point() or min(label.ndim, x.ndim) < 3:
        return False
    return label.shape[-2:] == x.shape[-2:]


def _line(lab: Lab, labels: bool, twins: bool, inputs: Leaves, targets: Leaves) -> Location | None:
    """Where the labels, the workers' noise or the inputs are drawn, changed or turned."""
    if labels:
        drawn = target_line(lab, RANDOM | TURNING)
        return drawn or nearest(lab, "targets", DRAWS | REORDERS | TURNING)
    if drifts(inputs):
        return nearest(lab, "inputs", VALUES)
    if turned(inputs, targets):
        return input_line(lab, TURNING) or nearest(lab, "inputs", TURNING, REORDERS)
    if twins:
        return nearest(lab, "inputs", GENERATORS)
    return input_line(lab, RANDOM) or nearest(lab, "inputs", DRAWS | REORDERS | VALUES)


def _validation(lab: Lab) -> int:
    """Validation samples whose inputs change from fetch to fetch; 0 where they cannot be fetched
    by index, or nothing says that they need not."""
    loader: Any = lab.subject.val_loader
    dataset, collate = getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)
    if dataset is None or collate is None or not _is_map_style(dataset):
        return 0
    if not is_switched_on(lab.subject.loader, dataset):
        return 0
    try:
        indices = _indices(dataset)
        with preserved_rng():
            batches = [_fetch(dataset, collate, indices, seed) for seed in (1, 2)]
    except Exception:
        return 0
    inputs = [tree.leaves(lab.rig().split(batch).inputs) for batch in batches]
    moved = _changed(inputs, len(indices))
    return int(moved.sum())


def _changed(leaves: Sequence[Sequence[torch.Tensor]], rows: int) -> torch.Tensor:
    """For each row, whether any tensor differs between the fetches."""
    found = torch.zeros(rows, dtype=torch.bool)
    for first, *others in zip(*leaves, strict=False):
        for other in others:
            if first.shape != other.shape:
                return torch.ones(rows, dtype=torch.bool)
            if first.ndim and len(first) == rows:
                found |= (first != other).reshape(rows, -1).any(1)
    return found


def _redrawn(values: Sequence[torch.Tensor]) -> float:
    """Share of the variance over samples that two fetches of the same sample do not share: of the
    values as they are, or where less is redrawn, of their spectra (clips from anywhere in a
    recording) or of their sorted values (points of a cloud in any order)."""
    first, second = values[0], values[1]
    if not first.is_floating_point() or first.shape != second.shape or len(first) < 8:
        return 0.0
    one, other = first.double(), second.double()
    shares = [_share(one, other)]
    for axis in range(1, first.ndim):
        if first.shape[axis] >= LONG:
            shares.append(_share(one.sort(axis).values, other.sort(axis).values))
            spectra = (torch.fft.rfft(x, dim=axis).abs() for x in (one, other))
            shares.append(_share(*spectra))
    return min(shares)


def _share(one: torch.Tensor, other: torch.Tensor) -> float:
    between = one.var(0, correction=0).sum()
    within = (one - other).pow(2).mean(0).sum() / 2
    return float((within / between.clamp_min(1e-12)).clamp(0, 1))
