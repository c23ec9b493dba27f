"""What of the findings does not count, besides the policy: suppressions and the baseline."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from recipe_check.baseline import Baseline
from recipe_check.choice import Choice
from recipe_check.policy import stale, suppressed
from recipe_check.results import Result
from recipe_check.run_report import Target
from recipe_check.suppressions import declared_for, of_no_check, unmatched


@dataclass(frozen=True)
class Judged:
    """Results with what does not count marked, and notes on suppressions."""

    results: tuple[Result, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """What the command line and the file say. `strict`: unused or expired suppressions fail.
    `checks` are the ids that a suppression may name; none are compared where it is empty."""

    choice: Choice | None = None
    baseline: Baseline | None = None
    strict: bool = False
    checks: Collection[str] = ()

    @property
    def provenance(self) -> tuple[tuple[str, str], ...]:
        """The files that had a say, for the report."""
        config = self.choice.config if self.choice else None
        files = {"configuration": config and config.name,
                 "baseline": self.baseline and self.baseline.file}  # fmt: skip
        return tuple((name, file) for name, file in files.items() if file)

    def judge(self, results: Sequence[Result], loaded: Target, today: date) -> Judged:
        """Suppressions first: what they cover is not asked of the baseline."""
        written = declared_for(self.choice, loaded) if self.choice else ()
        declared = (*loaded.suppressions, *written)
        marked = suppressed(results, declared, today)
        if self.baseline is not None:
            marked = self.baseline.hide(marked)
        unused = unmatched(self.choice, loaded) if self.choice else ()
        unknown = of_no_check(loaded, self.checks)
        return Judged(marked, (*stale(results, declared, today), *unknown, *unused))
