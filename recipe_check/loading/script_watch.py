"""Observing a script until its first optimizer.step(), at which it is stopped."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from recipe_check.loading.script_place import Place
from recipe_check.loading.script_tape import Root, Tape
from recipe_check.userframes import is_user_file

PATIENCE = 1000  # so often may a script swallow its end
AHEAD = 8  # batches that are fetched before the first of them is used
SCHEDULERS = (
    lr_scheduler.LRScheduler,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.SequentialLR,
    lr_scheduler.ChainedScheduler,
)


class Stopped(BaseException):
    """Leaves the script; not an Exception, so that its own `except Exception` lets it pass."""


@dataclass
class Counts:
    """How far the script got."""

    batches: int = 0
    forwards: int = 0
    backwards: int = 0


class Watch(TorchFunctionMode):
    """Keeps the calls since the last batch, and the first such tape that had a `backward()`."""

    def __init__(self) -> None:
        super().__init__()
        self.tape = Tape()
        self.first: Tape | None = None
        self.counts = Counts()
        self.loaders: dict[int, tuple[Any, Place | None]] = {}
        self.optimizers: list[Optimizer] = []
        self.schedulers: list[Any] = []
        self.stepped: Optimizer | None = None
        self.place: Place | None = None
        self.names: dict[str, Any] = {}
        self._recording = False
        self._depth = 0
        self._entered: Any = ()
        self._swallowed = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self._recording and not self._depth:
            self.tape.add(func, args, kwargs, out)
        return out

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Everything is observed in the block, and put back after it."""
        with ExitStack() as undo:
            hooks = (
                register_module_forward_pre_hook(self._enter),
                register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
                register_optimizer_step_pre_hook(self._step),
            )
            for hook in hooks:
                undo.callback(hook.remove)
            for owner, name, make in self._replacements():
                original = getattr(owner, name)
                undo.callback(setattr, owner, name, original)
                setattr(owner, name, make(original))
            undo.enter_context(self)
            yield

    def _replacements(self) -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
        yield torch.autograd, "backward", self._backward
        yield DataLoader, "__iter__", self._iterate
        yield _BaseDataLoaderIter, "__next__", self._fetch
        yield torch.amp.GradScaler, "scale", self._scale
        yield torch, "compile", lambda compile: functools.partial(compile, disable=True)
        yield Optimizer, "__init__", lambda init: _recorded(init, self.optimizers)
        for kind in SCHEDULERS:
            yield kind, "__init__", lambda init: _recorded(init, self.schedulers)

    @contextmanager
    def _unrecorded(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    # -- what is observed ----------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._check_stopped()
        if not self._depth:
            if not self._recording and _trains(module):
                self._recording, self.tape = True, Tape()
            self._entered = args
            self.tape.autocast |= _autocast()
            self.counts.forwards += 1
        self._depth += 1

    def _leave(self, module: nn.Module, _args: Any, kwargs: Any, out: Any) -> None:
        self._depth -= 1
        if self._recording and not self._depth:
            self.tape.used |= _trains(module)
            self.tape.add(undistributed(module), self._entered, kwargs, out)

    def _iterate(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def iterate(loader: Any) -> Any:
            if self.tape.holds(loader):
                self.tape = Tape()
            iterator = original(loader)
            iterator._recipe_check_loader = loader
            return iterator

        return iterate

    def _fetch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(iterator: Any) -> Any:
            self._check_stopped()
            with self._unrecorded():
                batch = original(iterator)
            self._feed(getattr(iterator, "_recipe_check_loader", None), batch)
            return batch

        return fetch

    def _feed(self, loader: Any, batch: Any) -> None:
        """A batch after a use of the model begins another tape; before it, loaders may fetch
        ahead."""
        self.counts.batches += 1
        self._recording = True
        self.loaders.setdefault(id(loader), (loader, Place.here()))
        over = self.tape.used or len(self.tape.batches) >= AHEAD
        if not self.tape.batches or (over and self.tape.holds(loader)):
            self.tape = Tape()
        self.tape.feed(loader, batch)

    def _backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            self._check_stopped()
            self.counts.backwards += 1
            self.first = self.first or self.tape
            for tensor in tensors if isinstance(tensors, list | tuple) else (tensors,):
                self.tape.roots.append(Root(self.tape.known.get(id(tensor)), Place.here()))
            with self._unrecorded():
                return original(tensors, *args, **kwargs)

        return backward

    def _scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def scale(scaler: Any, outputs: Any) -> Any:
            with self._unrecorded():
                scaled = original(scaler, outputs)
            self.tape.alias(scaled, outputs)
            return scaled

        return scale

    def _step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Stops the script, unless nothing has been computed yet (a step to please a scheduler).
        An optimizer that gets its loss from a closure has that called once."""
        self._check_stopped()
        closure = next((a for a in (*args[1:], *kwargs.values()) if callable(a)), None)
        if closure is not None and self.first is None:
            closure()
        if not self.counts.forwards and not self.counts.backwards:
            return
        self.stepped, self.place = optimizer, Place.here()
        self.names = _visible_names(sys._getframe(1))
        raise Stopped

    def _check_stopped(self) -> None:
        """A script that swallowed its end gets no further."""
        if self.stepped is None:
            return
        self._swallowed += 1
        if self._swallowed > PATIENCE:
            print("recipe-check: the script does not end, whatever is raised", file=sys.stderr)
            os._exit(3)
        raise Stopped


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def undistributed(module: nn.Module) -> nn.Module:
    """The module inside wrappers that only distribute it."""
    while isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.module
    return module


def _recorded(init: Callable[..., None], made: list[Any]) -> Callable[..., None]:
    @functools.wraps(init)
    def record(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(self)

    return record


def _autocast() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


def _visible_names(frame: FrameType | None) -> dict[str, Any]:
    """What the user's code calls by name right now, the innermost names first."""
    found: dict[str, Any] = {}
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            owner = frame.f_locals.get("self")
            attributes = vars(owner) if hasattr(owner, "__dict__") else {}
            found = {**frame.f_globals, **attributes, **frame.f_locals, **found}
        frame = frame.f_back
    return found
