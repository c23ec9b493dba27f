"""Observing a script over its first steps: who is called in which order, and what becomes of the
gradients. Nothing is computed that the script would not compute, but for norms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from recipe_check.probes.rerun_hold import Holding
from recipe_check.probes.rerun_log import Log

Made = Callable[[Callable[..., Any]], Callable[..., Any]]
_CLIPS = ("clip_grad_norm_", "clip_grad_value_")
_SCHEDULERS = [
    kind for kind in vars(lr_scheduler).values() if isinstance(kind, type) and "step" in vars(kind)
]


class Watch:
    """Tells a Log what happens; `Holding` keeps data the same, where that is wanted."""

    def __init__(self, log: Log, holding: Holding) -> None:
        self.log, self.holding = log, holding
        self._depth: dict[str, int] = {}
        self._ours = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Everything is observed in the block, and put back after it."""
        with ExitStack() as undo:
            hooks = (
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            )
            for hook in hooks:
                undo.callback(hook.remove)
            for owner, name, make in self._replacements():
                original = getattr(owner, name)
                undo.callback(setattr, owner, name, original)
                setattr(owner, name, functools.wraps(original)(make(original)))
            yield

    def _replacements(self) -> Iterator[tuple[Any, str, Made]]:
        yield torch.autograd, "backward", self._backward
        yield torch.autograd, "grad", self._grad
        yield Optimizer, "__init__", self._made
        yield DataLoader, "__iter__", self._iterate
        yield _BaseDataLoaderIter, "__next__", self._fetch
        yield torch, "compile", lambda _: _uncompiled
        yield nn.Module, "__call__", self._call
        yield nn.Module, "train", self._mode
        for owner in (Optimizer, nn.Module):
            yield owner, "zero_grad", self._zero
        for name in _CLIPS:
            yield torch.nn.utils, name, self._clip
            yield torch.nn.utils.clip_grad, name, self._clip
        for kind in _SCHEDULERS:
            yield kind, "step", self._schedule
            yield kind, "__init__", self._inside("schedule")
        yield torch.amp.GradScaler, "scale", self._scale
        yield torch.amp.GradScaler, "unscale_", self._unscale

    @contextmanager
    def _within(self, what: str) -> Iterator[bool]:
        """Says whether this is the outermost call of its kind."""
        self._depth[what] = self._depth.get(what, 0) + 1
        try:
            yield self._depth[what] == 1 and not self._ours
        finally:
            self._depth[what] -= 1

    def _inside(self, what: str) -> Made:
        """Calls of this kind do not count within the function: a scheduler's own first step."""

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                with self._within(what):
                    return original(*args, **kwargs)

            return call

        return make

    # -- modules and data ------------------------------------------------------------------------

    def _call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            with self._within("forward") as outermost:
                if outermost and not self._depth.get("backward"):
                    self.log.entered(module)
                    args, kwargs = self.holding.enter(module, args, kwargs)
                return original(module, *args, **kwargs)

        return call

    def _iterate(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def iterate(loader: Any) -> Any:
            iterator = original(loader)
            iterator._recipe_check_loader = loader
            self.log.begins(loader)
            return iterator

        return iterate

    def _fetch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(iterator: Any) -> Any:
            loader = getattr(iterator, "_recipe_check_loader", None)
            if self.log.is_over(loader):
                raise StopIteration
            batch = original(iterator)
            self.log.fetched(loader)
            return self.holding.fetch(loader, batch)

        return fetch

    def _mode(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def train(module: nn.Module, mode: bool = True) -> Any:
            with self._within("mode") as outermost:
                if outermost:
                    self.log.switched(module, training=mode)
                return original(module, mode)

        return train

    # -- gradients -------------------------------------------------------------------------------

    def _backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            with self._within("backward") as outermost:
                if not outermost:
                    return original(tensors, *args, **kwargs)
                roots = tensors if isinstance(tensors, list | tuple) else [tensors]
                with self.log.backward(roots):
                    return original(tensors, *args, **kwargs)

        return backward

    def _grad(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def grad(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            with self._within("backward") as outermost:
                if outermost:
                    self.log.differentiated(outputs)
                return original(outputs, *args, **kwargs)

        return grad

    def _zero(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> Any:
            with self._within("zero") as outermost:
                if outermost:
                    self.log.cleared(owner)
                return original(owner, *args, **kwargs)

        return zero_grad

    def _clip(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def clip(parameters: Any, most: Any, *args: Any, **kwargs: Any) -> Any:
            given = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
            with self._within("clip") as outermost:
                if outermost:
                    self.log.clipped(given, float(most))
                return original(given, most, *args, **kwargs)

        def by_name(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            for name in ("max_norm", "clip_value"):
                if name in kwargs:
                    return clip(parameters, kwargs.pop(name), **kwargs)
            return clip(parameters, *args, **kwargs)

        return by_name

    def _scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def scale(scaler: Any, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            if scaler.is_enabled():
                self.log.scaled(scaled, scaler.get_scale())
            return scaled

        return scale

    def _unscale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def unscale(scaler: Any, optimizer: Any) -> Any:
            result = original(scaler, optimizer)
            if scaler.is_enabled():
                self.log.unscaled(optimizer)
            return result

        return unscale

    # -- optimizers and schedulers ---------------------------------------------------------------

    def _made(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def init(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            if not self._ours:
                self.log.made(optimizer)

        return init

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        with self._within("step") as outermost:
            self._depth["step"] += 1  # until it is over
            if outermost:
                bound = any(callable(a) for a in (*args[1:], *kwargs.values()))
                self.log.begin_step(optimizer, bound=bound)
                self.holding.begin_step(optimizer)

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._depth["step"] -= 1
        if self._depth["step"] == 0 and not self._ours:
            self._ours = True
            self.holding.end_step(optimizer)
            self._ours = False
            self.log.end_step(optimizer)

    def _schedule(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            with self._within("schedule") as outermost:
                if outermost:
                    self.log.scheduled(scheduler, bound=bool(args or kwargs))
                return original(scheduler, *args, **kwargs)

        return step


def _uncompiled(model: Any = None, **_options: Any) -> Any:
    """Stands for `torch.compile`: the same mathematics without a compiler's start-up."""
    return model if model is not None else lambda function: function
