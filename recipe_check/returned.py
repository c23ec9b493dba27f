"""What a model, a loss or a training step returned: where the loss is, and where the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recipe_check.errors import UserCodeError


@dataclass(frozen=True)
class Step:
    """What one forward pass through model and loss gave; `loss` is a 0-d tensor."""

    loss: torch.Tensor
    output: Any


def logits_of(output: Any, loss: Callable[..., Any]) -> Any:
    """Model outputs that carry `.logits` are unpacked for torch's own loss modules."""
    is_torch_loss = type(loss).__module__.startswith("torch.nn")
    if is_torch_loss and not isinstance(output, torch.Tensor):
        return getattr(output, "logits", output)
    return output


def scalar(loss: Any) -> torch.Tensor:
    """The loss as a 0-d tensor; raises UserCodeError with what to do otherwise."""
    if not isinstance(loss, torch.Tensor):
        raise UserCodeError(f"the loss is a {type(loss).__name__}, expected a tensor")
    if loss.numel() != 1:
        shape = tuple(loss.shape)
        raise UserCodeError(
            f"the loss has shape {shape}, expected one number: reduction='none' needs .mean()"
        )
    if loss.is_complex():
        raise UserCodeError("the loss is complex, expected a real number: take its .abs() or .real")
    return loss.reshape(())


def own_loss(returned: Any) -> Step:
    """Loss and output from what a training step or a self-scoring model returned."""
    if isinstance(returned, torch.Tensor) and returned.ndim < 2:
        return Step(scalar(returned), None)
    if isinstance(returned, Mapping) and returned.get("loss") is not None:
        rest = [returned[k] for k in ("output", "outputs", "logits", "preds") if k in returned]
        return Step(scalar(returned["loss"]), rest[0] if rest else None)
    if getattr(returned, "loss", None) is not None:
        return Step(scalar(returned.loss), getattr(returned, "logits", None))
    if isinstance(returned, list | tuple):
        return _loss_in_sequence(returned)
    raise UserCodeError(
        f"no loss found in the {type(returned).__name__} that the model or training_step returned"
    )


def _loss_in_sequence(returned: Sequence[Any]) -> Step:
    """The one-element tensor is the loss; the first of the others is the output."""
    for index, item in enumerate(returned):
        if isinstance(item, torch.Tensor) and item.numel() == 1 and item.is_floating_point():
            rest = [other for place, other in enumerate(returned) if place != index]
            return Step(scalar(item), rest[0] if rest else None)
    raise UserCodeError("no loss found: none of the returned values is a one-element tensor")
