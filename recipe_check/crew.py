"""The parents' side of several ranks: rank 0 leads a crew of workers, the others wait for its end.

Each rank's parent has one worker that stands in the ranks' group. Where it dies another, which
loads nothing, takes its place: it says why, and hears of the end.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from recipe_check.child import Worker, WorkerDied
from recipe_check.errors import LoadError, RecipeCheckError
from recipe_check.output_log import OutputLog
from recipe_check.ranks import RankLost
from recipe_check.request import CheckRequest, LoadRequest
from recipe_check.values import to_plain

SHARE = 0.6  # of a check's time-out is spent waiting for another rank, so that it can be named
JOIN = 90.0  # seconds for torch to be imported and all ranks to be reached
LEAVING = 20.0  # seconds for the others to hear of the end
REPORTS = 600.0  # seconds beyond the budget after which a rank no longer waits for rank 0

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Limits:
    """What every rank is told in the same words: options of the command."""

    plugins: tuple[str, ...]
    memory: float  # GB, 0 for none
    budget: float  # seconds, as all of these
    check: float

    def start(self, log: OutputLog) -> Worker:
        """A worker that has reached the store of the ranks. Raises as `Worker.ask` does."""
        worker = Worker(self.plugins, log, self.memory, together=True)
        worker.start()
        limits = {"patience": SHARE * self.check, "group_seconds": self.budget}
        try:
            worker.ask("connect", limits, JOIN)
        except (WorkerDied, RecipeCheckError):
            worker.kill()
            raise
        return worker


@dataclass
class Crew:
    """Rank 0's worker among the ranks. It is there until `leave`, whatever the run comes to."""

    limits: Limits
    log: OutputLog = field(default_factory=OutputLog)
    over: str = ""  # why the ranks are no longer together
    _worker: Worker | None = None

    def load(self, request: LoadRequest, seconds: float, tick: Tick) -> Any:
        """The target, loaded by all ranks. Raises LoadError, also for what another rank raised."""
        together = msgspec.structs.replace(request, alone=False)
        try:
            return self._ask("load", to_plain(together), seconds, tick)
        except WorkerDied as death:
            raise LoadError(
                f"loading {request.target} on all ranks: {death}; {self._places()}",
                "the target must load on every rank, within the budget (--budget)",
            ) from None

    def check(self, request: CheckRequest, seconds: float, tick: Tick) -> Any:
        """One check on all ranks. Raises RankLost where one of them was or is lost."""
        if self.over:
            raise RankLost(f"the ranks are no longer together: {self.over}")
        try:
            return self._ask("check", to_plain(request), seconds, tick)
        except WorkerDied as death:
            self.over = f"rank 0: {death}; {self._places()}"
        except RecipeCheckError as error:
            self.over = error.message
        raise RankLost(self.over)

    def leave(self, code: int) -> None:
        """Tells the other ranks the exit code, and ends the worker."""
        _outlast_the_others()
        with contextlib.suppress(WorkerDied, RecipeCheckError, OSError):
            self._ask("end", code, LEAVING, lambda _: None)
        if self._worker is not None:
            self._worker.stop()
        self.log.remove()

    def _ask(self, name: str, value: Any, seconds: float, tick: Tick) -> Any:
        if self._worker is None or self._worker.process is None:
            self._worker = self.limits.start(self.log)
        return self._worker.ask(name, value, seconds, tick)

    def _places(self) -> str:
        """What each rank was doing, where that can still be found out."""
        try:
            return str(self._ask("places", None, JOIN, lambda _: None))
        except (WorkerDied, RecipeCheckError):
            return "no other rank can be asked"


def follow(limits: Limits) -> int:
    """A rank other than 0: does in its worker what rank 0 does; returns the exit code of all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 writes what there is, then all leave
    log = OutputLog()
    try:
        return _follow(limits, log)
    finally:
        log.remove()


def _follow(limits: Limits, log: OutputLog) -> int:
    worker: Worker | None = None
    reason = ""
    for _ in range(2):
        try:
            worker = limits.start(log)
            code = int(worker.ask("follow", reason, limits.budget + limits.check + REPORTS))
            _outlast_the_others()
            return code
        except WorkerDied as death:
            reason = str(death)
        except RecipeCheckError as error:
            return error.exit_code
        finally:
            if worker is not None:
                worker.stop()
    return RecipeCheckError.exit_code


def _outlast_the_others() -> None:
    """torchrun asks all ranks to end when the first has left with an error: this one, which is
    about to leave with the same, does so by itself."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
