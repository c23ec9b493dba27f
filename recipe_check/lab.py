"""The lab: seeded, isolated access to the subject for checks, with everything costly cached."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from recipe_check import tree
from recipe_check.advice import advice_for
from recipe_check.errors import LoadError, UserCodeError
from recipe_check.guard import guarded
from recipe_check.results import Cost
from recipe_check.rig import Meter, Rig
from recipe_check.subject import Subject

if TYPE_CHECKING:
    from recipe_check.probes.loops import Training
    from recipe_check.probes.trace import Trace
    from recipe_check.rank_store import Ranks

T = TypeVar("T")

TRAIN_BATCHES = 40  # enough for every short fit without reading a large data set
TRAIN_SAMPLES = 256  # small batches are read until there are as many samples
HELD_BATCHES = 8
HELD_SAMPLES = 64
MOST_BATCHES = 400  # of any size
READ_SECONDS = 20.0  # a slow loader is read only this long
READ_BYTES = 512 * 2**20


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
        self._cache: dict[Any, Any] = {}

    def sibling(self, number: int) -> Lab:
        """The same subject with the number-th next seed: other batches, noise and, where a
        factory made the model, other initial weights. Kept; passes count on the same meter."""

        def make() -> Lab:
            other = Lab(self.subject, str(self.device), self.seed + number)
            other.meter = self.meter
            other.start = number if self.can_reinitialise else None
            if self._reads_once:
                other._batches = self._batches
            return other

        return self.cached(("sibling", number), make)

    def around(self, subject: Subject) -> Lab:
        """A lab for another form of the same subject, with the batches that were read."""
        other = Lab(subject, str(self.device), self.seed)
        other._batches = self._batches
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
            read = read_batches(self.subject.loader, TRAIN_BATCHES, TRAIN_SAMPLES)
            if not read:
                raise UserCodeError("the data loader yields no batch")
            if len(read) > 1 and _rows(read[-1]) == 1 < _rows(read[0]):
                read.pop()  # a leftover of one sample: batch-contract looks at it
            if self.subject.val_loader is not None:
                held = read_batches(self.subject.val_loader, HELD_BATCHES, HELD_SAMPLES)
                if held:
                    return read, held
        cut = max(len(read) // 5, 1) if len(read) > 1 else 0
        return read[: len(read) - cut], read[len(read) - cut :]


def _rows(batch: Any) -> int:
    """Size of the first tensor that has one."""
    return next((len(leaf) for leaf in tree.leaves(batch) if leaf.ndim), 1)


def read_batches(loader: Any, most: int, samples: int = 0) -> list[Any]:
    """`most` batches, more of them until there are `samples` rows; fewer when the loader is
    slow or they are large."""
    found: list[Any] = []
    start, size, rows = time.monotonic(), 0, 0
    with guarded("the data loader"):
        for batch in loader:
            found.append(batch)
            size += sum(leaf.numel() * leaf.element_size() for leaf in tree.leaves(batch))
            rows += _rows(batch)
            enough = (len(found) >= most and rows >= samples) or len(found) >= MOST_BATCHES
            if enough or time.monotonic() - start > READ_SECONDS or size > READ_BYTES:
                break
    return found
