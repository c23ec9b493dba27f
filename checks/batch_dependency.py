"""Do the samples of a batch stay apart?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Matrix, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Dependency:
    """Relative changes of outputs; `matrix[i][j]` is output i when sample j is replaced."""

    rows: int
    leak: float  # largest change of a row that was not replaced
    own: tuple[float, ...]  # change of each row when it was replaced
    permutation: float  # largest of f(Px) - P f(x)
    alone: float | None  # first sample alone against in the batch; None where it does not run
    alone_error: str
    matrix: tuple[tuple[float, ...], ...]
    location: Location | None
    op: str
    kind: str
    by_design: bool  # a normalisation layer keeps no running statistics
    has_statistics: bool
    passes: int
    alone_location: Location | None = None  # what treats a single sample differently
    by_choice: bool = False  # rows reach each other by what is chosen, by no value


@dataclass(frozen=True, kw_only=True)
class BatchDependency:
    """Tests that each output depends on its own sample and on no other.

    What it measures
    ----------------
    In evaluation mode, groups of samples are replaced by other samples, and the outputs of all
    samples that were not replaced are compared before and after. The groups are the bits of the
    sample's number and their complements, so every ordered pair is tested. The batch is also run
    in reverse order, and one sample alone.

    Why it matters
    --------------
    A view or transpose in the wrong place mixes samples without any error: the loss still falls,
    yet a prediction then depends on who shares the batch, and falls apart at batch size one.

    How it decides
    --------------
    Relative to the largest output. fail: an output that was not replaced changes by more than
    1e-5 (adaptive solvers reach 5e-7), or reversing the batch changes the outputs by more than
    1e-3. warn: a single sample gives another output, or another shape, than in the batch; the
    normalisation keeps no running statistics by choice; samples reach those after them by a choice
    alone (experts with a capacity), which a small change of a sample leaves as it is. Outputs that
    do not react to their own sample fail, also with slightly moved weights (zero-initialised heads
    are sound).

    Cost
    ----
    2·⌈log2 B⌉ forward passes over B = 13 samples and about 4 more; on a leak B + 3 more to draw
    the matrix and to name the line. No backward pass.

    Known limits
    ------------
    Losses may mix samples (contrastive learning); only the model's outputs are tested. Where no
    axis of the input or output is the batch (graphs, packed tokens), or the model refuses a batch
    of exchanged samples (lengths that must be sorted), the check is skipped.

    Example
    -------
    `x = x.transpose(0, 1).reshape(x.size(0), -1)` on a (batch, channel, …) tensor.

    Fix
    ---
    Reshape without touching axis 0 (`x.flatten(1)`); permute before view; batch_first=True.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "use backprop to chart dependencies";
    Karpathy, common mistakes (2018), item 6: view and permute.
    """

    meta: ClassVar[Meta] = Meta(
        id="batch-dependency",
        stage="skeleton",
        title="Samples of a batch stay apart",
        fail_title="Samples of one batch influence each other",
        cost="2·log2(B) + 4 F",
        after=("initial-loss",),
        group="dependencies",
    )
    tolerance: float = 1e-5  # relative change of an output that must not change (CHECKS: 1e-5)
    order_tolerance: float = 1e-3  # for sums in another order: float32 kernels differ by 1e-6

    def measure(self, lab: Lab) -> Dependency:
        from ._dependency import see_dependency

        return see_dependency(lab)

    def judge(self, seen: Dependency) -> Verdict:
        if seen.leak > self.tolerance:
            return self._leak(seen)
        if not any(change > 0 for change in seen.own):
            return self._deaf(seen)
        if seen.permutation > self.order_tolerance:
            return self._order(seen)
        if seen.alone is None or seen.alone > self.order_tolerance:
            return self._alone(seen) if seen.alone is not None or seen.alone_error else (
                self._clean(seen)
            )  # fmt: skip
        return self._clean(seen)

    def _clean(self, seen: Dependency) -> Verdict:
        return Verdict(
            status=Status.PASS,
            message="each output depends on its own sample only"
            + ("; batch normalisation mixes in training mode, by design" if seen.has_statistics
               else ""),
            measured=f"0 of {seen.rows * (seen.rows - 1)} pairs",
            expected="0",
            values={"leak": seen.leak, "passes": seen.passes},
            details=(_matrix(seen),),
        )  # fmt: skip

    def _leak(self, seen: Dependency) -> Verdict:
        cells = [(i, j, v) for i, row in enumerate(seen.matrix) for j, v in enumerate(row)]
        pairs = [(i, j) for i, j, value in cells if i != j and value > self.tolerance]
        total = len(seen.matrix) * (len(seen.matrix) - 1)
        count = f"{len(pairs)} of {total} pairs" if pairs else f"change {seen.leak:.1e}"
        return Verdict(
            status=Status.WARN if seen.by_design or seen.by_choice else Status.FAIL,
            message=f"replacing some samples changes the outputs of others ({count}"
            + (f"), first at {seen.op}" if seen.op else ")")
            + (": by a choice, such as a capacity that runs out" if seen.by_choice else ""),
            measured=f"{count} leak",
            expected="0",
            causes=_causes(seen),
            fix=_fix(seen),
            location=seen.location,
            values={"leak": seen.leak, "pairs": len(pairs)},
            details=(_matrix(seen),),
        )

    def _deaf(self, seen: Dependency) -> Verdict:
        return Verdict(
            status=Status.FAIL,
            message="the output is the same whatever the input: no row reacts to its own sample",
            measured=f"0 of {seen.rows} rows react",
            expected=f"{seen.rows}",
            causes=(
                Cause(title="the output does not depend on the input", state=CauseState.MATCHES,
                      evidence="also with slightly moved weights"),
            ),
            fix=Fix(text="follow the input through forward(): it is dropped, multiplied by zero, "
                    "or everything behind a dead layer is constant"),
            details=(_matrix(seen),),
        )  # fmt: skip

    def _order(self, seen: Dependency) -> Verdict:
        return Verdict(
            status=Status.FAIL,
            message="the output of a sample depends on its place in the batch: reversing the "
            f"batch changes the outputs by {seen.permutation:.1e}",
            measured=f"{seen.permutation:.1e}",
            expected=f"below {self.order_tolerance:g}",
            causes=(
                Cause(title="a position code or state runs along the batch axis",
                      state=CauseState.MATCHES, evidence="f(reversed x) is not reversed f(x)"),
            ),
            fix=Fix(text="index position codes by time (axis 1), not by sample (axis 0)"),
            location=seen.location,
            values={"permutation": seen.permutation},
            details=(_matrix(seen),),
        )  # fmt: skip

    def _alone(self, seen: Dependency) -> Verdict:
        how = seen.alone_error or f"its output changes by {seen.alone:.1e}"
        return Verdict(
            status=Status.WARN,
            message=f"a sample alone is treated differently from the same one in a batch: {how}",
            measured=how,
            expected="the same output",
            causes=(
                Cause(title="squeeze() without a dimension, or a batch size written down",
                      state=CauseState.MATCHES if seen.alone_error else CauseState.NOT_TESTED,
                      evidence=seen.alone_error),
            ),
            fix=Fix(text="name the axis: squeeze(1), view(x.size(0), …)"),
            location=seen.alone_location,
            details=(_matrix(seen),),
        )  # fmt: skip


def _causes(seen: Dependency) -> tuple[Cause, ...]:
    titles = {
        "layout": "a transpose, view or reshape moved the batch axis",
        "recurrent": "a recurrent layer runs over the batch axis (batch_first)",
        "attention": "attention runs over the batch axis (batch_first)",
        "softmax": "softmax over the batch axis (dim=0)",
        "statistics": "statistics over the batch axis inside forward()",
    }
    place = f"{seen.op} at {seen.location}" if seen.location else seen.op
    return tuple(
        Cause(
            title=title,
            state=_state(kind == seen.kind, seen),
            evidence=place if kind == seen.kind else "",
        )
        for kind, title in titles.items()
    )


def _state(matches: bool, seen: Dependency) -> CauseState:
    if matches:
        return CauseState.MATCHES
    return CauseState.RULED_OUT if seen.kind not in ("", "other") else CauseState.NOT_TESTED


def _fix(seen: Dependency) -> Fix:
    texts = {
        "layout": "reshape without moving axis 0: x.flatten(1), or permute before view",
        "recurrent": "make the layer with batch_first=True, or give it (time, batch, features)",
        "attention": "make the layer with batch_first=True, or give it (time, batch, features)",
        "softmax": "normalise over the class axis: dim=1 or dim=-1",
        "statistics": "take statistics over the features (dim=-1), or use batch normalisation, "
        "which has running statistics for evaluation",
    }
    text = texts.get(seen.kind, "look at the named line: axis 0 must stay the batch")
    return Fix(text=text)


def _matrix(seen: Dependency) -> Matrix:
    values = seen.matrix
    caption = "A cell off the diagonal means that output i reacts to sample j"
    if not values:
        shown = min(seen.rows, 32)
        values = tuple(
            tuple(seen.own[i] if i == j else 0.0 for j in range(shown)) for i in range(shown)
        )
        caption += "; there is none"
    return Matrix(
        title="Change of each output when one sample is replaced",
        x_label="sample replaced",
        y_label="output",
        values=values,
        caption=caption,
    )
