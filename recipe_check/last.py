"""Which checks failed last time: a small file in the working directory, for `--lf`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from recipe_check.errors import UsageError
from recipe_check.files import write_whole
from recipe_check.results import Result
from recipe_check.values import Status

FOLDER = ".recipe-check-cache"


def failed_last(key: str) -> tuple[str, ...]:
    """Ids of the checks that failed or broke when `key` (what is loaded) last ran."""
    return _read().get(key, ())


def remember(key: str, results: Sequence[Result]) -> None:
    """A check that did not run keeps its place. A cache that cannot be written stops nothing."""
    ran = {result.id for result in results if result.status is not Status.SKIP}
    kept = [id for id in failed_last(key) if id not in ran]
    bad = [r.id for r in results if r.is_finding and r.status is not Status.WARN]
    with contextlib.suppress(OSError, UsageError):
        folder = Path(FOLDER)
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        write_whole(folder / "last.json", json.dumps(_read() | {key: [*kept, *bad]}, indent=1))


def _read() -> dict[str, tuple[str, ...]]:
    """Empty where there is no cache, or one that cannot be read."""
    with contextlib.suppress(OSError, ValueError, msgspec.ValidationError):
        text = (Path(FOLDER) / "last.json").read_text(encoding="utf-8")
        return msgspec.convert(json.loads(text), dict[str, tuple[str, ...]])
    return {}
