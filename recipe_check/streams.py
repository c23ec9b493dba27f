"""The standard streams of this process, as they were left by whoever started it."""

from __future__ import annotations

import os
import sys


def open_streams() -> None:
    """Standard streams that the caller has closed (`>&-`) lead nowhere, here and in the worker:
    what is opened next must not take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def be_silent() -> None:
    """Standard output and error lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(nowhere, stream.fileno())
