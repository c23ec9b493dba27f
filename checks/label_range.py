"""Do the labels fit the outputs?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Bars, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Labels:
    """Smallest and largest label, number of outputs, labels outside, counts by class."""

    low: int
    high: int
    outputs: int
    outside: int
    counts: tuple[int, ...]
    location: Location | None = None  # what to blame if they do not fit


@dataclass(frozen=True, kw_only=True)
class LabelRange:
    """Do the labels fit the outputs?

    What it measures
    ----------------
    The labels of the whole loader are counted and compared with the number of outputs that the
    loss receives; this is done before they reach a loss on a GPU, where a label that is too large
    ends the process.

    Why it matters
    --------------
    A label outside 0..C-1 raises, or on a GPU kills the process; a single class over all data
    cannot be learned from.

    How it decides
    --------------
    fail: class labels below zero (other than -100) or not below the number of outputs; only one
    class in at least 64 labels.

    Cost
    ----
    1 forward pass; one pass over the data.

    Known limits
    ------------
    Tasks other than classification are skipped.

    Example
    -------
    Labels 1..10 for ten outputs; `(y / 255).long()`, which is all zero.

    Fix
    ---
    Subtract the smallest label; do not scale labels with the inputs.

    Sources
    -------
    Humbatova et al. 2020 (wrong labels); PyTorch documentation of cross_entropy.
    """

    meta: ClassVar[Meta] = Meta(
        id="label-range",
        stage="data",
        title="Labels fit the outputs",
        fail_title="Labels do not fit the outputs",
        cost="1 F",
        after=("batch-contract",),
        preset="quick",
    )
    least: int = 64  # labels, before a single class counts as evidence

    def measure(self, lab: Lab) -> Labels:
        from ._data import see_labels

        return see_labels(lab)

    def judge(self, seen: Labels) -> Verdict:
        span = f"{seen.low} to {seen.high} for {seen.outputs} outputs"
        total = sum(seen.counts)
        bad, message, fix = Status.PASS, f"labels run from {span}", ""
        if seen.high >= seen.outputs or seen.low < 0:
            bad = Status.FAIL
            message = (
                f"labels run from {seen.low} to {seen.high}, but the model has {seen.outputs} "
            )
            message += f"outputs: {seen.outside} labels are outside 0 to {seen.outputs - 1}"
            fix = "shift the labels to start at 0, or give the last layer one output a class"
        elif sum(count > 0 for count in seen.counts) == 1 and total >= self.least:
            bad, fix = Status.FAIL, "do not scale or cast the labels with the inputs"
            message = f"all {total} labels are the same ({seen.low}): there is nothing to learn"
        return Verdict(
            status=bad,
            message=message,
            measured=span,
            expected=f"0 to {seen.outputs - 1}",
            fix=Fix(text=fix) if fix else None,
            location=seen.location if fix else None,
            details=(
                Bars(
                    title="Labels by class",
                    value_label="count",
                    names=tuple(str(i) for i in range(min(len(seen.counts), 40))),
                    values=tuple(float(count) for count in seen.counts[:40]),
                ),
            ),
        )
