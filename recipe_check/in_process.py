"""Runs jobs in the calling process, for Python and notebooks; `Engine` does it in another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recipe_check.errors import LoadError
from recipe_check.jobs import Job, Loaded
from recipe_check.lab import Lab
from recipe_check.machine import environment
from recipe_check.placement import run_with_room
from recipe_check.results import Result
from recipe_check.run_report import Expense, Summary
from recipe_check.runner import skipped
from recipe_check.summary import describe, inputs, layers
from recipe_check.surroundings import preserved


@dataclass
class InProcess:
    """The same methods as `Engine`, without its protection: a check that hangs or dies takes
    this process with it, and an interrupt is the caller's."""

    lab: Lab
    budget: float
    interrupted: bool = False

    def loaded(self) -> Loaded:
        """What `Engine.load` answers."""
        return Loaded(
            target=describe(self.lab.subject),
            device=str(self.lab.device),
            environment=tuple(environment(self.lab.device)),
        )

    def rehearse(self) -> LoadError | None:
        """What `Engine.rehearse` answers."""
        with preserved():
            return self.lab.broken

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in order; no check is started after the budget is spent."""
        start = time.monotonic()
        for job in jobs:
            late = time.monotonic() - start >= self.budget
            reason = f"out of time (budget {self.budget:g} s): raise it" if late else job.skip
            yield (skipped(job.check, reason) if reason else self._one(job))

    def _one(self, job: Job) -> Result:
        with preserved():
            return run_with_room(job.check, self.lab, job.request.repeat)

    def summary(self) -> Summary:
        """What entered the network and its layers; empty where the model cannot be traced."""
        try:
            with preserved(), self.lab.seeded():
                return Summary(inputs=inputs(self.lab), layers=layers(self.lab))
        except Exception:
            return Summary()

    def expense(self) -> Expense:
        """Not measured: the memory is the caller's, and a test suite has no time to lose."""
        return Expense()
