"""The measurement of `duplicates`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from recipe_check import Location, NotApplicable

from ._blame import maker
from ._data_lines import COPIED, SPLITS, first, route_line, split_line
from ._scan import Scan, scan
from ._sources import chains
from ._windows import shared
from .duplicates import Repeats

if TYPE_CHECKING:
    from recipe_check import Lab

MOST_CLASSES = 100
LEAST_DISTINCT = 20  # samples of a class
LEAST_BATCHES = 4  # before it says anything that all are the same
NEARLY_ALL = 0.9
DRAWN_AGAIN, ONCE = 3.0, 1.05  # occurrences a distinct sample


def see_repeats(lab: Lab) -> Repeats:
    """Equal samples within the training data and across to the validation data."""
    training = scan(lab)
    if not training.inputs:
        raise NotApplicable("the inputs are too small, or have no rows, to be told apart")
    validation = scan(lab, validation=True) if lab.subject.val_loader is not None else Scan()
    known = set(training.inputs)
    labels: dict[bytes, set[bytes]] = {}
    if len(training.targets) == len(training.inputs):
        for sample, label in zip(training.inputs, training.targets, strict=True):
            labels.setdefault(sample, set()).add(label)
    counts = Counter(training.inputs)
    return Repeats(
        training=len(training.inputs),
        validation=len(validation.inputs),
        shared=sum(sample in known for sample in validation.inputs),
        repeated=sum(count - 1 for count in counts.values()),
        twice=sum(count for count in counts.values() if count > 1),
        conflicts=sum(counts[sample] for sample, seen in labels.items() if len(seen) > 1),
        location=_overlap_line(lab, counts, training) or split_line(lab) or maker(lab, "val_data"),
        split=_split(lab),
        copies=min(counts.values(), default=1),
        workers=_streams(lab),
        same_batch=_same_batches(training),
        oversampled=_oversampled(counts, training),
        made=_made(lab),
        windows=shared(training.pieces, validation.middles),
    )


def _split(lab: Lab) -> Location | None:
    """Where the samples were dealt out to training and validation data."""
    return route_line(lab, SPLITS - {"slice"}) or split_line(lab) or maker(lab, "val_data")


def _same_batches(training: Scan) -> bool:
    """Whether every full batch holds the samples of the first: few distinct samples, as short
    sequences have, do not come together in each."""
    size = training.sizes[0] if training.sizes else 0
    full = sum(1 for count in training.sizes if count == size)
    if full < LEAST_BATCHES or any(count != size for count in training.sizes[:full]) or not size:
        return False
    parts = [training.inputs[n * size : (n + 1) * size] for n in range(full)]
    return all(sorted(part) == sorted(parts[0]) for part in parts)


def _streams(lab: Lab) -> int:
    """Processes that each iterate over the same data set."""
    loader: Any = lab.subject.loader
    streams = isinstance(getattr(loader, "dataset", None), IterableDataset)
    return int(getattr(loader, "num_workers", 0)) if streams else 0


def _oversampled(counts: Counter[bytes], training: Scan) -> bool:
    """Whether nearly all samples of a class (at least 20 distinct ones) occur again, three times
    each and more, and those of another class do not."""
    labels = torch.cat(training.labels).tolist() if training.labels else []
    if len(labels) != len(training.inputs):
        return False
    distinct: dict[int, set[bytes]] = {}
    for sample, label in zip(training.inputs, labels, strict=True):
        distinct.setdefault(label, set()).add(sample)
    each = [
        [counts[sample] for sample in samples]
        for samples in distinct.values()
        if len(samples) >= LEAST_DISTINCT
    ]
    if not 2 <= len(distinct) <= MOST_CLASSES or not each:
        return False
    most = max(each, key=lambda found: sum(found) / len(found))
    again = sum(count > 1 for count in most) / len(most)
    drawn = again >= NEARLY_ALL and sum(most) / len(most) >= DRAWN_AGAIN
    return drawn and min(sum(found) / len(found) for found in each) <= ONCE


def _made(lab: Lab) -> Location | None:
    """Where a stream says what it goes over; where the samples of a list are put together."""
    steps = chains(lab).inputs
    ranges = first(steps, frozenset({"range"})) if _streams(lab) else None
    return ranges or (steps[0].location if steps else None)


def _overlap_line(lab: Lab, counts: Counter[bytes], training: Scan) -> Location | None:
    return first(chains(lab).inputs, COPIED) if _oversampled(counts, training) else None
