"""Copies of the user's objects that share no tensor with them, also where Python cannot copy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import UninitializedBuffer, is_lazy

from recipe_check.errors import UserCodeError
from recipe_check.guard import as_user_error, is_callers
from recipe_check.memory import is_exhausted


@dataclass(frozen=True)
class Parts:
    """One set of objects that belong together: the optimizer holds the model's parameters."""

    model: nn.Module
    loss: Callable[..., Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    scheduler: Any = None


def copy_parts(parts: Parts, build: Callable[[], nn.Module] | None = None) -> Parts:
    """One deep copy of all parts, so that references between them stay references.

    What no module can be without and Python cannot copy (a lock, an open file) is shared. A model
    that refuses as a whole is built anew and gets the weights of the one that is copied. Raises
    UserCodeError with what to do where nothing is left to try.
    """
    memo = _detached(parts.model)
    try:
        return _copied(parts, memo)
    except BaseException as error:
        if is_callers(error) or is_exhausted(f"{type(error).__name__}: {error}"):
            raise
        refused = error
    for attempt in (_sharing, _rebuilt):
        try:
            return attempt(parts, build)
        except Exception:  # the first reason is the one that counts
            continue
    raise _uncopyable(parts.model, refused) from refused


def _uncopyable(model: nn.Module, error: BaseException) -> UserCodeError:
    raised = as_user_error(error)
    text = (
        f"{type(model).__name__} cannot be copied ({raised}), and the checks work on copies: "
        "give a function without arguments that makes it, such as make_model()"
    )
    return UserCodeError(text, raised.trace, raised.file, raised.line, raised.source)


def _copied(parts: Parts, memo: dict[int, Any]) -> Parts:
    frozen = (parts.model, _copyable(parts.loss), parts.optimizer, parts.scheduler)
    model, loss, optimizer, scheduler = copy.deepcopy(frozen, memo)
    _complete(parts.optimizer, optimizer, memo)
    return Parts(unwrap(model), loss or parts.loss, optimizer, scheduler)


def _complete(optimizer: Any, copied: Any, memo: dict[int, Any]) -> None:
    """Optimizers copy only state and groups; what else one keeps (LBFGS its flat parameters, a
    wrapper the optimizer inside) is copied after them. Not so functions: the `step` that a
    scheduler wraps would still move the original's weights."""
    for name, value in vars(optimizer).items() if optimizer is not None else ():
        if name not in vars(copied) and not callable(value) and not name.endswith("hooks"):
            setattr(copied, name, copy.deepcopy(value, memo))


def _detached(model: nn.Module) -> dict[int, Any]:
    """What torch does not copy: tensors kept on a module that are results of an operation
    (old-style weight norm; as plain values, since every forward pass remakes them), and buffers
    of lazy layers."""
    held = (value for module in model.modules() for value in _attribute_tensors(module))
    found: dict[int, Any] = {id(v): v.detach().clone() for v in held if not v.is_leaf}
    for buffer in model.buffers():
        if is_lazy(buffer):
            make: Any = UninitializedBuffer
            found[id(buffer)] = make(device=buffer.device, dtype=buffer.dtype)
    return found


def _sharing(parts: Parts, _: Callable[[], nn.Module] | None) -> Parts:
    """What is inside them and cannot be copied is that of the original; no tensor is."""
    found = _refusing((parts.model, _copyable(parts.loss)), set())
    return _copied(parts, _detached(parts.model) | {id(value): value for value in found})


def _refusing(value: Any, seen: set[int]) -> Iterator[Any]:
    """The innermost objects that cannot be copied."""
    if id(value) in seen or isinstance(value, torch.Tensor):
        return
    seen.add(id(value))
    inside: Iterable[Any] = vars(value).values() if hasattr(value, "__dict__") else ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list | tuple | set):
        inside = value
    children = list(inside)
    for child in children:
        yield from _refusing(child, seen)
    if not children and not _is_copyable(value):
        yield value


def _is_copyable(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:
        return False
    return True


def _rebuilt(parts: Parts, build: Callable[[], nn.Module] | None) -> Parts:
    """A new model with the weights and modes of this one; the others refer to it in its place."""
    if build is None:
        raise ValueError("no factory")
    old, new = parts.model, build()
    new.load_state_dict(old.state_dict())
    memo: dict[int, Any] = {id(old): new}
    for mine, theirs in zip(new.modules(), old.modules(), strict=True):
        mine.training = theirs.training
        memo[id(theirs)] = mine
    for parameter, other in zip(new.parameters(), old.parameters(), strict=True):
        parameter.requires_grad_(other.requires_grad)
        memo[id(other)] = parameter
    return _copied(replace(parts, model=new), memo | {id(new): new})


def _copyable(loss: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Only modules carry state worth copying; functions and closures are shared."""
    return loss if isinstance(loss, nn.Module) else None


def _attribute_tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    for value in vars(module).values():
        items = value if isinstance(value, list | tuple) else (value,)
        yield from (item for item in items if isinstance(item, torch.Tensor))


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and DistributedDataParallel: the same mathematics without
    a compiler's start-up or other processes."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, DistributedDataParallel):
        inner = model.module
    return unwrap(inner) if isinstance(inner, nn.Module) else model
