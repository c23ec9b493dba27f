"""What an object of the target is, and how it is called in words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from recipe_check.loading.names import required_arguments


def optimizer_builder(value: Any) -> Callable[[nn.Module], Any]:
    """`make(parameters)` or `make(model)`, told apart by the name of its first parameter."""
    first = (required_arguments(value) or [""])[0]
    if first in ("model", "net", "module", "network"):
        return lambda model: value(model)
    if first == "":
        return lambda model: value()
    return lambda model: value(model.parameters())


def are_loaders(values: Any) -> bool:
    """Whether each can be read in batches and knows its data set."""
    return all(hasattr(value, "__iter__") and not isinstance(value, torch.Tensor)
               and hasattr(value, "dataset") for value in values)  # fmt: skip


def is_lazy(parameter: Any) -> bool:
    """Whether its shape is not known yet."""
    return bool(torch.nn.parameter.is_lazy(parameter))


def describe_loader(loader: Any) -> str:
    """Its class with the number of samples, the batch size or the number of batches."""
    kind = type(loader).__name__
    parts = []
    with contextlib.suppress(AttributeError, TypeError):
        parts.append(f"{len(loader.dataset):,} samples")
    size = getattr(loader, "batch_size", None)
    if size:
        parts.append(f"batch {size}")
    if not parts and isinstance(loader, list | tuple):
        parts.append(f"{len(loader)} batches")
    return f"{kind} ({', '.join(parts)})" if parts else kind


def name_of(value: Any) -> str:
    """What people call a function or the class of a module."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    return str(getattr(value, "__name__", type(value).__name__))
