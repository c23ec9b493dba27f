"""The measurement of `batch-size`: doubled batches, until time or memory is used up."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.reading import read_batches

from ._calls import batch_size, input_axes, take
from .batch_size import Size, Sizes

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

DOUBLINGS = 4
REPEATS = 3
SECONDS = 20.0
READ = 8  # batches of the loader


def see_sizes(lab: Lab) -> Sizes:
    """Times the user's batch, its doubles, and the loader."""
    if not lab.trace.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    rig = lab.rig().train()
    batch = rig.put(lab.train_batches[0])
    rows = batch_size(lab, rig, batch)
    axes = input_axes(rig, batch, rows)
    sizes: list[Size] = []
    limit, start = None, time.monotonic()
    for doubling in range(DOUBLINGS + 1):
        count = rows * 2**doubling
        try:
            sizes.append(
                _timed(rig, take(batch, axes, torch.arange(count, device=lab.device) % rows), count)
            )
        except (UserCodeError, RuntimeError, MemoryError) as error:
            if not sizes:
                raise
            limit = count if "memory" in str(error).lower() else None
            break
        if time.monotonic() - start > SECONDS / 2 ** (DOUBLINGS - doubling):
            break
    return Sizes(tuple(sizes), limit, _loading(lab))


def _timed(rig: Rig, batch: Any, rows: int) -> Size:
    """Median of three steps after one to warm up; the device is waited for."""
    optimizer = torch.optim.SGD([p for _, p in rig.trainable()], lr=0.0)
    cuda = rig.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(rig.device)
    spent = []
    for _ in range(REPEATS + 1):
        seed_everything(0)
        start = time.perf_counter()
        rig.update(optimizer, batch)
        if cuda:
            torch.cuda.synchronize(rig.device)
        spent.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated(rig.device) if cuda else 0
    return Size(rows, median(spent[1:]), memory)


def _loading(lab: Lab) -> float:
    """Seconds a batch, the first left out (workers start with it)."""
    loader = lab.subject.loader
    if iter(loader) is loader or isinstance(loader, list | tuple):
        return 0.0
    with lab.seeded():
        start = time.perf_counter()
        first = len(read_batches(loader, 1))
        opened = time.perf_counter() - start
        start = time.perf_counter()
        count = len(read_batches(loader, READ))
        whole = time.perf_counter() - start
    return max(whole - opened, 0.0) / (count - first) if count > first else opened
