"""Several training loaders as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def as_one(loaders: Any) -> Any:
    """Several training loaders are read side by side, as `fit` does."""
    several = isinstance(loaders, Mapping | list | tuple) and not hasattr(loaders, "dataset")
    return SideBySide(loaders) if several else loaders


class SideBySide:
    """Batches of several loaders in the container that held them, until the longest ends;
    shorter ones start again."""

    def __init__(self, loaders: Any) -> None:
        self.loaders = loaders
        self.parts = list(loaders.values() if isinstance(loaders, Mapping) else loaders)

    def __len__(self) -> int:
        return max(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[Any]:
        endless = [_again(part) for part in self.parts]
        for _ in range(len(self)):
            batches = [next(stream) for stream in endless]
            named = isinstance(self.loaders, Mapping)
            yield dict(zip(self.loaders, batches, strict=True)) if named else batches


def _again(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
