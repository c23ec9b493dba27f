"""How a batch becomes a call: which part is input, which is target, how the model takes it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

LABEL_KEYS = ("labels", "label", "targets", "target", "y", "ys", "label_ids", "class_labels")


@dataclass(frozen=True)
class Split:
    """A batch in two; `target` is None where the batch has no label of its own."""

    inputs: Any
    target: Any


def split(batch: Any, model: nn.Module) -> Split:
    """(x, y), (x1, x2, y), {"x": …, "labels": …}, x alone, or an object with `.y`."""
    if isinstance(batch, Mapping):
        return _split_mapping(batch)
    if isinstance(batch, list | tuple) and not hasattr(batch, "batch_sizes"):
        return _split_sequence(batch, model)
    target = getattr(batch, "y", None) if not isinstance(batch, torch.Tensor) else None
    return Split(batch, target)


def _split_mapping(batch: Mapping[Any, Any]) -> Split:
    for key in LABEL_KEYS:
        if key in batch:
            rest = {name: value for name, value in batch.items() if name != key}
            return Split(rest, batch[key])
    return Split(batch, None)


def _split_sequence(batch: Any, model: nn.Module) -> Split:
    if len(batch) <= 1:
        return Split(batch[0] if batch else None, None)
    if len(batch) == 2:
        return Split(batch[0], batch[1])
    taken = min(max(_required_inputs(model), 1), len(batch) - 1)
    if taken == 1:
        taken = len(batch) - 1 if _accepted_inputs(model) >= len(batch) - 1 else 1
    target = batch[taken] if taken == len(batch) - 1 else tuple(batch[taken:])
    return Split(batch[0] if taken == 1 else tuple(batch[:taken]), target)


def forward_parameters(model: nn.Module) -> list[inspect.Parameter]:
    """The parameters of `forward`, or none where it cannot be inspected."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _required_inputs(model: nn.Module) -> int:
    found = [p for p in forward_parameters(model) if p.kind in _POSITIONAL]
    return sum(p.default is inspect.Parameter.empty for p in found)


def _accepted_inputs(model: nn.Module) -> int:
    found = forward_parameters(model)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in found):
        return 1  # *args says nothing: one input, as most models
    return sum(p.kind in _POSITIONAL for p in found)


def takes_labels(model: nn.Module) -> bool:
    """Whether `forward` names a label among its parameters: the model computes its own loss."""
    return any(p.name in LABEL_KEYS for p in forward_parameters(model))


def call_model(model: nn.Module, inputs: Any) -> Any:
    """The model on its inputs, spread over its parameters as its signature asks."""
    if isinstance(inputs, Mapping):
        return _call_with_mapping(model, inputs)
    if isinstance(inputs, list | tuple) and not hasattr(inputs, "batch_sizes"):
        several = max(_required_inputs(model), 1) > 1 or _accepted_inputs(model) >= len(inputs)
        return model(*inputs) if several else model(inputs)
    return model(inputs)


def _call_with_mapping(model: nn.Module, inputs: Mapping[Any, Any]) -> Any:
    found = forward_parameters(model)
    names = {p.name for p in found}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found) and names & set(inputs):
        return model(**inputs)
    matching = {key: value for key, value in inputs.items() if key in names}
    if matching and _required_inputs(model) <= len(matching):
        return model(**matching)
    if len(inputs) == 1 and not _reads_mapping(found):
        return model(next(iter(inputs.values())))
    return model(inputs)


def _reads_mapping(found: list[inspect.Parameter]) -> bool:
    return any("dict" in str(p.annotation).lower() or p.name == "batch" for p in found)


def call_own_loss(model: nn.Module, batch: Any) -> Any:
    """The whole batch, labels included, for models that compute their own loss; the inputs
    alone where `forward` has no place for more."""
    if isinstance(batch, Mapping):
        return _call_with_mapping(model, batch)
    if isinstance(batch, list | tuple) and 1 < len(batch) > _accepted_inputs(model):
        return call_model(model, split(batch, model).inputs)
    return call_model(model, batch)
