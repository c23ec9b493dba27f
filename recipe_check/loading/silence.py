"""An object that stands in for what only talks: loggers, progress bars."""

from __future__ import annotations

from typing import Any


class Silence:
    """Takes any call and any attribute, and does nothing."""

    def __call__(self, *_: Any, **__: Any) -> Silence:
        return self

    def __getattr__(self, name: str) -> Silence:
        if name.startswith("__"):
            raise AttributeError(name)
        return self
