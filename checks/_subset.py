"""The first few samples of a batch, where a batch can be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything

from ._calls import batch_size, input_axes, take

if TYPE_CHECKING:
    from recipe_check import Lab, Rig


def few_rows(lab: Lab, rig: Rig, batch: Any, count: int) -> Any:
    """The first `count` samples, the batch itself where it is not larger or cannot be cut.

    Cost: one forward pass, to see that the model runs on the smaller batch.
    """
    try:
        size = batch_size(lab, rig, batch)
        axes = input_axes(rig, batch, size)
    except NotApplicable:
        return batch
    if size <= count:
        return batch
    small = take(batch, axes, torch.arange(count, device=_device(batch, axes)))
    try:
        seed_everything(0)
        with rig.looking():
            rig.step(small)
    except UserCodeError:
        return batch
    return small


def _device(batch: Any, axes: dict[int, int]) -> torch.device:
    return tree.leaves(batch)[next(iter(axes))].device
