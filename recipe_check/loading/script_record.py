"""What was seen of a script so far: how far it got, and the calls that may make a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from recipe_check.loading.script_place import Place
from recipe_check.loading.script_tape import Tape

AHEAD = 8  # batches that are fetched before the first of them is used


@dataclass(eq=False)
class Record:
    """`first` is the first tape on which a `backward()` was called, `tape` the current one.

    Nothing is written down before a batch has come or a model with weights was called.
    """

    tape: Tape = field(default_factory=Tape)
    first: Tape | None = None
    batches: int = 0
    forwards: int = 0
    backwards: int = 0
    derivatives: int = 0  # calls of autograd.grad while there is no optimizer
    loaders: dict[int, tuple[Any, Place | None]] = field(default_factory=dict)
    called: dict[int, nn.Module] = field(default_factory=dict)  # the outermost with weights
    _recording: bool = False
    _depth: int = 0
    _entered: Any = ()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing of the block is written down."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def operation(self, func: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """A torch function was called; inside modules that does not matter."""
        if self._recording and not self._depth:
            self.tape.add(func, args, kwargs, out)

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module begins."""
        if not self._depth:
            if not self._recording and _has_weights(module):
                self._recording, self.tape = True, Tape()
            self._entered = args
            self.tape.autocast |= _autocast_is_on()
            self.forwards += 1
        self._depth += 1

    def leave(self, module: nn.Module, kwargs: Any, out: Any) -> None:
        """A module has ended; the outermost is one call."""
        self._depth -= 1
        if self._recording and not self._depth:
            if _has_weights(module):
                self.tape.used = True
                self.called.setdefault(id(module), module)
            self.tape.add(_undistributed(module), self._entered, kwargs, out)

    def restart(self, loader: Any) -> None:
        """A loader begins anew."""
        if self.tape.holds(loader):
            self.tape = Tape()

    def feed(self, loader: Any, batch: Any) -> None:
        """A batch after a use of the model begins another tape; before it, loaders may fetch
        ahead."""
        self.batches += 1
        self._recording = True
        self.loaders.setdefault(id(loader), (loader, Place.here()))
        over = self.tape.used or len(self.tape.batches) >= AHEAD
        if not self.tape.batches or (over and self.tape.holds(loader)):
            self.tape = Tape()
        self.tape.feed(loader, batch)

    def end(self, tensors: Any) -> None:
        """`backward()` is called."""
        self.backwards += 1
        self.first = self.first or self.tape
        for tensor in tensors if isinstance(tensors, list | tuple) else (tensors,):
            self.tape.end(tensor)


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _undistributed(module: nn.Module) -> nn.Module:
    """The module inside wrappers that only distribute it."""
    while isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.module
    return module


def _autocast_is_on() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
