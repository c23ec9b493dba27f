"""What the checks cost beside the training they save: one plain step, and the memory at most."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from recipe_check.lab import Lab
from recipe_check.run_report import Expense

REPEATS = 5  # steps after one to warm up
MOST_SECONDS = 2.0  # no further step is begun after this long


def measure_expense(lab: Lab) -> Expense:
    """Peak memory so far, then the seconds of a step; None where there is no such number."""
    peak = peak_memory(lab.device)
    try:
        with lab.seeded():
            return Expense(step_seconds=step_seconds(lab), peak_memory_bytes=peak)
    except Exception:  # the user's step does not run: the checks have said so
        return Expense(peak_memory_bytes=peak)


def step_seconds(lab: Lab) -> float:
    """Median seconds of one training step of the user's own on a copy: forward pass, loss,
    backward pass and optimizer, on the first batch as the loader yields it."""
    rig = lab.rig().train()
    batch, optimizer = rig.put(lab.train_batches[0]), rig.own_optimizer()

    def step() -> None:
        rig.update(optimizer, batch)
        _finish(lab.device)

    found: list[float] = []
    while len(found) <= REPEATS and sum(found) < MOST_SECONDS:
        found.append(_seconds(step))
    return round(statistics.median(found[1:] or found), 7)


def _seconds(act: Callable[[], None]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    """Waits for what the device has not done yet: kernels run behind Python's back."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int | None:
    """Bytes at most so far: of tensors on a CUDA device, else of this whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes there, KiB elsewhere
