"""How much memory the worker may take, and what is said where that was not enough."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from recipe_check.errors import UsageError

_SIGNS = (
    "MemoryError",
    "OutOfMemoryError",
    "bad alloc",
    "bad_alloc",
    "can't allocate memory",
    "annot allocate memory",
    "out of memory",
)


def check_limit(gigabytes: float) -> None:
    """Raises UsageError where the system enforces no such limit."""
    if gigabytes and sys.platform != "linux":
        raise UsageError("--memory-limit works on Linux only", "leave it out")


def limit_memory(gigabytes: float) -> None:
    """What this process and each that it starts may allocate for itself; 0 is no limit.

    `RLIMIT_DATA` counts memory of their own alone, so that the address space which CUDA or a
    mapped file reserves is not refused. The user's line that asks for more gets an error.
    """
    if gigabytes:
        import resource

        most = int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def go_first() -> None:
    """Where the system runs out of memory it ends this process before any other (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def is_exhausted(text: str) -> bool:
    """Whether an error's message says that there was no memory."""
    return any(sign in text for sign in _SIGNS)


def explained(text: str, gigabytes: float) -> str:
    """The message, with the limit where that may be why."""
    if gigabytes and is_exhausted(text):
        return f"{text} (the worker process may take {gigabytes:g} GB: --memory-limit)"
    return text
