"""The parent's side: starts the worker, asks for one check after another, survives its death."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipe_check.child import Worker, WorkerDied
from recipe_check.errors import LoadError, RecipeCheckError
from recipe_check.jobs import Job, Loaded
from recipe_check.output_log import OutputLog
from recipe_check.policy import OUT_OF_TIME
from recipe_check.privacy import discreet
from recipe_check.request import LoadRequest
from recipe_check.results import Cost, Result, Verdict
from recipe_check.run_report import Expense, Summary
from recipe_check.runner import as_result, skipped
from recipe_check.values import Status, from_plain, to_plain

DEATHS = 3  # after so many in a row the rest is not tried
SUMMARY_SECONDS = 30.0
EXPENSE_SECONDS = 15.0  # for a few plain training steps
PROFILE_SECONDS = 300.0  # to write a trace of maybe a million events
SHOWN = 20_000  # characters of what the user's code printed


@dataclass
class Engine:
    """Runs jobs in a worker, restarting it when it dies. Use as a context manager."""

    request: LoadRequest
    plugins: tuple[str, ...] = ()
    budget: float = 120.0
    check_timeout: float = 60.0
    memory_limit: float = 0.0  # GB for the worker, 0 for none
    on_tick: Callable[[str, float], None] = lambda _id, _seconds: None
    on_result: Callable[[Result], None] = lambda _: None
    adjust: Callable[[Result], Result] = lambda result: result  # before anyone sees it
    results: list[Result] = field(default_factory=list)
    interrupted: bool = False
    trace: bytes = b""  # of torch, where `profiled` was used
    _worker: Worker | None = None
    _deaths: int = 0
    _rehearsed: bool = False
    _profiling: bool = False

    def __enter__(self) -> Engine:
        self.log = OutputLog()
        self.started = time.monotonic()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._worker is not None:
            self._worker.stop()
        self.log.remove()

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
        return Loaded.of(answer)

    def rehearse(self) -> LoadError | None:
        """Takes one step on the first batch; returns why it does not run, None where it does."""
        try:
            self._rehearse()
        except WorkerDied as death:
            return LoadError(f"one training step on the first batch: {death}", _ALONE)
        except LoadError as error:
            return error
        finally:
            self._rehearsed = True
        return None

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in order; what was not run is a skip that says why."""
        for number, job in enumerate(jobs):
            reason = self._why_not()
            if reason:
                yield from (self._keep(skipped(later.check, reason)) for later in jobs[number:])
                return
            yield self._keep(skipped(job.check, job.skip) if job.skip else self._one(job))

    def summary(self) -> Summary:
        """What entered the network and its layers; empty where the worker cannot say."""
        return from_plain(self._last_word("summary", SUMMARY_SECONDS), Summary)

    def expense(self) -> Expense:
        """A plain training step's seconds and the worker's memory; empty as for `summary`."""
        return from_plain(self._last_word("expense", EXPENSE_SECONDS), Expense)

    @contextlib.contextmanager
    def profiled(self, name: str) -> Iterator[None]:
        """A trace of what torch does in the block is in `trace` then, packed where the name ends
        in .gz. Where the worker died it begins with the next one, and is empty without one."""
        self._profiling = True
        self._last_word("start_profile", EXPENSE_SECONDS)
        try:
            yield
        finally:
            self._profiling = False
            with tempfile.TemporaryDirectory(prefix="recipe-check-") as folder:
                file = Path(folder) / Path(name).name
                self._last_word("write_profile", PROFILE_SECONDS, str(file))
                self.trace = file.read_bytes() if file.is_file() else b""

    def cut_short(self) -> None:
        """From another thread: what runs is ended, and nothing more is begun."""
        self.interrupted = True
        process = self._worker.process if self._worker is not None else None
        if process is not None:
            process.kill()

    def output(self) -> str:
        """The last of what the user's code printed."""
        return self.log.tail(SHOWN)

    # -- internals ---------------------------------------------------------------------------

    def _last_word(self, name: str, seconds: float, value: Any = None) -> Any:
        """The worker's answer to what no verdict depends on; {} where it has none."""
        if self._worker is None or self._worker.process is None or self.interrupted:
            return {}
        try:
            return self._ask(name, value, seconds, name.replace("_", " "))
        except (WorkerDied, RecipeCheckError):
            return {}
        except KeyboardInterrupt:  # the results are there: only this is given up
            self.interrupted = True
            return {}

    def _why_not(self) -> str:
        if self.interrupted:
            return "interrupted"
        if self.left <= 0:
            return f"{OUT_OF_TIME} (budget {self.budget:g} s): raise --budget"
        if self._deaths >= DEATHS:
            return f"the worker process died {DEATHS} times in a row"
        return ""

    def _start(self) -> Any:
        self._worker = Worker(self.plugins, self.log, self.memory_limit)
        self._worker.start()
        answer = self._ask("load", to_plain(self.request), max(self.left, 1.0), "loading")
        if self._profiling:
            self._last_word("start_profile", EXPENSE_SECONDS)
        return answer

    def _start_again(self) -> None:
        """A worker after the first: what the first step tells of the target it must know, too.
        Where that step ends the process, as it may have ended the one before, it does without."""
        self._start()
        if not self._rehearsed:
            return
        try:
            self._rehearse()
        except LoadError:
            return
        except WorkerDied:
            self._start()

    def _rehearse(self) -> None:
        seconds = min(self.check_timeout, max(self.left, 1.0))
        self._ask("rehearse", None, seconds, "first step")

    def _ask(self, name: str, value: Any, seconds: float, shown: str) -> Any:
        assert self._worker is not None
        return self._worker.ask(name, value, seconds, lambda spent: self.on_tick(shown, spent))

    def _one(self, job: Job) -> Result:
        start = time.monotonic()
        seconds = min(self.check_timeout, max(self.left, 0.5))
        try:
            answer = self._checked(job, seconds)
        except KeyboardInterrupt:
            self.interrupted = True
            return skipped(job.check, "interrupted")
        except WorkerDied as death:
            if self.interrupted:
                return skipped(job.check, "interrupted")
            self._deaths += 1
            return _failed(job, f"{death}", time.monotonic() - start)
        except RecipeCheckError as error:
            return _failed(job, error.message, time.monotonic() - start)
        self._deaths = 0
        return from_plain(answer, Result)

    def _checked(self, job: Job, seconds: float) -> Any:
        """The worker's answer to one check."""
        if self._worker is None or self._worker.process is None:
            self._start_again()
        return self._ask("check", to_plain(job.request), seconds, job.request.id)

    def _keep(self, result: Result) -> Result:
        result = self.adjust(discreet(result))
        self.results.append(result)
        self.on_result(result)
        return result


_ALONE = "run one step on one batch yourself: what ends the process there has to go first"


def _failed(job: Job, how: str, seconds: float) -> Result:
    verdict = Verdict(status=Status.ERROR, message=f"no verdict: {how}")
    return as_result(job.check, verdict, cost=Cost(seconds=round(seconds, 3)))
