"""The engine of rank 0: what compares the ranks is done by all of them, the rest by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from recipe_check.crew import Crew
from recipe_check.engine import SHOWN, Engine
from recipe_check.errors import LoadError
from recipe_check.jobs import Job, Loaded
from recipe_check.ranks import NEED


def compares_ranks(job: Job) -> bool:
    """Whether a check is one of all ranks together."""
    return NEED in job.check.meta.needs


@dataclass
class RankedEngine(Engine):
    """Loads the target on all ranks where a job compares them, and once more in a process of its
    own, with a group of one, for all other checks: there no collective waits for anybody."""

    crew: Crew | None = None
    jobs: Sequence[Job] = ()

    def load(self) -> Loaded:
        """Raises LoadError, also for what the target raised on another rank."""
        ranks = ("ranks", os.environ["WORLD_SIZE"])
        together = [job for job in self.jobs if compares_ranks(job)]
        loaded = self._load_together() if together else None
        if loaded is None or len(together) < len(self.jobs):
            loaded = super().load()
        return replace(loaded, environment=(*loaded.environment, ranks))

    def rehearse(self) -> LoadError | None:
        """What the ranks do together they try out themselves."""
        return super().rehearse() if self._worker is not None else None

    def _load_together(self) -> Loaded:
        assert self.crew is not None
        seconds = max(self.left, 1.0)
        answer = self.crew.load(self.request, seconds, lambda spent: self.on_tick("ranks", spent))
        return Loaded.of(answer)

    def _checked(self, job: Job, seconds: float) -> Any:
        if not compares_ranks(job):
            return super()._checked(job, seconds)
        assert self.crew is not None
        id = job.request.id
        return self.crew.check(job.request, seconds, lambda spent: self.on_tick(id, spent))

    def output(self) -> str:
        """Also that of rank 0 among the others."""
        assert self.crew is not None
        return self.crew.log.tail(SHOWN) + super().output()
