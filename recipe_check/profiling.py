"""`--profile FILE`: what torch did while the checks ran, as a Chrome trace."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function


def start() -> Any:
    """A running profiler of the CPU, and of CUDA where there is one."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    running = profile(activities=activities)
    running.start()
    return running


def write(running: Any, file: str) -> None:
    """Stops the profiler and writes its trace; a name that ends in .gz is compressed."""
    running.stop()
    running.export_chrome_trace(file)


def named(check: str) -> AbstractContextManager[Any]:
    """The block is one span of the trace; without a profiler it costs microseconds."""
    return record_function(f"check {check}")
