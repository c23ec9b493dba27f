"""Several workers, each with the target on a device of its own, that share the checks."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from recipe_check.engine import SHOWN, Engine
from recipe_check.errors import LoadError, UsageError
from recipe_check.jobs import Job, Loaded
from recipe_check.results import Result
from recipe_check.run_report import Expense, Summary

T = TypeVar("T")
POLL = 0.1  # seconds between progress ticks


def split_devices(text: str | None) -> tuple[str, ...]:
    """`cuda:0,cuda:1` as names; () for None. Raises UsageError for fewer than two."""
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(names) < 2:
        raise UsageError(f"--devices {text}: fewer than two", "for one of them take --device")
    return names


def share_cores(devices: Sequence[str]) -> None:
    """Workers on the CPU divide its cores, unless the user has set OMP_NUM_THREADS."""
    on_cpu = sum(name == "cpu" for name in devices)
    if on_cpu > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // on_cpu, 1)))


@dataclass
class Pool(Engine):
    """An engine for each of `devices`, which take the next check when they have time. Results come
    in the order of the jobs. Everything that checks share in a process is made in each."""

    devices: tuple[str, ...] = ()
    engines: list[Engine] = field(default_factory=list)

    def __enter__(self) -> Pool:
        super().__enter__()
        share_cores(self.devices)
        self.engines = [self._for(device).__enter__() for device in self.devices]
        return self

    def __exit__(self, *_: Any) -> None:
        for engine in self.engines:
            engine.__exit__()
        super().__exit__()

    def load(self) -> Loaded:
        """On all devices. Raises the first device's LoadError, else another's."""
        found = self._together(lambda engine: engine.load(), "loading")
        return replace(found[0], device=", ".join(loaded.device for loaded in found))

    def rehearse(self) -> LoadError | None:
        """Why one training step does not run on the first device, else on another."""
        found = self._together(lambda engine: engine.rehearse(), "first step")
        return next((broken for broken in found if broken is not None), None)

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Side by side; the rest is a skip once the run is interrupted."""
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        for number in range(len(jobs)):
            todo.put(number)
        threads = [threading.Thread(target=_work, args=(e, jobs, todo, done), daemon=True)
                   for e in self.engines]  # fmt: skip
        for thread in threads:
            thread.start()
        try:
            yield from self._in_order(len(jobs), done)
        finally:  # also where the caller has seen enough: what is running comes to its end
            _emptied(todo)
            for thread in threads:
                thread.join()

    def summary(self) -> Summary:
        """As on the first device whose worker can say."""
        found = (engine.summary() for engine in self.engines)
        return next((summary for summary in found if summary.inputs), Summary())

    def expense(self) -> Expense:
        """As on the first device; the memory of the worker that took most."""
        found = [engine.expense() for engine in self.engines]
        peaks = [e.peak_memory_bytes for e in found if e.peak_memory_bytes is not None]
        return msgspec.structs.replace(found[0], peak_memory_bytes=max(peaks, default=None))

    def output(self) -> str:
        """What the user's code printed, worker after worker."""
        return "".join(engine.output() for engine in self.engines)[-SHOWN:]

    # -- internals ---------------------------------------------------------------------------

    def _for(self, device: str) -> Engine:
        request = msgspec.structs.replace(self.request, device=device)
        return Engine(request, self.plugins, self.budget, self.check_timeout, self.memory_limit)

    def _together(self, act: Callable[[Engine], T], shown: str) -> list[T]:
        start = time.monotonic()
        with ThreadPoolExecutor(len(self.engines)) as threads:
            waiting = [threads.submit(act, engine) for engine in self.engines]
            try:
                while not all(future.done() for future in waiting):
                    time.sleep(POLL)
                    self.on_tick(shown, time.monotonic() - start)
            except KeyboardInterrupt:
                self._stop_all()
                raise
        return [future.result() for future in waiting]

    def _in_order(
        self, count: int, done: queue.SimpleQueue[tuple[int, Result]]
    ) -> Iterator[Result]:
        early: dict[int, Result] = {}
        for number in range(count):
            start = time.monotonic()
            while number not in early:
                try:
                    place, result = done.get(timeout=POLL)
                    early[place] = result
                except queue.Empty:
                    self.on_tick(f"{len(self.engines)} devices", time.monotonic() - start)
                except KeyboardInterrupt:
                    self.interrupted = True
                    self._stop_all()
            yield self._keep(early.pop(number))

    def _stop_all(self) -> None:
        """Ends what the workers do, and keeps them from the rest."""
        for engine in self.engines:
            engine.cut_short()


def _emptied(todo: queue.SimpleQueue[int]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            todo.get_nowait()


def _work(
    engine: Engine,
    jobs: Sequence[Job],
    todo: queue.SimpleQueue[int],
    done: queue.SimpleQueue[tuple[int, Result]],
) -> None:
    """One worker's share: the next job until there is none."""
    while True:
        try:
            number = todo.get_nowait()
        except queue.Empty:
            return
        done.put((number, next(engine.run([jobs[number]]))))
