"""What a script computed between its batch and its `backward()`, kept so that it can run again."""

from __future__ import annotations

import dataclasses
import operator
import random
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from recipe_check import tree
from recipe_check.loading.script_place import Place

Getter = Callable[[Any], Any]
_MOVES = (torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu)
_IN_PLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "div", "truediv", "pow", "and", "or")}


@dataclass(frozen=True)
class Ref:
    """Where a value came from: the result of a call, or a batch (negative), and the way to it."""

    source: int
    path: tuple[Getter, ...] = ()


@dataclass(frozen=True, eq=False)
class Call:
    """One call that the script made; in its arguments a Ref stands for each value known."""

    func: Callable[..., Any]
    args: Any
    kwargs: Any
    out: Any
    place: Place | None


@dataclass(frozen=True, eq=False)
class Root:
    """A tensor whose `backward()` was called; `ref` is None where its making was not seen."""

    ref: Ref | None
    place: Place | None


@dataclass(eq=False)
class Tape:
    """The calls that followed the arrival of a batch, outermost modules counting as one call."""

    calls: dict[int, Call] = field(default_factory=dict)
    batches: list[tuple[Any, Any]] = field(default_factory=list)  # loader and what it gave
    roots: list[Root] = field(default_factory=list)
    known: dict[int, Ref] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)  # so that no id is used twice
    autocast: bool = False
    used: bool = False  # a model was called
    restore_random: Callable[[], None] = field(default_factory=lambda: random_state())

    def holds(self, loader: Any) -> bool:
        """Whether a batch of this loader is known."""
        return any(known is loader for known, _ in self.batches)

    def feed(self, loader: Any, batch: Any) -> None:
        """A loader's batch; its containers are copied, since scripts take things out of them."""
        self.kept.append(batch)
        self.batches.append((loader, tree.map_leaves(batch, lambda leaf: leaf)))
        self._remember(batch, -len(self.batches))

    def add(self, func: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """A call, if it made a tensor; moving one to a device makes no other."""
        if func in _MOVES and out.dtype == args[0].dtype:
            return self.alias(out, args[0])
        encoded = self._encode(args), self._encode(dict(kwargs or {}))
        if changes_first(func) and out is None:
            out = args[0]
        if self._remember(out, len(self.calls)):
            self.calls[len(self.calls)] = Call(func, *encoded, out, Place.here())
        return None

    def value(self, ref: Ref) -> Any:
        """What the reference meant when the script ran."""
        found = self.calls[ref.source].out if ref.source >= 0 else self.batches[-ref.source - 1][1]
        return follow(found, ref)

    def alias(self, other: Any, value: Any) -> None:
        """`other` counts as `value`: the scaled loss as the loss."""
        if id(value) in self.known:
            self.kept.append(other)
            self.known[id(other)] = self.known[id(value)]

    def _remember(self, value: Any, source: int) -> bool:
        found = {id(part): Ref(source, path) for path, part in parts(value)}
        self.known |= found
        return bool(found)

    def _encode(self, value: Any) -> Any:
        if id(value) in self.known:
            return self.known[id(value)]
        return rebuilt(value, self._encode)


def changes_first(func: Callable[..., Any]) -> bool:
    """Whether it writes into its first argument: `add_`, `+=`, an assignment to an item."""
    name = str(getattr(func, "__name__", ""))
    if name.startswith("__"):
        return name == "__setitem__" or name in _IN_PLACE
    return name.endswith("_")


def parts(value: Any, path: tuple[Getter, ...] = ()) -> Iterator[tuple[tuple[Getter, ...], Any]]:
    """The tensors in any nesting of containers, and the containers that hold some."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    inside = [found for get, child in _children(value) for found in parts(child, (*path, get))]
    if inside:
        yield path, value
        yield from inside


def _children(value: Any) -> Iterable[tuple[Getter, Any]]:
    if isinstance(value, list | tuple):
        return [(operator.itemgetter(i), child) for i, child in enumerate(value)]
    if isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "__getitem__")):
        keys = value.keys() if callable(value.keys) else value.keys  # graph batches had both
        return [(operator.itemgetter(key), value[key]) for key in keys]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return [(operator.attrgetter(name), getattr(value, name)) for name in names]
    return ()


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """Plain containers with their items changed; anything else as it is."""
    if type(value) in (list, tuple):
        return type(value)(change(item) for item in value)
    if type(value) is dict:
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(change(value.start), change(value.stop), change(value.step))
    return value


def follow(value: Any, ref: Ref) -> Any:
    """The part of a batch or a result that the reference means."""
    for get in ref.path:
        value = get(value)
    return value


def refs(value: Any) -> Iterator[Ref | torch.Tensor]:
    """The references and the tensors from elsewhere in encoded arguments."""
    if isinstance(value, Ref | torch.Tensor):
        yield value
    else:
        found: list[Any] = []
        rebuilt(value, lambda item: found.extend(refs(item)))
        yield from found


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
            call = calls[number]
            waiting += [r.source for r in refs((call.args, call.kwargs)) if isinstance(r, Ref)]
    return {number: calls[number] for number in sorted(wanted)}


def random_state() -> Callable[[], None]:
    """Remembers the state of all generators; the function returned puts it back."""
    gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def restore() -> None:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if gpu:
            torch.cuda.set_rng_state_all(gpu)

    return restore
