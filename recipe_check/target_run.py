"""The checks of one target, run one at a time when a test asks for them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import msgspec

from recipe_check.check_settings import check_settings
from recipe_check.choice import choose
from recipe_check.engine import Engine
from recipe_check.errors import LoadError, UsageError
from recipe_check.gate import Gate
from recipe_check.jobs import Job, Loaded
from recipe_check.plugins import check_classes, select
from recipe_check.request import LoadRequest, split_target
from recipe_check.results import Result
from recipe_check.session import reproduce

BUDGET = 600.0  # seconds for all checks: a test run has time limits of its own


class TargetRun:
    """What `recipe-check TARGET` would run, with the configuration file's say in it.

    Raises UsageError for an unknown check in the file, and where the target is no Python file.
    """

    def __init__(self, target: str) -> None:
        self.choice = choose(target)
        self.file = Path(split_target(self.choice.target)[0]).resolve()
        if self.file.suffix != ".py":
            raise UsageError("no Python file", "give model.py or model.py:object")
        kinds = check_classes()
        settings, wanted = check_settings(self.choice.config, kinds), self.choice.settings
        preset, seed, table = wanted.preset or "default", wanted.seed or 0, self.choice.table
        ids = select(kinds, wanted.only, wanted.skip, preset)
        self.jobs: tuple[Job, ...] = settings.jobs(kinds, ids)
        self.request = LoadRequest(
            target=self.choice.target,
            model=table.model,
            data=table.data,
            loss=table.loss,
            optimizer=table.optimizer,
            kwargs=table.kwargs,
            capture=table.capture,
            script_args=table.args,
            device=wanted.device or "auto",
            seed=seed,
            root=self.choice.root,
        )
        self._engine = Engine(self.request, budget=BUDGET, adjust=settings.adjust)

    def result(self, job: Job) -> Result:
        """Loads the target at the first call. Raises LoadError where it does not load, or where
        not one training step runs and the check is not one of the data."""
        loaded, broken = self._opened
        if loaded is None or (broken is not None and job.check.meta.stage != "data"):
            raise broken or LoadError("the target was not loaded")
        found = list(self._engine.run([job]))
        if self._engine.interrupted:
            raise KeyboardInterrupt
        judged = Gate(self.choice).judge(found, loaded.target, datetime.now(UTC).date())
        command = reproduce(self.request, job.request.id)
        return msgspec.structs.replace(judged.results[0], reproduce=command)

    def stop(self) -> None:
        """Ends the worker, if it was started; a later `result` starts another."""
        if vars(self).pop("_opened", None):
            self._engine.__exit__()

    @cached_property
    def _opened(self) -> tuple[Loaded | None, LoadError | None]:
        """What was loaded, and why not one training step runs. Tried once: what does not load
        for one check does not for the next."""
        self._engine.__enter__()
        try:
            loaded = self._engine.load()
        except LoadError as error:
            return None, error
        return loaded, self._engine.rehearse()
