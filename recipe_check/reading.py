"""Batches as the loader yields them: so many that a short fit sees enough samples."""

from __future__ import annotations

import time
from typing import Any

from recipe_check import tree
from recipe_check.errors import UserCodeError
from recipe_check.guard import guarded

TRAIN_BATCHES = 40  # enough for every short fit without reading a large data set
TRAIN_SAMPLES = 256  # small batches are read until there are as many samples
HELD_BATCHES = 8
HELD_SAMPLES = 64
MOST_BATCHES = 400  # of any size
READ_SECONDS = 20.0  # a slow loader is read only this long
READ_BYTES = 512 * 2**20


def read_parts(loader: Any, val_loader: Any) -> tuple[list[Any], list[Any]]:
    """Batches to fit on, and others: from the validation loader, else the last of those read.

    Raises UserCodeError where the loader yields none.
    """
    read = read_batches(loader, TRAIN_BATCHES, TRAIN_SAMPLES)
    if not read:
        raise UserCodeError("the data loader yields no batch")
    if len(read) > 1 and rows_of(read[-1]) == 1 < rows_of(read[0]):
        read.pop()  # a leftover of one sample: batch-contract looks at it
    if val_loader is not None:
        held = read_batches(val_loader, HELD_BATCHES, HELD_SAMPLES)
        if held:
            return read, held
    cut = max(len(read) // 5, 1) if len(read) > 1 else 0
    return read[: len(read) - cut], read[len(read) - cut :]


def rows_of(batch: Any) -> int:
    """Size of the first tensor that has one."""
    return next((len(leaf) for leaf in tree.leaves(batch) if leaf.ndim), 1)


def read_batches(loader: Any, most: int, samples: int = 0) -> list[Any]:
    """`most` batches, more of them until there are `samples` rows; fewer when the loader is
    slow or they are large."""
    found: list[Any] = []
    start, size, rows = time.monotonic(), 0, 0
    with guarded("the data loader"):
        for batch in loader:
            found.append(batch)
            size += sum(leaf.numel() * leaf.element_size() for leaf in tree.leaves(batch))
            rows += rows_of(batch)
            enough = (len(found) >= most and rows >= samples) or len(found) >= MOST_BATCHES
            if enough or time.monotonic() - start > READ_SECONDS or size > READ_BYTES:
                break
    return found


def first_rows(batch: Any, count: int) -> Any:
    """The batch with the first `count` samples of every tensor that has one a sample."""
    size = rows_of(batch)
    leaves = enumerate(tree.leaves(batch))
    shorter = {place: leaf[:count] for place, leaf in leaves if leaf.ndim and len(leaf) == size}
    return tree.replace_leaves(batch, shorter)
