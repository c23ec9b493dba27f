"""The parent's side: starts the worker, asks for one check after another, survives its death."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from recipe_check.api import Check
from recipe_check.errors import LoadError, RecipeCheckError
from recipe_check.request import CheckRequest, LoadRequest
from recipe_check.results import (
    Cost,
    Expense,
    Result,
    Status,
    Summary,
    Target,
    Verdict,
    from_plain,
    to_plain,
)
from recipe_check.runner import as_result
from recipe_check.worker import worker_main

DEATHS = 3  # after so many in a row the rest is not tried
POLL = 0.1  # seconds between progress ticks
SUMMARY_SECONDS = 30.0
EXPENSE_SECONDS = 15.0  # for a few plain training steps
PROFILE_SECONDS = 300.0  # to write a trace of maybe a million events
TAIL = 600  # characters of the dead worker's output that are shown


class WorkerDied(Exception):
    """The process ended or was ended; the message says how."""


@dataclass(frozen=True)
class Job:
    """One check to run: the check with its options, and what the worker needs to rebuild it.

    `skip` says why it is not to be run, '' where it is.
    """

    check: Check
    request: CheckRequest
    skip: str = ""


@dataclass(frozen=True)
class Loaded:
    """What the worker answered to the load."""

    target: Target
    device: str
    environment: tuple[tuple[str, str], ...]


@dataclass
class Worker:
    """One child process. `ask` blocks, calling `tick(seconds)` now and then."""

    plugins: tuple[str, ...]
    log: Path
    process: SpawnProcess | None = None
    pipe: Connection | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.process = context.Process(
            target=worker_main, args=(theirs, str(self.log), self.plugins), daemon=False
        )
        self.process.start()
        theirs.close()
        self.pipe = ours

    def ask(
        self, name: str, value: Any, seconds: float, tick: Callable[[float], None] = lambda _: None
    ) -> Any:
        """The answer; raises WorkerDied on death or time-out, RecipeCheckError as answered."""
        assert self.pipe is not None
        start = time.monotonic()
        try:
            self.pipe.send((name, value))
            while not self.pipe.poll(POLL):
                spent = time.monotonic() - start
                if spent > seconds:
                    self.kill()
                    raise WorkerDied(f"it took longer than {seconds:g} s and was stopped")
                tick(spent)
            kind, answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDied(self._how_it_died()) from error
        if kind == "error":
            raise _error(answer)
        return answer

    def _how_it_died(self) -> str:
        assert self.process is not None
        self.process.join(5)
        code = self.process.exitcode
        self.kill()
        how = f"exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        tail = self._tail()
        return f"the process died with {how}" + (f"; its last output: {tail}" if tail else "")

    def _tail(self) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4 * TAIL))
            text = file.read().decode(errors="replace").strip()
            return text[-TAIL:]
        return ""

    def kill(self) -> None:
        """Ends the process and everything it started."""
        if self.process is None:
            return
        if self.process.pid is not None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join(5)
        self.process = None

    def stop(self) -> None:
        """Asks it to leave, then makes sure."""
        if self.process is not None and self.pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                self.pipe.send(("quit", None))
            self.process.join(1)
        self.kill()


def _error(answer: dict[str, Any]) -> RecipeCheckError:
    error = LoadError(answer["message"], answer.get("hint", ""), answer.get("trace", ""))
    error.exit_code = answer.get("exit_code", LoadError.exit_code)
    return error


@dataclass
class Engine:
    """Runs jobs in a worker, restarting it when it dies. Use as a context manager."""

    request: LoadRequest
    plugins: tuple[str, ...] = ()
    budget: float = 120.0
    check_timeout: float = 60.0
    on_tick: Callable[[str, float], None] = lambda _id, _seconds: None
    on_result: Callable[[Result], None] = lambda _: None
    adjust: Callable[[Result], Result] = lambda result: result  # before anyone sees it
    results: list[Result] = field(default_factory=list)
    interrupted: bool = False
    _worker: Worker | None = None
    _deaths: int = 0
    _profiling: bool = False

    def __enter__(self) -> Engine:
        handle, name = tempfile.mkstemp(prefix="recipe-check-", suffix=".log")
        os.close(handle)
        self.log = Path(name)
        self.started = time.monotonic()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._worker is not None:
            self._worker.stop()
        self.log.unlink(missing_ok=True)

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - (time.monotonic() - self.started)

    def load(self) -> Loaded:
        """Loads the target; raises LoadError with the user's frames."""
        try:
            answer = self._start()
        except WorkerDied as death:
            raise LoadError(
                f"loading {self.request.target}: {death}",
                "the target must load on its own, within the budget (--budget)",
            ) from None
        return Loaded(
            target=from_plain(answer["target"], Target),
            device=answer["device"],
            environment=tuple((k, v) for k, v in answer["environment"]),
        )

    def rehearse(self) -> LoadError | None:
        """Takes one step on the first batch; returns why it does not run, None where it does."""
        try:
            self._ask("rehearse", None, max(self.left, 1.0), "first step")
        except WorkerDied as death:
            return LoadError(f"one training step on the first batch: {death}")
        except LoadError as error:
            return error
        return None

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in order; what was not run is a skip that says why."""
        for number, job in enumerate(jobs):
            reason = self._why_not()
            if reason:
                yield from (self._keep(_skipped(later, reason)) for later in jobs[number:])
                return
            try:
                yield self._keep(_skipped(job, job.skip) if job.skip else self._one(job))
            except KeyboardInterrupt:
                self.interrupted = True

    def summary(self) -> Summary:
        """What entered the network and its layers; empty where the worker cannot say."""
        return from_plain(self._last_word("summary", SUMMARY_SECONDS), Summary)

    def expense(self) -> Expense:
        """A plain training step's seconds and the worker's memory; empty as for `summary`."""
        return from_plain(self._last_word("expense", EXPENSE_SECONDS), Expense)

    @contextlib.contextmanager
    def profiled(self, file: Path) -> Iterator[None]:
        """A trace of what torch does in the block is written to the file. Where the worker died
        it begins with the next one, and there is none where no other was started."""
        file.unlink(missing_ok=True)
        self._profiling = True
        self._last_word("start_profile", EXPENSE_SECONDS)
        try:
            yield
        finally:
            self._profiling = False
            self._last_word("write_profile", PROFILE_SECONDS, str(file.resolve()))

    def output(self) -> str:
        """What the user's code printed (the last 20,000 characters)."""
        with contextlib.suppress(OSError):
            return self.log.read_bytes()[-20_000:].decode(errors="replace")
        return ""

    # -- internals ---------------------------------------------------------------------------

    def _last_word(self, name: str, seconds: float, value: Any = None) -> Any:
        """The worker's answer to what no verdict depends on; {} where it has none."""
        if self._worker is None or self._worker.process is None or self.interrupted:
            return {}
        try:
            return self._ask(name, value, seconds, name.replace("_", " "))
        except (WorkerDied, RecipeCheckError):
            return {}

    def _why_not(self) -> str:
        if self.interrupted:
            return "interrupted"
        if self.left <= 0:
            return f"out of time (budget {self.budget:g} s): raise --budget"
        if self._deaths >= DEATHS:
            return f"the worker process died {DEATHS} times in a row"
        return ""

    def _start(self) -> Any:
        self._worker = Worker(self.plugins, self.log)
        self._worker.start()
        answer = self._ask("load", to_plain(self.request), max(self.left, 1.0), "loading")
        if self._profiling:
            self._last_word("start_profile", EXPENSE_SECONDS)
        return answer

    def _ask(self, name: str, value: Any, seconds: float, shown: str) -> Any:
        assert self._worker is not None
        return self._worker.ask(name, value, seconds, lambda spent: self.on_tick(shown, spent))

    def _one(self, job: Job) -> Result:
        start = time.monotonic()
        seconds = min(self.check_timeout, max(self.left, 0.5))
        try:
            if self._worker is None or self._worker.process is None:
                self._start()
            answer = self._ask("check", to_plain(job.request), seconds, job.request.id)
        except WorkerDied as death:
            self._deaths += 1
            return _failed(job, f"{death}", time.monotonic() - start)
        except RecipeCheckError as error:
            return _failed(job, error.message, time.monotonic() - start)
        self._deaths = 0
        return from_plain(answer, Result)

    def _keep(self, result: Result) -> Result:
        result = self.adjust(result)
        self.results.append(result)
        self.on_result(result)
        return result


def _failed(job: Job, how: str, seconds: float) -> Result:
    verdict = Verdict(status=Status.ERROR, message=f"no verdict: {how}")
    return as_result(job.check, verdict, cost=Cost(seconds=round(seconds, 3)))


def _skipped(job: Job, reason: str) -> Result:
    return as_result(job.check, Verdict(status=Status.SKIP, message=reason))
