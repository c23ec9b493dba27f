"""Are the pixels of images where a convolution expects them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab

    from ._moved_axes import Moved


@dataclass(frozen=True)
class Layout:
    """Roughness of the images that reach the first weights: the mean squared difference between
    neighbouring pixels, in units of the variance; as they are, and with each image's numbers read
    as height x width x channel."""

    shape: tuple[int, ...]
    rough: float
    other: float
    location: Location | None
    last: bool = False  # a convolution gets [height, width, channel]
    moved: Moved | None = None  # a view inside the model that moves an axis
    width: int = 0  # another row length, at which pictures of one channel are smooth

    @property
    def ratio(self) -> float:
        return self.other / max(self.rough, 1e-12)


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """Are the pixels of images where a convolution expects them?

    What it measures
    ----------------
    The roughness of the images that reach the first weights, as [channel, height, width], against
    the same numbers read as [height, width, channel]; and views inside the model after which an
    axis stands at another place.

    Why it matters
    --------------
    `view` or `reshape` where `permute` was meant leaves the shape right and scrambles every
    picture: a convolution then looks at neighbours that are none.

    How it decides
    --------------
    fail: read as height x width x channel the images are at most half as rough, over at least 8
    images that vary: they are stored in that order. Sound images measure 1.5 to 8 (reading them
    that way makes them rougher), noise measures 1. warn: at most 0.8; a convolution gets squares of
    as many channels as rows that are three or four numbers wide, and smooth along the channels;
    images of one channel are at most half as rough from row to row when cut into rows of another
    length, and at lengths two off that one they are not.

    Cost
    ----
    None of its own: the shared trace.

    Known limits
    ------------
    Needs one to four channels.

    Example
    -------
    `x.view(-1, 3, 32, 32)` on a batch of shape (B, 32, 32, 3).

    Fix
    ---
    `x.permute(0, 3, 1, 2)`.

    Sources
    -------
    Karpathy's list of common mistakes (2018), item 6: view() and permute() are not the same;
    vitrioil/Speech-Separation issue 4.
    """

    meta: ClassVar[Meta] = Meta(
        id="image-layout",
        stage="data",
        title="Pixels are in order",
        fail_title="Pixels are scrambled",
        cost="1 F",
        after=("batch-contract", "label-range"),
        preset="quick",
    )
    scrambled: float = 0.5  # ratio of roughness
    suspicious: float = 0.8  # noise measures 1

    def measure(self, lab: Lab) -> Layout:
        from ._layout import see_layout

        return see_layout(lab)

    def judge(self, seen: Layout) -> Verdict:
        if seen.last:
            return _channels_last(seen)
        if seen.moved is not None and (not seen.shape or seen.ratio > self.suspicious):
            return _moved(seen.moved)
        if seen.width:
            return _cut_elsewhere(seen)
        status = Status.PASS
        if seen.ratio <= self.suspicious:
            status = Status.FAIL if seen.ratio <= self.scrambled else Status.WARN
        bad = status is not Status.PASS
        _, channels, height, width = seen.shape
        return Verdict(
            status=status,
            message=f"the images are scrambled: read as ({height}, {width}, {channels}) they are "
            f"{1 / max(seen.ratio, 1e-9):.2g} times smoother than as ({channels}, {height}, "
            f"{width})"
            if bad
            else f"images of {channels} x {height} x {width} are smoothest as they are",
            measured=f"{seen.ratio:.2g} of the roughness in the other order",
            expected="above 1",
            causes=(
                Cause(
                    title="view or reshape instead of permute",
                    state=CauseState.MATCHES,
                    evidence=f"roughness {seen.rough:.3g}, in the other order {seen.other:.3g}",
                ),
            )
            if bad
            else (),
            fix=Fix(text="use permute(0, 3, 1, 2), not view or reshape, to move the channels")
            if bad
            else None,
            location=seen.location if bad else None,
            values={"ratio": seen.ratio},
        )


def _channels_last(seen: Layout) -> Verdict:
    _, height, width, channels = seen.shape
    return Verdict(
        status=Status.WARN,
        message=f"the convolution takes the {height} rows of the images for channels: they come as "
        f"({height}, {width}, {channels}), with the channels last",
        measured=f"({height}, {width}, {channels})",
        expected=f"({channels}, {height}, {width})",
        causes=(Cause(title="channels last in front of a convolution", state=CauseState.MATCHES),),
        fix=Fix(text="use permute(0, 3, 1, 2), and in_channels of the number of colours"),
        location=seen.location,
    )


def _cut_elsewhere(seen: Layout) -> Verdict:
    return Verdict(
        status=Status.WARN,
        message=f"the images are scrambled: cut into rows of {seen.width} pixels, not "
        f"{seen.shape[3]}, they are {1 / max(seen.ratio, 1e-9):.2g} times smoother",
        measured=f"rows of {seen.shape[3]}, smooth in rows of {seen.width}",
        expected="neighbours in the picture are neighbours in the tensor",
        causes=(Cause(title="resized or reshaped without the rows", state=CauseState.MATCHES),),
        fix=Fix(text="interpolate images (F.interpolate, cv2.resize); np.resize, reshape and view "
                "only cut the same numbers into other rows"),
        location=seen.location,
        values={"ratio": seen.ratio},
    )  # fmt: skip


def _moved(moved: Moved) -> Verdict:
    change = f"{moved.before} to {moved.after}"
    return Verdict(
        status=Status.WARN,
        message=f"{moved.op} takes {change}: the axis of {moved.size} is elsewhere, but the "
        "numbers stay in their order, so that what belonged together no longer does",
        measured=change,
        expected="axes moved by transpose or permute",
        causes=(Cause(title="view or reshape instead of permute", state=CauseState.MATCHES),),
        fix=Fix(text="move the axis with transpose or permute, then split or merge with reshape"),
        location=moved.location,
    )
