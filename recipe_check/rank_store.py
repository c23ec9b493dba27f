"""What the ranks tell each other: plain values in the store that torchrun keeps for them.

A store and no collective, so that a rank that is late, hangs or has died can be named: whoever
waits polls, and gives up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import torch.distributed as dist

from recipe_check.errors import NotApplicable
from recipe_check.lab import preserved_rng, random_states, set_random_states
from recipe_check.ranks import RankLost, World

T = TypeVar("T")

POLL = 0.02  # seconds between two looks into the store
JOIN = 60.0  # seconds for all ranks to be started


class Ranks:
    """This rank among the others. `patience` is how many seconds it waits for an answer."""

    def __init__(self, world: World, patience: float) -> None:
        self.rank, self.size, self.patience = world.rank, world.size, patience
        self.store = _connected(world)
        self.job = 0
        self._steps = 0
        self._left: Any = None

    # -- what the checks use -----------------------------------------------------------------

    def gather(self, value: T, seconds: float | None = None) -> list[T]:
        """What every rank gives at this point, in their order. All ranks must come here.

        `value` is plain (numbers, texts, tuples, dataclasses of these). Raises RankLost with the
        rank that has not answered in time (`patience`, or `seconds`), or has ended.
        """
        self._steps += 1
        key = f"answer/{self.job}/{self._steps}"
        self.store.set(f"{key}/{self.rank}", msgspec.msgpack.encode(value))
        read, limit = msgspec.msgpack.Decoder(type(value)).decode, seconds or self.patience
        return [read(self._from(rank, key, limit)) for rank in range(self.size)]

    def at(self, place: str) -> None:
        """Says what this rank is about to do, in case that it does not come back."""
        self.store.set(f"at/{self.rank}", place)

    @contextmanager
    def as_left(self) -> Iterator[None]:
        """The random states in the block are those in which the target left this rank: alike on
        all of them where it seeds them alike, else not. Put back after it."""
        with preserved_rng():
            set_random_states(self._left)
            yield

    # -- what the worker uses ----------------------------------------------------------------

    def keep_random_states(self) -> None:
        """Remembers them for `as_left`."""
        self._left = random_states()

    def lead(self, name: str, value: Any) -> None:
        """Rank 0 begins a job: all others are to do the same."""
        self.begin(self.job + 1)
        self.store.set(f"job/{self.job}", msgspec.msgpack.encode((name, value)))

    def begin(self, job: int) -> None:
        """Numbers what is gathered from here on."""
        self.job, self._steps = job, 0

    def next_job(self) -> tuple[str, Any]:
        """What rank 0 wants done next; waits for it without end."""
        self.begin(self.job + 1)
        while not self.store.check([f"job/{self.job}"]):
            time.sleep(POLL)
        name, value = msgspec.msgpack.decode(self.store.get(f"job/{self.job}"))
        return name, value

    def skip(self, reason: str) -> None:
        """Says why the check does not apply on this rank."""
        self.store.set(f"skipped/{self.job}/{self.rank}", reason)

    def fail(self, text: str) -> None:
        """Says why this rank takes no further part; the first reason counts."""
        if not self.store.check([f"trouble/{self.rank}"]):
            self.store.set(f"trouble/{self.rank}", text)

    def trouble(self, seconds: float = 0.0) -> str:
        """Why some rank has ended ('' where none has), waiting that long for a reason."""
        stop = time.monotonic() + seconds
        while True:
            for rank in range(self.size):
                if self.store.check([f"trouble/{rank}"]):
                    return f"rank {rank}: {self.store.get(f'trouble/{rank}').decode()}"
            if time.monotonic() >= stop:
                return ""
            time.sleep(POLL)

    def places(self) -> str:
        """What each rank was about to do when it last said so."""
        known = [r for r in range(self.size) if self.store.check([f"at/{r}"])]
        return ", ".join(f"rank {r} was {self.store.get(f'at/{r}').decode()}" for r in known)

    def end(self, code: int, seconds: float) -> None:
        """Tells all others to leave with this exit code; returns when they do."""
        self.store.set("end", str(code))
        others = [f"left/{rank}" for rank in range(1, self.size)]
        stop = time.monotonic() + seconds
        while time.monotonic() < stop and not self.store.check(others):
            time.sleep(POLL)

    def await_end(self) -> int:
        """The exit code of rank 0, once it is known."""
        while not self.store.check(["end"]):
            time.sleep(5 * POLL)
        code = int(self.store.get("end"))
        self.store.set(f"left/{self.rank}", "")
        return code

    def _from(self, rank: int, key: str, seconds: float) -> bytes:
        stop = time.monotonic() + seconds
        while not self.store.check([f"{key}/{rank}"]):
            skipped = f"skipped/{self.job}/{rank}"
            if self.store.check([skipped]):
                raise NotApplicable(self.store.get(skipped).decode())
            trouble = self.trouble()
            if trouble:
                raise RankLost(trouble)
            if time.monotonic() > stop:
                text = f"rank {rank} gave no answer within {seconds:.3g} s"
                raise RankLost(f"{text}; {self.places()}" if self.places() else text)
            time.sleep(POLL)
        answer: bytes = self.store.get(f"{key}/{rank}")
        return answer


def _connected(world: World) -> Any:
    """The store of torchrun; without one (ranks started by hand) rank 0 keeps it."""
    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    stores: Any = dist
    store = stores.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not kept and world.rank == 0,
        timeout=timedelta(seconds=JOIN),
        wait_for_workers=False,
    )
    return stores.PrefixStore(f"recipe-check/{attempt}", store)
