"""Writing reports: checked before the run, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from recipe_check.errors import UsageError


def check_writable(path: Path) -> None:
    """Raises UsageError with the path where a file could not be written there."""
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder", "give a file name")
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: no folder {folder}", f"make it:  mkdir -p {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write {path}: permission denied", "give another path")


def write_whole(path: Path, text: str) -> None:
    """Writes beside the file and renames: a reader never sees half a report."""
    data = text.encode("utf-8", errors="backslashreplace")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "give another path") from error
