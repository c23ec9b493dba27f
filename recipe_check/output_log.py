"""What the user's code prints: a file that the worker writes and the parent reads the end of."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from recipe_check.errors import UsageError

MOST = 64 * 2**20  # bytes; a loop that prints must not fill the disk


class OutputLog:
    """A file in the folder for temporary files, readable by its owner alone."""

    def __init__(self) -> None:
        try:
            handle, name = tempfile.mkstemp(prefix="recipe-check-", suffix=".log")
        except OSError as error:
            folder = os.environ.get("TMPDIR", "the folder for temporary files")
            raise UsageError(
                f"cannot write to {folder}: {error.strerror}", "set TMPDIR to another folder"
            ) from error
        os.close(handle)
        self.path = Path(name)

    def tail(self, characters: int) -> str:
        """The last of it."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 4 * characters))
            return file.read().decode(errors="replace")[-characters:]
        return ""

    def trim(self) -> None:
        """Forgets what is there where it has grown too long; whoever writes appends."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_size > MOST:
                os.truncate(self.path, 0)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
