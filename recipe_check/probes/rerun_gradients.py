"""The parameters of a running script, which optimizer holds them, and what is in their gradients.

Gradients are told apart by their norms: exact equality means that nothing was added or cleared.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from recipe_check.probes.rerun import Held, Norms
from recipe_check.values import Location


def norm(value: torch.Tensor | None) -> float | None:
    """The Euclidean norm, None where there is no tensor."""
    if value is None:
        return None
    value = value.detach()
    return float((value.to_dense() if value.is_sparse else value).float().norm())


class Parameters:
    """Every trainable tensor that was seen, by identity, and the optimizers that hold it."""

    def __init__(self) -> None:
        self.known: dict[int, torch.Tensor] = {}
        self.optimizers: list[Optimizer] = []
        self.places: list[Location | None] = []
        self._names: dict[int, str] = {}
        self._first: dict[int, float] = {}  # a print of the values when first seen
        self._norms: dict[int, list[float | None]] = {}

    def add_optimizer(self, optimizer: Optimizer, place: Location | None) -> None:
        """One that was made at `place`."""
        self.optimizers.append(optimizer)
        self.places.append(place)

    def add(self, tensors: Iterable[torch.Tensor]) -> None:
        """Tensors that may get a gradient."""
        for tensor in tensors:
            if tensor.is_leaf and id(tensor) not in self.known:
                self.known[id(tensor)] = tensor
                self._first[id(tensor)] = _print(tensor)

    def name(self, module: nn.Module) -> None:
        """Names of a model's parameters, and the parameters themselves."""
        named = dict(module.named_parameters())
        for name, parameter in named.items():
            self._names.setdefault(id(parameter), name)
        self.add(p for p in named.values() if p.requires_grad)

    def refresh(self) -> None:
        """Optimizers may have been given other parameters since."""
        for optimizer in self.optimizers:
            self.add(self.held_by(optimizer))

    @staticmethod
    def held_by(optimizer: Optimizer) -> list[torch.Tensor]:
        return [p for group in optimizer.param_groups for p in group["params"]]

    def holders(self, tensors: Iterable[Any]) -> tuple[int, ...]:
        """Numbers of the optimizers that hold one of the tensors."""
        wanted = {id(tensor) for tensor in tensors}
        return tuple(
            number
            for number, optimizer in enumerate(self.optimizers)
            if any(id(p) in wanted for p in self.held_by(optimizer))
        )

    def norms(self) -> dict[int, float | None]:
        """Of the gradient of each known tensor."""
        return {key: norm(tensor.grad) for key, tensor in self.known.items()}

    def prints(self) -> dict[int, float]:
        """One number for the values of each known tensor."""
        return {key: _print(tensor) for key, tensor in self.known.items()}

    def keep_norms(self, now: dict[int, float | None]) -> None:
        """The gradients before a step, for the report."""
        for key, value in now.items():
            self._norms.setdefault(key, []).append(value)

    def seen_norms(self) -> tuple[Norms, ...]:
        """Of the tensors that an optimizer holds; of all where there is no optimizer."""
        held = {id(p) for optimizer in self.optimizers for p in self.held_by(optimizer)}
        rows = [(key, found) for key, found in self._norms.items() if key in held or not held]
        return tuple(
            Norms(
                name=self._names.get(key, f"tensor {number}"),
                shape=tuple(self.known[key].shape),
                weight=norm(self.known[key]) or 0.0,
                norms=tuple(found),
            )
            for number, (key, found) in enumerate(rows)
        )

    def summary(self) -> tuple[Held, ...]:
        """What each optimizer holds, and how much of it has changed since it was first seen."""
        return tuple(
            Held(
                kind=type(optimizer).__name__,
                place=place,
                tensors=len(self.held_by(optimizer)),
                moved=sum(self._has_moved(p) for p in self.held_by(optimizer)),
            )
            for optimizer, place in zip(self.optimizers, self.places, strict=True)
        )

    def _has_moved(self, tensor: torch.Tensor) -> bool:
        return _print(tensor) != self._first.get(id(tensor))


def _print(tensor: torch.Tensor) -> float:
    """A number that changes when values do."""
    value = tensor.detach()
    if value.is_complex():
        value = torch.view_as_real(value)
    return float(value.double().sum()) + float(value.double().square().sum())


class ReplacedSteps:
    """Adam at one rate in the place of whatever step the script's optimizers take."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._before: list[torch.Tensor] = []
        self._own: Any = weakref.WeakKeyDictionary()

    def begin(self, optimizer: Optimizer) -> None:
        """Before the script's step: the weights are kept."""
        self._before = [p.detach().clone() for p in Parameters.held_by(optimizer)]

    def end(self, optimizer: Optimizer) -> None:
        """After it: they are put back, and stepped by Adam."""
        held = Parameters.held_by(optimizer)
        _put_back(held, self._before)
        if optimizer not in self._own:
            self._own[optimizer] = torch.optim.Adam(held, lr=self.rate)
        self._own[optimizer].step()


@torch.no_grad()
def _put_back(tensors: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
