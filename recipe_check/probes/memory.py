"""Buffers that a model writes while it trains: queues of keys, memory banks, moving codebooks.

With one batch again and again a queue of negatives fills with that batch, which then cannot be
told from itself. Held as it is, the memory leaves a question that has an answer.
"""

from __future__ import annotations

import torch
from torch import nn

from recipe_check.module_kinds import has_statistics


class Memory:
    """Every buffer apart from running statistics, as it is now."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module._buffers, name, buffer, buffer.detach().clone())
            for module in model.modules()
            if not has_statistics(module)
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.layout is torch.strided
        ]

    def changed(self) -> bool:
        """Whether anything was written or put in the place of a buffer."""
        return any(
            owner[name] is not buffer or not torch.equal(buffer, value)
            for owner, name, buffer, value in self._kept
        )

    def put_back(self) -> None:
        """As it was."""
        with torch.no_grad():
            for owner, name, buffer, value in self._kept:
                owner[name] = buffer
                buffer.copy_(value)
