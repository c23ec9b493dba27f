"""Does the same index give the same label, and an augmentation that leaves the signal?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Fetches:
    """The same samples fetched several times.

    `flipped` counts samples whose label changed while their input did not; `changing` those whose
    input changed. `noise` is the share of the inputs' variance that differs between two fetches of
    the same sample. `twins` is whether copies of the data set, as workers hold them, draw the same
    augmentations (None where it was not tested).
    """

    samples: int
    flipped: int
    changing: int
    noise: float
    labels_kept: bool
    twins: bool | None
    workers: int
    location: Location | None = None  # where the data set draws at random
    drifting: bool = False  # each fetch changes what is stored a little more
    turned: int = 0  # images that were flipped or turned without their masks
    swapped: bool = False  # inputs are drawn from other samples, labels are not
    validation: int = 0  # validation samples whose input changes
    validation_location: Location | None = None


@dataclass(frozen=True, kw_only=True)
class LoaderDeterminism:
    """Does the same index give the same label, and an augmentation that leaves the signal?

    What it measures
    ----------------
    Up to 32 samples of the data set are fetched three times with different seeds: labels and
    inputs are compared. Where the loader has two or more workers, two copies of the data set are
    fetched from as two workers would.

    Why it matters
    --------------
    A label that changes cannot be learned; augmentation that buries the signal in noise leaves
    nothing to learn; workers that draw the same random numbers halve the augmentation.

    How it decides
    --------------
    fail: a class label changes while its input stays bit-identical; at least eight samples are
    changed further in the same direction by each fetch (cosine of 0.9 and more; noise that is drawn
    anew has -0.5); an image comes flipped or turned by 90 degrees with the mask that it had before;
    all inputs change, the labels do not, and 20 % of the inputs of one reading occur with several
    labels. warn: validation inputs change between fetches as the training inputs do, by a switch
    that the data set has or the training data's own transform; with unchanged class
    labels, at least 93 % of the inputs' variance differs between two fetches of the same sample
    (noise of 3.6 times the signal; strong random crops keep 10 % and more), and as much of the
    variance of their spectra and sorted values, which clips of a recording and points of a cloud
    keep; copies of the data set draw the same augmentations under different seeds.

    Cost
    ----
    No pass of the model; 96 samples are fetched, and 64 of the validation data.

    Known limits
    ------------
    Needs a map-style data set behind a DataLoader. Labels that change together with their input
    (rotation prediction, mixup, masked tokens) are a task, not a defect.

    Example
    -------
    `x + 10 * torch.randn_like(x)` as augmentation; `self.rng = np.random.RandomState(0)` in a data
    set that several workers copy.

    Fix
    ---
    Make the label a function of the index; weaken the augmentation; draw from torch's generator,
    which workers seed apart.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "fix random seed", data augmentation;
    PyTorch documentation, randomness in multi-process data loading.
    """

    meta: ClassVar[Meta] = Meta(
        id="loader-determinism",
        stage="data",
        title="The same index gives the same sample",
        fail_title="The same index gives another label",
        cost="0",
        after=("label-range",),
        preset="quick",
    )
    noise: float = 0.93  # share of variance that is redrawn at each fetch

    def measure(self, lab: Lab) -> Fetches:
        from ._fetches import see_fetches

        return see_fetches(lab)

    def judge(self, seen: Fetches) -> Verdict:
        status, message, fix = self._decide(seen)
        return Verdict(
            status=status,
            message=message,
            measured=f"{seen.flipped} labels changed, {seen.noise:.0%} of the input redrawn",
            expected=f"0 labels, below {self.noise:.0%}",
            causes=self._causes(seen) if status is not Status.PASS else (),
            fix=Fix(text=fix) if fix else None,
            location=self._place(seen) if fix else None,
            values={"flipped": seen.flipped, "noise": seen.noise},
        )

    def _decide(self, seen: Fetches) -> tuple[Status, str, str]:
        if seen.flipped:
            return (
                Status.FAIL,
                f"{seen.flipped} of {seen.samples} samples change their label between two fetches "
                "while their input stays the same",
                "make the label a function of the index: draw nothing at random for it",
            )
        certain = self._certain(seen)
        if certain is not None:
            return Status.FAIL, *certain
        if seen.labels_kept and seen.noise >= self.noise:
            return (
                Status.WARN,
                f"augmentation redraws {seen.noise:.0%} of the inputs' variance at every fetch: "
                "little of the sample is left",
                "weaken the augmentation until a person can still tell the class",
            )
        if seen.twins:
            return (
                Status.WARN,
                f"the {seen.workers} workers draw the same augmentations: each copy of the data "
                "set holds its own random generator in the same state",
                "draw from torch's global generator, or seed your own in worker_init_fn",
            )
        if self._augments_validation(seen):
            return (
                Status.WARN,
                f"{seen.validation} of the validation samples change from fetch to fetch: they are "
                "augmented at random as the training samples are",
                "give the validation data set a transform without randomness",
            )
        how = f"{seen.changing} of them augmented" if seen.changing else "bit-identical"
        return Status.PASS, f"{seen.samples} samples fetched three times, {how}", ""

    def _certain(self, seen: Fetches) -> tuple[str, str] | None:
        """Message and fix of what no augmentation does."""
        if seen.drifting:
            return (
                f"the data set changes its own samples: {seen.changing} of {seen.samples} are "
                "changed further, in the same direction, by each fetch (a transform in place)",
                "write x = x - mean, not x -= mean: the data set keeps what is changed in place",
            )
        if seen.turned:
            return (
                f"{seen.turned} images were flipped or turned by the augmentation, but their mask, "
                "the target, stayed as it was",
                "apply the same random flip to image and mask",
            )
        if seen.swapped:
            return (
                f"all of {seen.samples} samples get another input at each fetch and keep their "
                "label, and inputs occur with several labels: the input is that of a random sample",
                "look the input up by the index that is asked for",
            )
        return None

    def _augments_validation(self, seen: Fetches) -> bool:
        return seen.validation > 0 and seen.changing > 0 and not self._certain(seen)

    def _place(self, seen: Fetches) -> Location | None:
        problem = seen.flipped or self._certain(seen) or seen.twins
        noisy = seen.labels_kept and seen.noise >= self.noise
        validation = self._augments_validation(seen) and not problem and not noisy
        return seen.validation_location if validation else seen.location

    def _causes(self, seen: Fetches) -> tuple[Cause, ...]:
        return (
            Cause(title="labels are drawn at random", state=state_of(seen.flipped > 0)),
            Cause(title="samples are changed in place", state=state_of(seen.drifting)),
            Cause(title="images are turned without masks", state=state_of(seen.turned > 0)),
            Cause(title="inputs of other samples", state=state_of(seen.swapped)),
            Cause(
                title="validation data are augmented",
                state=state_of(self._augments_validation(seen)),
            ),
            Cause(
                title="augmentation destroys the signal",
                state=state_of(
                    seen.labels_kept and seen.noise >= self.noise and not self._certain(seen)
                ),
                evidence=f"{seen.noise:.1%} of the variance",
            ),
            Cause(
                title="workers share one random state",
                state=CauseState.NOT_TESTED if seen.twins is None else state_of(seen.twins),
            ),
        )
