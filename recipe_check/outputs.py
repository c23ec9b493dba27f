"""Everything that a run writes: what cannot be written does not keep the rest from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from recipe_check.errors import RecipeCheckError, UsageError
from recipe_check.files import write_whole
from recipe_check.plugins import report_writers, suggestion
from recipe_check.run_report import Report


class Problems:
    """What went wrong so far. `attempt` goes on, `tell` raises it all in the end."""

    def __init__(self) -> None:
        self.found: list[RecipeCheckError] = []

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """The block may fail; `what` it makes is named where that is our own fault."""
        try:
            yield
        except RecipeCheckError as error:
            self.found.append(error)
        except Exception as error:
            text = f"recipe-check itself broke in making {what}: {type(error).__name__}: {error}"
            self.found.append(
                RecipeCheckError(text, "please report this, with the file if you can")
            )

    def tell(self) -> None:
        """Raises the first, with what all of them say; nothing where all went well."""
        if self.found:
            first = self.found[0]
            first.message = "; ".join(error.message for error in self.found)
            raise first


def write_reports(report: Report, outputs: Mapping[str, str], problems: Problems) -> None:
    """Writes each format to its file."""
    for name, file in outputs.items():
        with problems.attempt(file):
            write_whole(Path(file), rendered(report, name))


def rendered(report: Report, name: str) -> str:
    """The report in the format of that name; raises UsageError where there is none."""
    writers = report_writers()
    if name not in writers:
        raise UsageError(f"no report format {name!r}", suggestion(name, writers))
    return writers[name].render(report)
