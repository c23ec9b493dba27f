"""Results on disk as they come, in case that no report can be written: one JSON a line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import click

from recipe_check.errors import LoadError
from recipe_check.results import Result
from recipe_check.values import to_plain


class Journal:
    """A file in the folder for temporary files, readable by its owner alone.

    Removed on leaving; kept, with a word on where it is, where an exception leaves with results
    in it. A process that is killed leaves it as well. What cannot be written stops nothing.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.count = 0

    def __enter__(self) -> Journal:
        try:
            handle, name = tempfile.mkstemp(prefix="recipe-check-", suffix=".jsonl")
            os.close(handle)
            self.path = Path(name)
        except OSError:
            self.path = None
        return self

    def add(self, result: Result) -> None:
        """One more line, on the disk when this returns."""
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="ascii") as file:
                file.write(json.dumps(to_plain(result)) + "\n")
            self.count += 1
        except OSError:
            return

    def also(self, act: Callable[[Result], None]) -> Callable[[Result], None]:
        """A line for each result, before it is acted upon."""

        def both(result: Result) -> None:
            self.add(result)
            act(result)

        return both

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        ended_well = error is None or isinstance(error, SystemExit | LoadError)
        if self.path is None:
            return
        if ended_well or not self.count:
            self.path.unlink(missing_ok=True)
        else:
            click.echo(f"the {self.count} results so far are kept in {self.path}", err=True)
