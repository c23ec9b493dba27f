"""Are the inputs of a size that the first layer can work with?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Channel:
    """One channel or feature of the loader's inputs."""

    name: str
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Inputs:
    """Inputs as the loader yields them and as they reach the first weights."""

    mean: float  # of what reaches the first weights
    std: float
    raw_mean: float  # of what the loader yields
    raw_std: float
    low: float
    high: float
    images: bool
    channels: tuple[Channel, ...]  # the ones farthest from the rest, at most twelve
    spread: float  # largest against smallest deviation of a channel that varies
    validation: tuple[float, float] | None  # mean and deviation, None without such a loader
    location: Location | None
    reversed: float = 0.0  # validation channels: distance of means, and how the reverse order fits
    swapped: bool = False  # every column has |mean - 1| = deviation
    twice: Location | None = None  # where the same constants standardise once more

    @property
    def size(self) -> float:
        return max(abs(self.mean), self.std)


@dataclass(frozen=True, kw_only=True)
class InputScale:
    """Are the inputs of a size that the first layer can work with?

    What it measures
    ----------------
    Mean, standard deviation and range of each channel or feature over the whole loader, of the
    validation loader, and of the tensor that reaches the first weights: a model that divides by
    255 itself is judged after the division.

    Why it matters
    --------------
    Initialisations assume inputs of unit size. Pixels left in 0..255 start with a loss of many
    times chance, and validation data scaled in another way makes a good model look bad.

    How it decides
    --------------
    fail: the validation inputs have five times the deviation of the training inputs (or a fifth),
    or a mean more than three deviations away: another preprocessing. warn: twice, or one deviation;
    what reaches the first weights has a mean or deviation above 10 (a standardised table has 1,
    raw digits of 0..16 have 6, raw pixels 70) or below 0.01 (scaled twice); one channel of an image
    or one column of a table varies 20 or 10,000 times less than another; the means of the
    validation images' channels are 0.2 deviations off, but fit (to a quarter of that) in the
    reverse order; |mean - 1| is the deviation in every column (to 3 %, three columns at least
    whose deviation is not 1; to two standard errors where there are six): mean and deviation were
    swapped; the source subtracts and divides by the same two constants twice on the way to the
    inputs, which have not mean 0 and deviation 1.

    Cost
    ----
    None of its own: the shared reading of the data and the shared trace.

    Known limits
    ------------
    Token ids and graphs without float features are skipped. Constant features are not judged:
    corners of digits are constant and harmless.

    Example
    -------
    `torchvision`-style constants (0.485, 0.229) applied to pixels in 0..255 give -2 to 1100.

    Fix
    ---
    Subtract the mean and divide by the deviation of the training data, in both loaders.

    Sources
    -------
    LeCun et al. 1998, Efficient BackProp (normalising the inputs); Karpathy, A Recipe for Training
    Neural Networks (2019); toandaominh1997/EfficientDet.Pytorch issue 137.
    """

    meta: ClassVar[Meta] = Meta(
        id="input-scale",
        stage="data",
        title="Inputs are scaled",
        fail_title="Inputs are not scaled",
        cost="0 (shared)",
        after=("batch-contract", "label-range"),
        preset="quick",
    )
    largest: float = 10.0  # mean or deviation at the first weights
    smallest: float = 0.01  # likewise; columns of unit norm (scikit-learn's diabetes) have 0.048
    channels: float = 20.0  # ratio of deviations between image channels
    columns: float = 1e4  # likewise between columns of a table; rare one-hot columns reach 300
    channel_shift: float = 0.2  # training deviations between the means of a colour channel
    shifted: float = 1.0  # training deviations between the means of both loaders: warn
    apart: float = 3.0  # likewise: fail

    def measure(self, lab: Lab) -> Inputs:
        from ._input_scale import see_inputs

        return see_inputs(lab)

    def judge(self, seen: Inputs) -> Verdict:
        status, message, fix = self._decide(seen)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=message,
            measured=f"mean {seen.mean:.3g}, standard deviation {seen.std:.3g}",
            expected="about 0 and 1",
            causes=self._causes(seen) if bad else (),
            fix=Fix(text=fix) if fix else None,
            location=self._place(seen) if bad else None,
            values={"mean": seen.mean, "std": seen.std},
            details=(_table(seen),),
        )

    def _decide(self, seen: Inputs) -> tuple[Status, str, str]:
        shift = self.validation_shift(seen)
        if shift is not None:
            return shift
        if seen.reversed >= self.channel_shift:
            return (
                Status.WARN,
                "the channels of the validation images are in another order: their means differ "
                f"by {seen.reversed:.2g} deviations, and fit when read backwards (BGR for RGB)",
                "read training and validation images with the same channel order",
            )
        if seen.swapped:
            return (
                Status.WARN,
                "mean and deviation were swapped when the inputs were standardised: in every "
                "column |mean - 1| is the deviation, as (x - std) / mean makes it",
                "subtract the mean, and divide by the deviation",
            )
        if seen.twice is not None:
            said = f"they have mean {seen.raw_mean:.2g} and standard deviation {seen.raw_std:.2g}"
            twice = f"the inputs are standardised twice with the same constants: {said}"
            return Status.WARN, twice, "standardise the inputs once"
        if seen.size > self.largest:
            return Status.WARN, _too_large(seen), _scaling(seen)
        if seen.size < self.smallest:
            return (
                Status.WARN,
                f"the inputs reach the first weights with standard deviation {seen.std:.2g} around "
                f"{seen.mean:.2g}: they were scaled twice",
                "scale the inputs once",
            )
        if seen.spread > (self.channels if seen.images else self.columns):
            return (
                Status.WARN,
                f"one {'channel' if seen.images else 'feature'} varies {seen.spread:.3g} times as "
                f"much as another ({seen.channels[0].name})",
                "standardise each one by its own mean and deviation",
            )
        return Status.PASS, f"inputs have mean {seen.mean:.2g} and deviation {seen.std:.2g}", ""

    def _place(self, seen: Inputs) -> Location | None:
        other = self.validation_shift(seen) or seen.reversed >= self.channel_shift or seen.swapped
        return seen.location if other else seen.twice or seen.location

    def validation_shift(self, seen: Inputs) -> tuple[Status, str, str] | None:
        """Status, message and fix where both loaders scale differently."""
        if seen.validation is None:
            return None
        mean, std = seen.validation
        small = 1e-12
        ratio = max(std, small) / max(seen.raw_std, small)
        distance = abs(mean - seen.raw_mean) / max(seen.raw_std, small)
        if 0.5 <= ratio <= 2 and distance <= self.shifted:
            return None
        far = ratio > 5 or ratio < 0.2 or distance > self.apart
        return (
            Status.FAIL if far else Status.WARN,
            f"validation inputs are scaled differently: mean {mean:.3g} and deviation {std:.3g}, "
            f"training {seen.raw_mean:.3g} and {seen.raw_std:.3g}",
            "apply the same preprocessing, with the training data's constants, in both loaders",
        )

    def _causes(self, seen: Inputs) -> tuple[Cause, ...]:
        pixels = seen.images and 20 < seen.high <= 255 and seen.low >= 0
        mixed = seen.images and seen.high > 255
        return (
            Cause(
                title="pixels were left in 0..255",
                state=state_of(pixels),
                evidence=f"values from {seen.low:.3g} to {seen.high:.3g}",
            ),
            Cause(
                title="constants for 0..1 were applied to values of 0..255",
                state=state_of(mixed),
                evidence=f"values from {seen.low:.3g} to {seen.high:.3g}",
            ),
            Cause(
                title="validation data is preprocessed differently from training data",
                state=state_of(self.validation_shift(seen) is not None)
                if seen.validation
                else CauseState.NOT_TESTED,
            ),
            Cause(
                title="channels in another order (BGR for RGB)",
                state=state_of(seen.reversed >= self.channel_shift),
            ),
            Cause(title="mean and deviation were swapped", state=state_of(seen.swapped)),
        )


def _too_large(seen: Inputs) -> str:
    size = f"mean {seen.mean:.3g} and standard deviation {seen.std:.3g} reach the first weights"
    return f"the inputs are not scaled: {size} (values from {seen.low:.3g} to {seen.high:.3g})"


def _scaling(seen: Inputs) -> str:
    if seen.images and seen.low >= 0 and seen.high <= 255:
        return "divide the pixels by 255, then subtract their mean and divide by their deviation"
    if seen.images and seen.high > 255:
        return "divide by 255 before the constants that are meant for 0..1"
    return "subtract each feature's mean and divide by its deviation (of the training data)"


def _table(seen: Inputs) -> Table:
    return Table(
        title="Inputs over the whole loader",
        columns=("channel", "mean", "std", "minimum", "maximum"),
        rows=tuple((c.name, c.mean, c.std, c.low, c.high) for c in seen.channels),
        caption="The channels or features with the largest deviation first, at most twelve",
    )
