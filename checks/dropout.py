"""Is dropout moderate, and off in evaluation?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Dropping:
    """Dropout layers by name with their p; the relative difference of two evaluation passes; the
    functional dropout that was active, if one was, and the line."""

    rates: tuple[tuple[str, float], ...]
    noisy: float
    op: str
    location: Location | None
    stuck: str = ""  # what keeps a layer out of the mode that was asked for
    idle: tuple[str, ...] = ()  # dropout layers that train() leaves off though weights there train
    state: Location | None = None  # the line that draws a recurrent layer's first state


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Is dropout moderate, and off in evaluation?

    What it measures
    ----------------
    The probabilities of all dropout layers are read, and the model is run twice in evaluation
    mode with different seeds.

    Why it matters
    --------------
    In PyTorch p is the share that is dropped: 0.9 leaves a tenth of the signal. Dropout that
    stays on in evaluation makes predictions random.

    How it decides
    --------------
    fail: a functional dropout is active in evaluation mode, and two passes differ by more than
    1e-5, or layers with weights stay in training mode after model.eval() (an overridden eval() or
    train() that does not pass the mode on). warn: p of 0.8 or more; dropout that train() leaves
    off beside weights that train. Models that sample in evaluation without dropout (VAE) pass.

    Cost
    ----
    2 forward passes.

    Known limits
    ------------
    Models that sample on purpose in evaluation (Monte-Carlo dropout) are reported: suppress it.

    Example
    -------
    `F.dropout(x, 0.5)` without `training=self.training`.

    Fix
    ---
    Use nn.Dropout, or pass training=self.training; p is the probability to drop.

    Sources
    -------
    PyTorch documentation of torch.nn.functional.dropout; karpathy/nanoGPT issue 240.
    """

    meta: ClassVar[Meta] = Meta(
        id="dropout",
        stage="model",
        title="Dropout is moderate and off in evaluation",
        fail_title="Dropout is misused",
        cost="2 F",
        preset="quick",
    )
    tolerance: float = 1e-5  # relative difference of two passes; threads alone give 1e-7
    high: float = 0.8  # probability to drop; published networks use up to 0.5

    def measure(self, lab: Lab) -> Dropping:
        from ._dropping import see_dropping

        return see_dropping(lab)

    def judge(self, seen: Dropping) -> Verdict:
        if seen.stuck:
            return _stuck(seen)
        if seen.noisy > self.tolerance and seen.op:
            return Verdict(
                status=Status.FAIL,
                message="dropout stays on in evaluation mode: two passes of one input differ",
                measured=f"outputs differ by {seen.noisy:.1e}",
                expected="0",
                location=seen.location,
                fix=Fix(text="pass training=self.training to F.dropout, or use nn.Dropout"),
            )
        bad = [f"{name} (p = {p:g})" for name, p in seen.rates if p >= self.high]
        if bad:
            return Verdict(
                status=Status.WARN,
                message=f"{', '.join(bad)} drops most of its input: p is the probability to drop, "
                "not to keep",
                measured=bad[0],
                expected=f"below {self.high:g}",
                location=seen.location,
                fix=Fix(text="use a p of 0.1 to 0.5"),
            )
        if seen.idle:
            return _idle(seen)
        if seen.state is not None and seen.noisy > 0:  # long sequences forget it
            return _random_state(seen)
        if seen.noisy > self.tolerance:
            return Verdict(
                status=Status.PASS,
                message="the model samples in evaluation mode; no dropout is involved",
                measured=f"outputs differ by {seen.noisy:.1e}",
                expected="no active dropout",
            )
        return Verdict(
            status=Status.PASS,
            message="evaluation is deterministic",
            measured="two passes are equal",
            expected="equal",
        )


def _stuck(seen: Dropping) -> Verdict:
    return Verdict(
        status=Status.FAIL,
        message=f"model.eval() leaves layers in training mode: {seen.stuck}",
        measured=f"outputs differ by {seen.noisy:.1e}",
        expected="every layer in the mode that was asked for",
        causes=(Cause(title="train() or eval() does not pass the mode on",
                      state=CauseState.MATCHES, evidence=seen.stuck),),
        location=seen.location,
        fix=Fix(text="call super().train(mode) in an overridden train(), and no .train() in "
                "forward()"),
    )  # fmt: skip


def _idle(seen: Dropping) -> Verdict:
    names = ", ".join(seen.idle[:3])
    return Verdict(
        status=Status.WARN,
        message=f"model.train() leaves {names} in eval mode, though weights beside it train",
        measured=f"{len(seen.idle)} dropout layers are never active",
        expected="active in training",
        causes=(Cause(title="train() or eval() does not pass the mode on",
                      state=CauseState.MATCHES, evidence=names),),
        location=seen.location,
        fix=Fix(text="switch only what is frozen to eval mode"),
    )  # fmt: skip


def _random_state(seen: Dropping) -> Verdict:
    return Verdict(
        status=Status.WARN,
        message="a recurrent layer starts from noise, in evaluation mode too: two passes of one "
        f"input differ by {seen.noisy:.1e}",
        measured=f"outputs differ by {seen.noisy:.1e}",
        expected="a first state of zeros, or a parameter",
        causes=(Cause(title="the first hidden state is random", state=CauseState.MATCHES),),
        location=seen.state,
        fix=Fix(text="start from zeros: torch.zeros, or leave the state out"),
    )
