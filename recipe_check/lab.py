"""The lab: seeded, isolated access to the subject for checks, with everything costly cached."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from recipe_check import tree
from recipe_check.advice import advice_for
from recipe_check.errors import LoadError, UserCodeError
from recipe_check.meter import Meter
from recipe_check.reading import first_rows, read_parts, rows_of
from recipe_check.results import Cost
from recipe_check.rig import Rig
from recipe_check.subject import Subject

if TYPE_CHECKING:
    from recipe_check.probes.loops import Training
    from recipe_check.probes.trace import Trace
    from recipe_check.rank_store import Ranks

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA when there is one, else the CPU; raises UserCodeError for a missing one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_everything(seed: int) -> None:
    """Seeds torch (all devices), NumPy and random."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed queues calls for absent devices
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def random_states() -> tuple[Any, ...]:
    """Every generator's state: torch, NumPy, random, and all CUDA devices."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), np.random.get_state(), random.getstate(), cuda


def set_random_states(states: tuple[Any, ...]) -> None:
    """Puts back what `random_states` returned."""
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
    if states[3]:
        torch.cuda.set_rng_state_all(states[3])


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Puts every generator's state back on leaving."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)


class Lab:
    """What a check may use: batches, rigs (isolated copies), the shared trace, a cache.
    `seed` makes every rig, batch order and probe reproducible on one machine.
    """

    def __init__(self, subject: Subject, device: str = "auto", seed: int = 0) -> None:
        self.subject = subject
        self.device = pick_device(device)
        self.seed = seed
        self.meter = Meter()
        self.ranks: Ranks | None = None  # the processes of one training, where torchrun started it
        self.start: int | None = None  # a new initialisation to start from, None: the user's own
        self.rows: int | None = None  # samples of each batch that are used, None: all
        self._cache: dict[Any, Any] = {}

    def sibling(self, number: int) -> Lab:
        """The same subject with the number-th next seed: other batches, noise and, where a
        factory made the model, other initial weights. Kept; passes count on the same meter."""

        def make() -> Lab:
            other = Lab(self.subject, str(self.device), self.seed + number)
            other.meter, other.rows = self.meter, self.rows
            other.start = number if self.can_reinitialise else None
            if self._reads_once:
                other._batches = self._batches
            return other

        return self.cached(("sibling", number), make)

    def smaller(self) -> Lab | None:
        """A lab with half of the samples of each batch, None where one is left. Kept; passes count
        on the same meter."""
        half = (self.rows or rows_of(self.train_batches[0])) // 2

        def make() -> Lab:
            other = Lab(self.subject, str(self.device), self.seed)
            other.meter, other.start, other.rows = self.meter, self.start, half
            other._batches = (other._cut(self.train_batches), other._cut(self.held_batches))
            return other

        return self.cached("smaller", make) if half else None

    def on(self, device: str) -> Lab:
        """A lab for the same subject on another device, with the batches that were read."""
        other = Lab(self.subject, device, self.seed)
        other._batches = self._batches
        return other

    def around(self, subject: Subject) -> Lab:
        """A lab for another form of the same subject, with the batches that were read."""
        other = Lab(subject, str(self.device), self.seed)
        other._batches, other.rows = self._batches, self.rows
        return other

    @property
    def _reads_once(self) -> bool:
        """Whether a loader is an iterator: what was read from it cannot be read again."""
        return any(isinstance(o, Iterator) for o in (self.subject.loader, self.subject.val_loader))

    @contextmanager
    def seeded(self, offset: int = 0) -> Iterator[None]:
        """The block runs with all generators seeded from (seed, offset), then put back."""
        with preserved_rng():
            seed_everything(self.seed + 1000 * offset)
            yield

    def rig(self, *, fresh: int | None = None) -> Rig:
        """An isolated copy in its initial state; with `fresh=n`, the n-th new initialisation
        (only where `can_reinitialise`, else the same initial state again)."""
        fresh = self.start if fresh is None else fresh + (self.start or 0)
        with self.seeded(fresh or 0):
            parts = self.subject.copy() if fresh is None else self.subject.fresh()
        return Rig(self.subject, parts, self.device, self.meter)

    @property
    def can_reinitialise(self) -> bool:
        """Whether new initial weights can be drawn: a factory or class made the model."""
        return self.subject.build_model is not None

    @property
    def train_batches(self) -> list[Any]:
        """Batches to fit on, as the loader yields them, on the CPU. Read once."""
        return self._batches[0]

    @property
    def held_batches(self) -> list[Any]:
        """Batches never fitted on: from the validation loader, else the last of those read;
        empty when the loader has a single batch."""
        return self._batches[1]

    @property
    def trace(self) -> Trace:
        """The shared probe pass; see `recipe_check.probes.trace`."""
        from recipe_check.probes.trace import take_trace

        def take() -> Trace:
            with self.seeded():
                return take_trace(self)

        return self.cached("trace", take)

    @property
    def training_loops(self) -> list[Training]:
        """The user's own training loops, read from the source; nothing of them is run."""
        from recipe_check.probes.loops import read_training, user_files

        return self.cached("loops", lambda: read_training(user_files(self.subject.file)))

    @cached_property
    def broken(self) -> LoadError | None:
        """Why not even one training step runs on the first batch; None where it does.

        Also finds out whether the step takes gradients itself (gradient penalties, forces), so
        that it cannot run without a graph, and whether it writes into its batch. Cost: 2 F, 1 B.
        """
        if not self.subject.in_parts:
            return None
        try:
            with self.seeded():
                rig = self.rig().train()
                batch = rig.put(self.train_batches[0])
                loss = rig.step(batch).loss
                if loss.requires_grad:  # else a check says so, with the line that cut it off
                    rig.backward(loss)
                self.meter.writes = not tree.equal(batch, rig.put(self.train_batches[0]))
                self.meter.needs_graph = self._takes_gradients(rig)
        except UserCodeError as error:
            where = f" ({error.file}, line {error.line})" if error.file else ""
            return LoadError(
                f"one training step on the first batch raises: {error}{where}",
                advice_for(str(error)),
                error.trace,
            )
        return None

    def _takes_gradients(self, rig: Rig) -> bool:
        try:
            with torch.no_grad():
                rig.step(rig.put(self.train_batches[0]))
        except UserCodeError:
            return True
        return False

    def cached(self, key: Any, make: Callable[[], T]) -> T:
        """The value made once for this key; an exception is not cached."""
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value

    def spent(self) -> Cost:
        """Passes and steps so far, over all rigs."""
        return self.meter.cost()

    @cached_property
    def _batches(self) -> tuple[list[Any], list[Any]]:
        with self.seeded():
            train, held = read_parts(self.subject.loader, self.subject.val_loader)
        return self._cut(train), self._cut(held)

    def _cut(self, batches: list[Any]) -> list[Any]:
        return batches if self.rows is None else [first_rows(b, self.rows) for b in batches]
