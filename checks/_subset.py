"""The first few samples of a batch, where a batch can be cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError

from ._calls import batch_size, input_axes, take

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

T = TypeVar("T")


def few_rows(lab: Lab, rig: Rig, batch: Any, count: int) -> Any:
    """The first `count` samples, the batch itself where it is not larger or cannot be cut. That
    the model runs on so few is for the caller to see."""
    try:
        size = batch_size(lab, rig, batch)
        axes = input_axes(rig, batch, size)
    except NotApplicable:
        return batch
    if size <= count:
        return batch
    return take(batch, axes, torch.arange(count))


def on_few_rows(lab: Lab, rig: Rig, batch: Any, count: int, call: Callable[[Any], T]) -> T:
    """What `call` says of the first `count` samples; of the whole batch where the user's code
    refuses fewer."""
    small = few_rows(lab, rig, batch, count)
    if small is batch:
        return call(batch)
    try:
        return call(small)
    except UserCodeError:
        return call(batch)
