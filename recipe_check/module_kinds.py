"""What a module does besides computing: statistics that it keeps, weights that it looks up once."""

from __future__ import annotations

from torch import nn


def caches_in_eval(module: nn.Module) -> bool:
    """A train() of its own over weights of its own: LeViT and its kin look their attention biases
    up once in evaluation mode and keep them, so that no gradient reaches the weights."""
    overrides = type(module).train is not nn.Module.train
    return overrides and any(True for _ in module.parameters(recurse=False))


def has_statistics(module: nn.Module) -> bool:
    """Batch, instance and ghost normalisation alike: anything that keeps running statistics."""
    return any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)) or (
        isinstance(module, nn.modules.batchnorm._BatchNorm)
    )
