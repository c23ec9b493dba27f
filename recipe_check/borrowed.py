"""Working with what belongs to the user in their own process, and leaving no trace in it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from recipe_check.lab import preserved_rng


def borrowed(loader: Iterable[Any]) -> Iterable[Any]:
    """The same batches from a stand-in: a model that writes into its input, or workers that stay
    alive, must not reach the user's own."""
    if isinstance(loader, DataLoader):
        twin: DataLoader[Any] = copy.copy(loader)
        twin._iterator = None  # the running workers of the original are not ours to reset
        return twin
    return _Copies(loader)


class _Copies:
    """Yields deep copies of batches; every other attribute is the loader's."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return (copy.deepcopy(batch) for batch in self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def generators_of(loader: Any) -> list[torch.Generator]:
    """The random generators that a loader and its samplers hold."""
    owners = (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    held = [getattr(owner, "generator", None) for owner in owners]
    return list({id(g): g for g in held if isinstance(g, torch.Generator)}.values())


@contextmanager
def untouched(*loaders: Any) -> Iterator[None]:
    """Puts all random state back on leaving, that of the loaders' generators too: reading
    batches draws from them. Gradients are on and warnings off, as in the worker of a command."""
    states = [(g, g.get_state()) for loader in loaders for g in generators_of(loader)]
    with warnings.catch_warnings(), torch.enable_grad(), preserved_rng():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for generator, state in states:
                generator.set_state(state)
