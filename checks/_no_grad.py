"""Telling the user's `no_grad` blocks from the inside of a custom Function's forward.

Both switch gradients off, but what a Function computes is differentiated by its backward, and
what stands under `no_grad` is a constant.
"""

from __future__ import annotations

from typing import Any

import torch


class WithoutGradient:
    """Counts how many of the user's blocks without gradients are open, between start and stop."""

    def __init__(self) -> None:
        self.depth = 0
        self._originals: list[tuple[Any, str, Any]] = []

    def start(self) -> None:
        """Begins to count `no_grad`, `inference_mode` and `set_grad_enabled(False)` blocks."""
        self.depth = 0
        for kind in (torch.no_grad, torch.inference_mode, torch.set_grad_enabled):
            self._wrap(kind, "__enter__", +1)
            self._wrap(kind, "__exit__", -1)

    def stop(self) -> None:
        """Puts the classes back as they were."""
        while self._originals:
            kind, name, original = self._originals.pop()
            setattr(kind, name, original)

    def _wrap(self, kind: Any, name: str, change: int) -> None:
        original = kind.__dict__[name]

        def counted(block: Any, *args: Any) -> Any:
            disabling = getattr(block, "mode", kind is not torch.set_grad_enabled)
            off = not disabling if kind is torch.set_grad_enabled else bool(disabling)
            self.depth += change if off else 0
            return original(block, *args)

        self._originals.append((kind, name, original))
        setattr(kind, name, counted)
