"""Are the batches finite, consistent and of the right kind?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data."""

    text: str
    measured: str
    expected: str
    fix: str
    certain: bool
    location: Location | None = None  # the line to change, where it is known


@dataclass(frozen=True)
class Batches:
    """How much was read, the first tensor's shape, and what is wrong, worst first."""

    batches: int
    rows: int
    first: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class BatchContract:
    """Are the batches finite, consistent and of the right kind?

    What it measures
    ----------------
    The whole loader is read (at most 20 seconds of it): NaN and infinity in every tensor, dtypes
    and trailing shapes over batches, constant batches, rows of inputs against rows of targets;
    each feature against the target; lengths and samplers against what is stored.

    Why it matters
    --------------
    A single NaN turns every weight into NaN at its batch; a batch without content teaches
    nothing.

    How it decides
    --------------
    fail: NaN or infinity anywhere; an input that is the same in every sample of the data; as many
    inputs as targets in no batch; a last batch of one sample that raises in training (batch
    normalisation); a loader that yields nothing or raises; a step that raises, and runs once the
    targets or inputs have another dtype or shape; token ids that an embedding has no row for, tried
    out. warn: a dtype that changes between batches; a last batch of one sample in front of batch
    normalisation that does not raise; a feature that is the target itself (correlation of 1 to six
    digits, or one value a class; at least two features and 64 samples); a data set whose `__len__`
    is below half of what it looks up by index, a sampler that reaches less than 5 % of 100 samples
    or more, three times as many validation as training samples; bytes that wrapped around in torch,
    or images of 256 levels that are twice as smooth when counted from another level on; a feature
    that numbers the rows and by which the classes stand in order; an iterator as loader of a loop
    over epochs; mixup of the inputs alone.

    Cost
    ----
    No pass of the model where the first step runs, else up to 10 F and B; 1 F where token ids
    exceed an embedding; one pass over the data.

    Known limits
    ------------
    A loader that is slow is read for 20 seconds only, and the report says how much that was.

    Example
    -------
    A missing value in the table that became NaN.

    Fix
    ---
    Drop or impute missing values; yield tensors of one dtype.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), become one with the data; Humbatova et
    al. 2020 (training data quality).
    """

    meta: ClassVar[Meta] = Meta(
        id="batch-contract",
        stage="data",
        title="Batches are sound",
        fail_title="Batches are broken",
        cost="0 to 10 F",
        preset="quick",
    )

    def measure(self, lab: Lab) -> Batches:
        from ._data import see_batches

        return see_batches(lab)

    def judge(self, seen: Batches) -> Verdict:
        if seen.problems:
            first = seen.problems[0]
            return Verdict(
                status=Status.FAIL if first.certain else Status.WARN,
                message=f"{first.text} ({seen.batches} batches, {seen.rows} samples read)",
                measured=first.measured,
                expected=first.expected,
                fix=Fix(text=first.fix),
                location=first.location,
            )
        return Verdict(
            status=Status.PASS,
            message=f"{seen.rows} samples in {seen.batches} batches are finite and alike",
            measured=f"{seen.first}, finite",
            expected="finite",
        )
