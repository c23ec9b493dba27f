"""`pytest --recipe-check model.py`: one test a check. Without the option it costs nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from recipe_check.jobs import Job
    from recipe_check.results import Result
    from recipe_check.target_run import TargetRun

_OPTION = "recipe_check_targets"
_RUNS = pytest.StashKey["dict[Path, TargetRun]"]()


class RecipeCheckWarning(UserWarning):
    """A check found something unusual that may well train."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("recipe-check").addoption(
        "--recipe-check",
        action="append",
        default=[],
        dest=_OPTION,
        metavar="FILE",
        help="Also run the checks of recipe-check on FILE (model.py or model.py:object), "
        "one test a check. Repeatable.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Each file is collected, as if it stood on the command line; raises pytest.UsageError."""
    runs: dict[Path, TargetRun] = {}
    config.stash[_RUNS] = runs
    folder = config.invocation_params.dir
    for target in config.getoption(_OPTION):
        run = _prepared(target)
        if runs.setdefault(run.file, run) is not run:
            raise pytest.UsageError(f"--recipe-check: two targets in {run.file.name}")
        named = {(folder / arg.split("::")[0]).resolve() for arg in config.args}
        if run.file not in named:  # else as the user says: `model.py::initial-loss`
            config.args.append(str(run.file))


def _prepared(target: str) -> TargetRun:
    from recipe_check.errors import RecipeCheckError
    from recipe_check.target_run import TargetRun

    try:
        return TargetRun(target)
    except RecipeCheckError as error:
        raise pytest.UsageError(f"--recipe-check {target}: {error.message}") from error


@pytest.hookimpl(hookwrapper=True)  # the older style: every pytest of the environment loads this
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, Any, None]:
    """A target's checks; its own tests only where its name says that it has some, since pytest
    imports every file that is named to it."""
    outcome = yield
    runs = parent.config.stash[_RUNS]
    run = runs.get(file_path.resolve()) if runs else None
    if run is not None:
        has_tests = any(file_path.match(p) for p in parent.config.getini("python_files"))
        found = outcome.get_result()
        kept = [node for node in found if has_tests or type(node) is not pytest.Module]
        outcome.force_result([*kept, RecipeFile.of(run, file_path, parent)])


class RecipeFile(pytest.File):
    """All checks of one target: they share one worker process."""

    run: TargetRun

    @classmethod
    def of(cls, run: TargetRun, path: Path, parent: pytest.Collector) -> RecipeFile:
        made: RecipeFile = cls.from_parent(parent, path=path)
        made.run = run
        return made

    def collect(self) -> Iterator[pytest.Item]:
        for job in self.run.jobs:
            item: RecipeItem = RecipeItem.from_parent(self, name=job.request.id)
            item.run, item.job = self.run, job
            yield item

    def teardown(self) -> None:
        self.run.stop()


class RecipeItem(pytest.Item):
    """One check. It is measured in the set-up, so that a check that broke, or a target that does
    not load, is an error and no failure."""

    run: TargetRun
    job: Job
    result: Result

    def setup(self) -> None:
        from recipe_check.errors import RecipeCheckError
        from recipe_check.values import Status

        broken = ""
        try:
            self.result = self.run.result(self.job)
        except RecipeCheckError as error:
            hint = error.hint and f"help: {error.hint}"
            broken = "\n".join(filter(None, (error.message, hint, error.trace)))
        if broken:  # outside of `except`, whose traceback would be shown as well
            pytest.fail(broken, pytrace=False)
        if self.result.suppressed is not None:
            pytest.skip(f"suppressed: {self.result.suppressed.reason}")
        if self.result.status is Status.SKIP:
            pytest.skip(self.result.verdict.message)
        if self.result.status is Status.ERROR:
            pytest.fail(self._shown(), pytrace=False)

    def runtest(self) -> None:
        from recipe_check.values import Status

        if self.result.status is Status.FAIL:
            pytest.fail(self._shown(), pytrace=False)
        if self.result.status is Status.WARN:
            self.warn(RecipeCheckWarning(self._shown()))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Where pytest makes errors of warnings (`-W error`), the finding and not our lines."""
        if isinstance(excinfo.value, RecipeCheckWarning):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def _shown(self) -> str:
        from recipe_check.reports.terminal import Style, finding

        return "\n".join([finding(self.result, Style()), self.result.traceback]).rstrip()

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"recipe-check {self.path.name} {self.name}"
