"""Fixtures shared by all tests: a lab around any model, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

from recipe_check.lab import Lab
from recipe_check.subject import Parts, Subject

pytest_plugins = ["pytester"]
torch.set_num_threads(1)


@pytest.fixture
def lab_for() -> Callable[..., Lab]:
    """`lab_for(model, batches, loss=…, optimizer=…, **subject)` → Lab on the CPU, seed 0."""

    def make(
        model: nn.Module,
        batches: Iterable[Any],
        loss: Any = None,
        optimizer: Any = None,
        scheduler: Any = None,
        **subject: Any,
    ) -> Lab:
        parts = Parts(model, loss, optimizer, scheduler)
        return Lab(Subject(name="test", original=parts, loader=batches, **subject), device="cpu")

    return make
