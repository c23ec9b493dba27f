"""Running recorded calls again: on other batches, copies of the model, another device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from recipe_check import tree
from recipe_check.loading.script_place import Place
from recipe_check.loading.script_tape import Call, writes
from recipe_check.loading.script_values import Ref, rebuilt

TARGET = -(1 << 30)  # the number of the target among the batches
SIZES = ("equal", "multiple", "fixed")  # which written numbers follow the batch, see `resized`


@dataclass(frozen=True, eq=False)
class Weights:
    """Where modules and parameters stand in the model, to find them in a copy."""

    modules: Mapping[int, str]
    parameters: Mapping[int, str]

    @classmethod
    def of(cls, model: nn.Module) -> Weights:
        return cls(
            {id(module): name for name, module in model.named_modules()},
            {id(parameter): name for name, parameter in model.named_parameters()},
        )


@dataclass(frozen=True, eq=False)
class Replay:
    """The calls between values that are given and the roots, which are summed up.

    `shape` is that of the tensor whose sizes tell what the batch size was.
    """

    calls: Mapping[int, Call]
    roots: tuple[Ref, ...]
    shape: tuple[int, ...]
    weights: Weights
    sizes: str = SIZES[0]

    def run(self, given: Mapping[int, Any], model: nn.Module | None, now: torch.Tensor) -> Any:
        """All results by number, those of `given` included; `now` is that tensor."""
        change = _Change(self, model, now.device, self._moved(now))
        results = dict(given)
        for number, call in self.calls.items():
            if number in results:
                continue
            args, kwargs = (change.decode(value, results) for value in (call.args, call.kwargs))
            if writes(call.func):  # what else refers to it must not change
                args = (args[0].clone(), *args[1:])
            made = _called(call.place, change.function(call.func), args, kwargs)
            results[number] = args[0] if made is None else made
        return results

    def total(self, results: Mapping[int, Any]) -> Any:
        """The sum of the roots."""
        values = [ref.of(results[ref.source]) for ref in self.roots]
        return sum(values[1:], values[0])

    def _moved(self, now: torch.Tensor) -> dict[int, int]:
        """Sizes of the first two axes that are not what they were."""
        pairs = zip(self.shape[:2], now.shape[:2], strict=False)
        return {old: new for old, new in pairs if old != new and old > 1}


@dataclass(frozen=True, eq=False)
class _Change:
    """How the values of one run differ from the recorded ones."""

    replay: Replay
    model: nn.Module | None
    device: torch.device
    moved: Mapping[int, int]

    def decode(self, value: Any, results: Mapping[int, Any]) -> Any:
        if isinstance(value, Ref):
            return value.of(results[value.source])
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, torch.device) or value in ("cpu", "cuda", "mps"):
            return self.device
        if type(value) is int:
            return resized(value, self.moved, self.replay.sizes)
        return rebuilt(value, lambda item: self.decode(item, results))

    def _tensor(self, value: torch.Tensor) -> torch.Tensor:
        name = self.replay.weights.parameters.get(id(value))
        if name is not None and self.model is not None:
            return self.model.get_parameter(name)
        return value.to(self.device)

    def function(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The copy's own module, another module on the right device, or the function itself."""
        if isinstance(func, nn.Module):
            name = self.replay.weights.modules.get(id(func))
            if name is not None and self.model is not None:
                return self.model.get_submodule(name)
            return func.to(self.device)
        return func


def _called(place: Place | None, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return place.call(func, args, kwargs) if place else func(*args, **kwargs)


def resized(number: int, moved: Mapping[int, int], sizes: str) -> int:
    """A number that was the batch size (or a multiple of it) for a batch of another size."""
    for old, new in moved.items():
        if number == old and sizes != "fixed":
            return new
        if sizes == "multiple" and number > old and number % old == 0:
            return number // old * new
    return number


class ReplayedLoss:
    """A loss function (output, target) made of the calls that followed the model's, whose
    references to the batch have become references to the target."""

    def __init__(self, replay: Replay, model_call: int) -> None:
        self._replay = replay
        self._model_call = model_call
        last = replay.calls[replay.roots[0].source].func
        self.__name__ = str(getattr(last, "__name__", type(last).__name__))

    def __call__(self, output: Any, target: Any) -> Any:
        given = {self._model_call: output, TARGET: target}
        results = self._replay.run(given, None, next(iter(tree.leaves(output))))
        return self._replay.total(results)


class ReplayedStep:
    """A training step (model, batch) made of all calls from the batch to `backward()`."""

    def __init__(self, replay: Replay, batch: int, output: int) -> None:
        self._replay = replay
        self._batch = batch
        self._output = output
        self.__name__ = "what the script does"

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        results = self._replay.run({self._batch: batch}, model, next(iter(tree.leaves(batch))))
        return {"loss": self._replay.total(results), "output": results[self._output]}
