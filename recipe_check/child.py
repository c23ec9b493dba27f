"""The parent's handle on its worker process: asks it, outlives it, says how it ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from recipe_check.errors import LoadError, RecipeCheckError
from recipe_check.output_log import OutputLog
from recipe_check.worker import worker_main

POLL = 0.1  # seconds between progress ticks
TAIL = 600  # characters of the dead worker's output that are shown


class WorkerDied(Exception):
    """The process ended or was ended; the message says how."""


@dataclass
class Worker:
    """One child process. `ask` blocks, calling `tick(seconds)` now and then."""

    plugins: tuple[str, ...]
    log: OutputLog
    memory_limit: float = 0.0  # GB, 0 for none
    together: bool = False  # with the other ranks of a training
    process: SpawnProcess | None = None
    pipe: Connection | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.process = context.Process(
            target=worker_main,
            args=(theirs, str(self.log.path), self.plugins, self.memory_limit),
            kwargs={"together": self.together},
            daemon=False,
        )
        self.process.start()
        theirs.close()
        self.pipe = ours

    def ask(
        self, name: str, value: Any, seconds: float, tick: Callable[[float], None] = lambda _: None
    ) -> Any:
        """The answer; raises WorkerDied on death or time-out, RecipeCheckError as answered."""
        assert self.pipe is not None
        try:
            self.pipe.send((name, value))
            self._wait(seconds, tick)
            kind, answer, is_last = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDied(self._how_it_died()) from error
        if is_last:
            self.kill()
        if kind == "error":
            raise _error(answer)
        return answer

    def _wait(self, seconds: float, tick: Callable[[float], None]) -> None:
        """Until there is an answer. What the user's code forked may hold the pipe open for longer
        than the worker lives, so that its end alone says nothing."""
        assert self.pipe is not None
        assert self.process is not None
        start = time.monotonic()
        while not self.pipe.poll(POLL):
            if not self.process.is_alive() and not self.pipe.poll(0):
                raise EOFError
            spent = time.monotonic() - start
            if spent > seconds:
                self.kill()
                raise WorkerDied(f"it took longer than {seconds:.3g} s and was stopped")
            self.log.trim()
            tick(spent)

    def _how_it_died(self) -> str:
        assert self.process is not None
        self.process.join(5)
        code = self.process.exitcode
        self.kill()
        tail = self.log.tail(TAIL).strip()
        return f"the process died with {_ending(code)}" + (
            f"; its last output: {tail}" if tail else ""
        )

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


def _ending(code: int | None) -> str:
    """The signal's name or the exit code; SIGKILL from elsewhere is mostly for memory."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"
    if name != "SIGKILL":
        return name
    return "SIGKILL (the system sends it where memory runs out; --memory-limit GB names the line)"


def _error(answer: dict[str, Any]) -> RecipeCheckError:
    error = LoadError(answer["message"], answer.get("hint", ""), answer.get("trace", ""))
    error.exit_code = answer.get("exit_code", LoadError.exit_code)
    return error
