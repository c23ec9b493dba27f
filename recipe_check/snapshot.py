"""Whether the user's objects are as they were: fingerprints taken before and after a run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from recipe_check.borrowed import generators_of

Snapshot = dict[str, str]  # where -> fingerprint


def snapshot(objects: Mapping[str, Any]) -> Snapshot:
    """Fingerprints of everything that a run must leave alone, by where it is.

    For modules: parameters, buffers, gradients, `requires_grad`, modes and the number of hooks.
    For optimizers and schedulers: `state_dict()`. Also the random generators of torch, NumPy and
    random, and those of data loaders. No tensor is kept, only a hash of its bytes.
    """
    found = {
        "torch's random state": fingerprint(_torch_states()),
        "NumPy's random state": fingerprint(np.random.get_state()),
        "random's state": fingerprint(random.getstate()),
    }
    for name, value in objects.items():
        found.update(_fingerprints(name, value))
    return found


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Where the two differ, in order."""
    return [name for name in before | after if before.get(name) != after.get(name)]


def _torch_states() -> list[torch.Tensor]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *cuda]


def _fingerprints(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, nn.Module):
        yield from _module(name, value)
    elif not isinstance(value, type) and callable(getattr(value, "state_dict", None)):
        yield f"{name}.state_dict()", fingerprint(value.state_dict())
        yield f"{name}'s hooks", str(_hooks(value))
    for number, generator in enumerate(generators_of(value)):
        yield f"{name}'s generator {number}", fingerprint(generator.get_state())


def _module(name: str, module: nn.Module) -> Iterator[tuple[str, str]]:
    for path, child in module.named_modules(prefix=name):
        yield f"{path}.training", str(child.training)
        yield f"{path}'s hooks", str(_hooks(child))
    for path, parameter in module.named_parameters(name, remove_duplicate=False):
        yield path, fingerprint(parameter)
        yield f"{path}.requires_grad", str(parameter.requires_grad)
        yield f"{path}.grad", fingerprint(parameter.grad)
    for path, buffer in module.named_buffers(name, remove_duplicate=False):
        yield path, fingerprint(buffer)


def _hooks(owner: Any) -> int:
    """torch keeps hooks in mappings whose names end in `_hooks`."""
    held = (value for key, value in vars(owner).items() if key.endswith("_hooks"))
    return sum(len(value) for value in held if isinstance(value, Mapping))


def fingerprint(value: Any) -> str:
    """The same text for the same value, bit by bit, however deeply tensors are nested."""
    if isinstance(value, torch.Tensor):
        return f"{type(value).__name__} {_tensor(value)}"
    if isinstance(value, np.ndarray):
        return hashlib.blake2b(value.tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return str([(repr(key), fingerprint(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return str([fingerprint(item) for item in value])
    return repr(value)


def _tensor(value: torch.Tensor) -> str:
    """Kind and hash of the values; identity and version where they cannot be read (lazy, meta)."""
    try:
        dense = value.detach().to_dense() if value.layout is not torch.strided else value.detach()
        flat = dense.resolve_conj().cpu().contiguous().reshape(-1).view(torch.uint8)
        hashed = hashlib.blake2b(flat.numpy().data).hexdigest()
        return f"{tuple(value.shape)} {value.dtype} {value.device} {hashed}"
    except (RuntimeError, TypeError, ValueError):
        return f"{id(value)} version {value._version}"
