"""Observing a script until its first optimizer.step(), at which it is stopped."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

from recipe_check.loading.script_place import Place, visible_names
from recipe_check.loading.script_record import Record

PATIENCE = 1000  # so often may a script swallow its end
STEPLESS = 32  # backward passes without any optimizer, after which there will be none
UNSTEPPED = 512  # likewise where there is one: more than are accumulated for a step
SCHEDULERS = (
    lr_scheduler.LRScheduler,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.SequentialLR,
    lr_scheduler.ChainedScheduler,
)


class Stopped(BaseException):
    """Leaves the script; not an Exception, so that its own `except Exception` lets it pass."""


class Watch(TorchFunctionMode):
    """Tells a Record what happens. `stepped` is the optimizer whose step ended the script, at
    `place`; `names` are those that its code knew then."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record()
        self.optimizers: list[Optimizer] = []
        self.schedulers: list[Any] = []
        self.stepped: Optimizer | None = None
        self.place: Place | None = None
        self.names: dict[str, Any] = {}
        self.is_over = False
        self._swallowed = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.record.operation(func, args, kwargs, out)
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
        yield torch.autograd, "grad", self._grad
        yield DataLoader, "__iter__", self._iterate
        yield _BaseDataLoaderIter, "__next__", self._fetch
        yield torch.amp.GradScaler, "scale", self._scale
        yield torch, "compile", lambda _: _uncompiled
        yield Optimizer, "__init__", lambda init: _recorded(init, self.optimizers)
        for kind in SCHEDULERS:
            yield kind, "__init__", lambda init: _recorded(init, self.schedulers)

    # -- what is observed ----------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._check_stopped()
        self.record.enter(module, args)

    def _leave(self, module: nn.Module, _args: Any, *rest: Any) -> None:
        kwargs, out = rest if len(rest) == 2 else ({}, None)  # no keywords where it has raised
        self.record.leave(module, kwargs, out)

    def _iterate(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def iterate(loader: Any) -> Any:
            self.record.restart(loader)
            iterator = original(loader)
            iterator._recipe_check_loader = loader
            return iterator

        return iterate

    def _fetch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(iterator: Any) -> Any:
            self._check_stopped()
            with self.record.paused():
                batch = original(iterator)
            self.record.feed(getattr(iterator, "_recipe_check_loader", None), batch)
            return batch

        return fetch

    def _backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            self._check_stopped()
            self._give_up()
            self.record.end(tensors)
            with self.record.paused():
                return original(tensors, *args, **kwargs)

        return backward

    def _grad(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def grad(*args: Any, **kwargs: Any) -> Any:
            self._check_stopped()
            self.record.derivatives += not self.optimizers
            self._give_up()
            return original(*args, **kwargs)

        return grad

    def _scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def scale(scaler: Any, outputs: Any) -> Any:
            with self.record.paused():
                scaled = original(scaler, outputs)
            self.record.tape.alias(scaled, outputs)
            return scaled

        return scale

    def _step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Stops the script, unless nothing has been computed yet (a step to please a scheduler).
        An optimizer that gets its loss from a closure has that called once."""
        self._check_stopped()
        closure = next((a for a in (*args[1:], *kwargs.values()) if callable(a)), None)
        if closure is not None and self.record.first is None:
            closure()
        if self.record.forwards or self.record.backwards:
            self.stepped, self.place = optimizer, Place.here()
            self.names = visible_names(sys._getframe(1))
            self.is_over = True
            raise Stopped

    def _give_up(self) -> None:
        """Ends a script that trains without an optimizer's step."""
        passes = self.record.backwards + self.record.derivatives
        if passes >= (UNSTEPPED if self.optimizers else STEPLESS):
            self.is_over = True
            raise Stopped

    def _check_stopped(self) -> None:
        """A script that swallowed its end gets no further."""
        if not self.is_over:
            return
        self._swallowed += 1
        if self._swallowed > PATIENCE:
            print("recipe-check: the script does not end, whatever is raised", file=sys.stderr)
            os._exit(3)
        raise Stopped


def _uncompiled(model: Any = None, **_options: Any) -> Any:
    """Stands for `torch.compile`: the same mathematics without a compiler's start-up."""
    return model if model is not None else lambda function: function


def _recorded(init: Callable[..., None], made: list[Any]) -> Callable[..., None]:
    @functools.wraps(init)
    def record(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(self)

    return record
