"""The measurement of `duplicates`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from recipe_check import Location, NotApplicable

from ._blame import maker
from ._data_lines import COPIED, first, split_line
from ._scan import Scan, scan
from ._sources import chains
from .duplicates import Repeats

if TYPE_CHECKING:
    from recipe_check import Lab

MOST_CLASSES = 100
LEAST_DISTINCT = 20  # samples of a class
LEAST_BATCHES = 4  # before it says anything that all are the same
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
        copies=min(counts.values(), default=1),
        workers=_streams(lab),
        same_batch=training.batches >= LEAST_BATCHES and len(counts) <= max(training.sizes[:1]),
        oversampled=_oversampled(counts, training),
        made=_made(lab),
    )


def _streams(lab: Lab) -> int:
    """Processes that each iterate over the same data set."""
    loader: Any = lab.subject.loader
    streams = isinstance(getattr(loader, "dataset", None), IterableDataset)
    return int(getattr(loader, "num_workers", 0)) if streams else 0


def _oversampled(counts: Counter[bytes], training: Scan) -> bool:
    """Whether a class (at least 20 distinct samples) occurs three times and more a sample, and
    another not again at all."""
    if len(training.targets) != len(training.inputs):
        return False
    distinct: dict[bytes, set[bytes]] = {}
    for sample, label in zip(training.inputs, training.targets, strict=True):
        distinct.setdefault(label, set()).add(sample)
    if not 2 <= len(distinct) <= MOST_CLASSES:
        return False
    each = {
        label: sum(counts[sample] for sample in samples) / len(samples)
        for label, samples in distinct.items()
        if len(samples) >= LEAST_DISTINCT
    }
    return bool(each) and max(each.values()) >= DRAWN_AGAIN and min(each.values()) <= ONCE


def _made(lab: Lab) -> Location | None:
    """Where a stream says what it goes over; where the samples of a list are put together."""
    steps = chains(lab).inputs
    ranges = first(steps, frozenset({"range"})) if _streams(lab) else None
    return ranges or (steps[0].location if steps else None)


def _overlap_line(lab: Lab, counts: Counter[bytes], training: Scan) -> Location | None:
    return first(chains(lab).inputs, COPIED) if _oversampled(counts, training) else None
