"""What a person sees while checks run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from typing import TextIO

SLOW = 10  # seconds after which a running check gets a line of its own without a terminal
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Progress:
    """Writes to `stream` (stderr); `live` is whether it is a terminal."""

    def __init__(self, stream: TextIO, *, live: bool, unicode: bool = True) -> None:
        self.stream = stream
        self.live = live
        self.frames = FRAMES if unicode else "|/-\\"
        self._number = 0
        self._told: set[str] = set()

    def tick(self, name: str, seconds: float) -> None:
        """Called several times a second while something runs."""
        if self.live:
            self._number += 1
            frame = self.frames[self._number % len(self.frames)]
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[K{f'  {frame} {name}  {seconds:.0f} s'[:width]}")
        elif seconds > SLOW and name not in self._told:
            self._told.add(name)
            self._write(f"  … {name} running ({seconds:.0f} s)\n")

    def clear(self) -> None:
        """Wipes the live line before something else is printed."""
        if self.live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        """A terminal that is gone stops nothing."""
        with contextlib.suppress(OSError):
            self.stream.write(text)
            self.stream.flush()
