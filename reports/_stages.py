"""The checks by stage of the recipe, in the order in which the stages ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipe_check.results import Result

from ._verdict import WORDS, counted, ordered, shown_status

_TITLES = {
    "data": "Data",
    "skeleton": "Skeleton: loss, gradients, first fits",
    "model": "Model",
    "training": "Training",
}


@dataclass(frozen=True)
class Stage:
    """The results of one stage, findings first, and how many there are of each kind."""

    title: str
    results: tuple[Result, ...]

    @property
    def tally(self) -> str:
        """`1 failed, 7 passed, 3 skipped`."""
        statuses = [shown_status(result) for result in self.results]
        counts = ((statuses.count(status), status) for status in WORDS)
        return ", ".join(counted(count, status) for count, status in counts if count)


def stages(results: Sequence[Result]) -> list[Stage]:
    """A stage of a plugin goes by its own name."""
    names = dict.fromkeys(result.stage for result in results)
    return [
        Stage(
            title=_TITLES.get(name, name),
            results=tuple(ordered([result for result in results if result.stage == name])),
        )
        for name in names
    ]
