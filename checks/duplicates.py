"""Do samples repeat, or stand in both training and validation data?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Repeats:
    """Samples read; validation samples that are in the training data; repeats within training
    data; inputs that occur with different labels."""

    training: int
    validation: int
    shared: int
    repeated: int
    conflicts: int
    twice: int = 0  # training samples that occur more than once
    location: Location | None = None  # the line that made the validation loader
    copies: int = 1  # how often the rarest training sample occurs in one reading
    workers: int = 0  # processes that each read the same stream (an IterableDataset)
    oversampled: bool = False  # what occurs more than once is one class, drawn again and again
    same_batch: bool = False  # every batch holds the samples of the first
    made: Location | None = None  # the line that makes the training samples
    windows: tuple[int, int] = (0, 0)  # validation windows, and those that training windows overlap
    split: Location | None = None  # the line that dealt the samples out


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Do samples repeat, or stand in both training and validation data?

    What it measures
    ----------------
    Each sample's bytes are hashed over the whole training and validation loaders.

    Why it matters
    --------------
    Validation samples that were trained on make the validation loss meaningless; equal inputs
    with different labels put a floor under the loss.

    How it decides
    --------------
    fail: of the validation samples, 5 % (and at least 5) more are also in the training data than
    one and a half times the share of training samples that occur there again, or at least 5 where
    what repeats is one class, drawn three times and more each; each worker of a stream yields all
    of it. warn: every batch holds the samples of the first; 5 % of the inputs occur with different
    labels; half of the validation samples are windows of a series (16 values and more) whose middle
    eight values stand in a training window.

    Cost
    ----
    No pass of the model; one pass over each loader.

    Known limits
    ------------
    Augmented copies are not recognised; inputs that hold less than eight numbers are not
    compared.

    Example
    -------
    `val = dataset[1000:1400]` where `train = dataset[:1400]`.

    Fix
    ---
    Split before you augment or oversample; split by index.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), become one with the data; Barz and
    Denzler 2020 (duplicates in CIFAR).
    """

    meta: ClassVar[Meta] = Meta(
        id="duplicates",
        stage="data",
        title="Training and validation data are apart",
        fail_title="Samples repeat where they should not",
        cost="0",
        preset="quick",
    )
    overlap: float = 0.05  # of the validation samples
    natural: float = 1.5  # times the share of training samples that occur again in the training
    least: int = 5  # validation samples
    windows: float = 0.5  # of the validation windows; a split by time leaves those at its border
    repeats: int = 2  # copies of every single sample in one reading
    enough: int = 64  # samples, before that says anything

    def measure(self, lab: Lab) -> Repeats:
        from ._overlap import see_repeats

        return see_repeats(lab)

    def judge(self, seen: Repeats) -> Verdict:
        share = seen.shared / max(seen.validation, 1)
        natural = seen.twice / max(seen.training, 1)
        conflict = seen.conflicts / max(seen.training, 1)
        status, fix = Status.PASS, ""
        message = f"{seen.shared} of {seen.validation} validation samples are in the training data"
        if share >= self.overlap + self.natural * natural and seen.shared >= self.least:
            status, fix = Status.FAIL, "split by index, before any sampling or augmentation"
        elif seen.oversampled and seen.shared >= self.least:
            status, fix = Status.FAIL, "split first, then oversample the training part alone"
            message += ": one class was copied before the split"
        elif (seen.same_batch or self._streams(seen)) and seen.training >= self.enough:
            return self._repeated(seen)
        elif seen.windows[1] >= max(self.windows * seen.windows[0], self.least):
            return self._overlapping(seen)
        elif conflict >= self.overlap:
            status, fix = Status.WARN, "check the labels of equal inputs"
            message = f"{seen.conflicts} of {seen.training} inputs occur with different labels"
        return Verdict(
            status=status,
            message=message,
            measured=f"{seen.shared} shared, {seen.repeated} repeated, {seen.conflicts} at odds",
            expected="none",
            fix=Fix(text=fix) if fix else None,
            location=seen.location if fix else None,
            values={"shared": share},
        )

    def _overlapping(self, seen: Repeats) -> Verdict:
        """Windows of one recording that were dealt out at random."""
        every, known = seen.windows
        return Verdict(
            status=Status.WARN,
            message=f"{known} of {every} validation samples overlap with training samples: windows "
            "of one series were split at random, so validation data were trained on in part",
            measured=f"{known} of {every} windows overlap",
            expected="those at the border of the split at most",
            fix=Fix(text="split the series first, by time or by recording, then cut windows"),
            location=seen.split,
            values={"windows": known / max(every, 1)},
        )

    def _streams(self, seen: Repeats) -> bool:
        return seen.workers >= self.repeats <= seen.copies and seen.copies % seen.workers == 0

    def _repeated(self, seen: Repeats) -> Verdict:
        """One reading that holds every sample several times: each worker reads the whole stream,
        or every batch is the same."""
        stream = self._streams(seen)
        distinct = seen.training - seen.repeated
        why, fix = (
            "every batch holds the same samples",
            "look at what is kept: a buffer that is filled anew needs a copy",
        )
        if stream:
            why = f"each of the {seen.workers} workers yields the whole stream"
            fix = "give each worker its part of the stream, by get_worker_info()"
        return Verdict(
            status=Status.FAIL if stream else Status.WARN,
            message=f"each of {distinct} distinct samples occurs {seen.copies} times or more in "
            f"one reading: {why}",
            measured=f"{seen.training} samples, {distinct} distinct",
            expected="every sample once",
            fix=Fix(text=fix),
            location=seen.made,
            values={"copies": float(seen.copies)},
        )
