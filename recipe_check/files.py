"""Writing reports: checked before the run, whole or not at all."""

from __future__ import annotations

import contextlib
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
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"cannot write {path}: permission denied", "give another path")
    if not _is_device(path):
        try:
            os.unlink(_beside(path))
        except OSError as error:
            raise _failure(path, error) from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes beside the file and renames: a reader never sees half a report. A device or a pipe
    (/dev/stdout) is written into, a link is followed."""
    text = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        if _is_device(path):
            path.write_bytes(text)
        else:
            _replace(path, text)
    except OSError as error:
        raise _failure(path, error) from error


def _replace(path: Path, text: bytes) -> None:
    path = path.resolve()
    name = _beside(path)
    try:
        Path(name).write_bytes(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _beside(path: Path) -> str:
    """A new empty file in the same folder."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}."[:100])
    os.close(handle)
    return name


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _failure(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror}", "give another path")
