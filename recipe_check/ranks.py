"""Whether this process is one of several that torchrun started. Nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from recipe_check.errors import RecipeCheckError

NEED = "ranks"  # in `Meta.needs`: the check compares the processes of one training

_at_the_end: list[Callable[[int], None]] = []


class RankLost(RecipeCheckError):
    """Another rank has ended or does not answer: no verdict on what all of them have to say."""


@dataclass(frozen=True)
class World:
    """This process among those of one training; both counts are at least 2 and rank < size."""

    rank: int
    size: int

    @property
    def follows(self) -> bool:
        """Whether another rank leads: only rank 0 plans, prints and writes."""
        return self.rank > 0


def world() -> World | None:
    """Read from the variables that torchrun sets; None for a process of its own."""
    try:
        size, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    except (KeyError, ValueError):
        return None
    reachable = "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ
    return World(rank, size) if reachable and 0 <= rank < size and size > 1 else None


def follows() -> bool:
    """Whether this process is a rank that prints nothing."""
    here = world()
    return here is not None and here.follows


def at_the_end(act: Callable[[int], None]) -> None:
    """`act` is told the exit code when everything is printed and written."""
    _at_the_end.append(act)


def leave(code: int) -> None:
    """Tells whoever asked; the other ranks then leave with the same code."""
    while _at_the_end:
        _at_the_end.pop()(code)
