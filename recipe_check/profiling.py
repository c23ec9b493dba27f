"""`--profile FILE`: what torch did while the checks ran, as a Chrome trace."""

from __future__ import annotations

import gzip
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

_PLACE = re.compile(rb'("(?:traceName|host_name)": )"[^"]*"')


def start() -> Any:
    """A running profiler of the CPU, and of CUDA where there is one."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    running = profile(activities=activities)
    running.start()
    return running


def write(running: Any, file: str) -> None:
    """Stops the profiler and writes its trace; a name that ends in .gz is compressed. The name of
    the machine and the folder that torch writes to are left out."""
    running.stop()
    whole = Path(f"{file}.whole")
    running.export_chrome_trace(str(whole))
    opened: Any = gzip.open if file.endswith(".gz") else open
    with whole.open("rb") as lines, opened(file, "wb") as kept:
        kept.writelines(_PLACE.sub(rb'\1""', line) for line in lines)
    whole.unlink()


def named(check: str) -> AbstractContextManager[Any]:
    """The block is one span of the trace; without a profiler it costs microseconds."""
    return record_function(f"check {check}")
