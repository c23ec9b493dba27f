"""The contract between the runner and a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from recipe_check.results import Verdict

if TYPE_CHECKING:
    from recipe_check.lab import Lab

PRESETS = ("quick", "default", "thorough")  # each includes the ones before
STAGES = ("data", "skeleton", "model", "training")  # the order of the recipe


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What the runner and `recipe-check list` know of a check without running it.

    `needs` names capabilities of the target (targets, loss, optimizer, scheduler, val_loader,
    training_step); a check whose needs are not met is skipped. `cost` is in forward (F) and
    backward (B) passes over one batch and in optimizer steps (S).
    """

    id: str
    stage: str
    title: str  # what a pass means: "Learns from its inputs"
    fail_title: str  # what a failure means: "Does no better than with all-zero inputs"
    cost: str
    needs: frozenset[str] = frozenset()
    after: tuple[str, ...] = ()
    group: str = ""
    severity: str = "error"  # the worst it may say: "error" (fail) or "warning" (warn)
    seeded: bool = False  # chance decides in part: more seeds for what is borderline, --repeat
    preset: str = "quick"  # the smallest that includes it; quick trains nothing


@runtime_checkable
class Check(Protocol):
    """A frozen, keyword-only dataclass: its fields are its options, its docstring its manual."""

    meta: ClassVar[Meta]

    def measure(self, lab: Lab, /) -> Any:
        """All torch work. Raises NotApplicable(reason). Returns plain frozen evidence."""

    def judge(self, seen: Any, /) -> Verdict:
        """Pure: plain numbers in, verdict out. A check whose verdict hangs on chance may also
        have `borderline(seen) -> bool`: three seeds then decide."""
