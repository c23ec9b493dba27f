"""What a script computed between its batch and its `backward()`, kept so that it can run again."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from recipe_check import tree
from recipe_check.loading.script_place import Place
from recipe_check.loading.script_values import Ref, exchanged, parts, rebuilt, references

_MOVES = (torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu)
_IN_PLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "div", "truediv", "pow", "and", "or")}


@dataclass(frozen=True, eq=False)
class Call:
    """One call that the script made; in its arguments a Ref stands for each value known."""

    func: Callable[..., Any]
    args: Any
    kwargs: Any
    out: Any
    place: Place | None

    def references(self) -> list[Ref | torch.Tensor]:
        return references((self.args, self.kwargs))


@dataclass(eq=False)
class Tape:
    """The calls that followed the arrival of a batch, outermost modules counting as one call.

    `roots` are the tensors whose `backward()` was called, as far as their making was seen.
    """

    calls: dict[int, Call] = field(default_factory=dict)
    batches: list[tuple[Any, Any]] = field(default_factory=list)  # loader and what it gave
    roots: list[Ref] = field(default_factory=list)
    autocast: bool = False
    used: bool = False  # a model was called
    restore_random: Callable[[], None] = field(default_factory=lambda: random_state())
    _known: dict[int, Ref] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # so that no id is used twice

    def holds(self, loader: Any) -> bool:
        """Whether a batch of this loader is known."""
        return any(known is loader for known, _ in self.batches)

    def feed(self, loader: Any, batch: Any) -> None:
        """A loader's batch; its containers are copied, since scripts take things out of them."""
        self._kept.append(batch)
        self.batches.append((loader, tree.map_leaves(batch, lambda leaf: leaf)))
        self._remember(batch, -len(self.batches))

    def add(self, func: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """A call, if it made a tensor; moving one to a device makes no other."""
        if func in _MOVES and out.dtype == args[0].dtype:
            self.alias(out, args[0])
            return
        made = args[0] if out is None and args and writes(func) else out
        encoded = self._encode(args), self._encode(dict(kwargs or {}))
        if self._remember(made, len(self.calls)):
            self.calls[len(self.calls)] = Call(func, *encoded, made, Place.here())

    def alias(self, other: Any, value: Any) -> None:
        """`other` counts as `value`: the scaled loss as the loss."""
        if id(value) in self._known:
            self._kept.append(other)
            self._known[id(other)] = self._known[id(value)]

    def end(self, root: Any) -> None:
        """A tensor whose `backward()` is called."""
        if id(root) in self._known:
            self.roots.append(self._known[id(root)])

    def value(self, ref: Ref) -> Any:
        """What the reference meant when the script ran."""
        if ref.source < 0:
            return ref.of(self.batches[-ref.source - 1][1])
        return ref.of(self.calls[ref.source].out)

    def _remember(self, value: Any, source: int) -> bool:
        found = {id(part): Ref(source, path) for path, part in parts(value)}
        self._known |= found
        return bool(found)

    def _encode(self, value: Any) -> Any:
        if id(value) in self._known:
            return self._known[id(value)]
        return rebuilt(value, self._encode)


def writes(func: Callable[..., Any]) -> bool:
    """Whether it changes its first argument: `add_`, `+=`, an assignment to an item."""
    name = str(getattr(func, "__name__", ""))
    if name.startswith("__"):
        return name == "__setitem__" or name in _IN_PLACE
    return name.endswith("_")


def needed(
    calls: Mapping[int, Call], roots: Iterable[Ref], given: Container[int] = ()
) -> dict[int, Call]:
    """The calls that the roots depend on, by number, in order; not those of `given`."""
    wanted: set[int] = set()
    waiting = [ref.source for ref in roots]
    while waiting:
        number = waiting.pop()
        if number >= 0 and number not in wanted and number not in given:
            wanted.add(number)
            waiting += [ref.source for ref in calls[number].references() if isinstance(ref, Ref)]
    return {number: calls[number] for number in sorted(wanted)}


def changed(calls: Mapping[int, Call], change: Callable[[Any], Any]) -> dict[int, Call]:
    """The calls with every reference and tensor in their arguments changed, without results."""
    return {
        number: replace(
            call,
            args=exchanged(call.args, change),
            kwargs=exchanged(call.kwargs, change),
            out=None,
        )
        for number, call in calls.items()
    }


def random_state() -> Callable[[], None]:
    """Remembers the state of all generators; the function returned puts it back."""
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpu = torch.cuda.get_rng_state_all() if used else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def restore() -> None:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if gpu:
            torch.cuda.set_rng_state_all(gpu)

    return restore
