"""How large a batch fits, how fast is each size, and does the loader keep up?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Line, Meta, Series, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Size:
    """One batch size: seconds of a training step and peak memory in bytes (0 where unknown)."""

    rows: int
    seconds: float
    memory: int

    @property
    def speed(self) -> float:
        """Samples a second."""
        return self.rows / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Sizes:
    """All sizes that ran, the first being the user's; `limit` is the one that ran out of memory."""

    sizes: tuple[Size, ...]
    limit: int | None
    loading: float  # seconds that the loader takes for a batch

    @property
    def waiting(self) -> float:
        """Share of the time that a training would wait for the loader."""
        return self.loading / max(self.loading + self.sizes[0].seconds, 1e-9)


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """How large a batch fits, how fast is each size, and does the loader keep up?

    What it measures
    ----------------
    Training steps on a copy at the user's batch size and at its doubles (up to 16 times, rows
    repeated), timed, with the peak memory on a GPU; an out-of-memory ends the series and is caught.
    The loader's time for a batch is taken from a fresh reading.

    Why it matters
    --------------
    A loader that is slower than the model leaves the accelerator idle; a batch that is larger costs
    nothing where the device was not busy.

    How it decides
    --------------
    warn: the loader takes more than 80 % of the time of a step with it, and at least 20 ms a batch.

    Cost
    ----
    Up to 15 training steps, at most 20 seconds (preset thorough).

    Known limits
    ------------
    Loaders with several workers overlap with the model: only what they cannot hide counts.

    Example
    -------
    Decoding large images in the training process.

    Fix
    ---
    num_workers, pin_memory, or data decoded beforehand.

    Sources
    -------
    Google, Deep Learning Tuning Playbook, choosing the batch size; PyTorch performance tuning
    guide.
    """

    meta: ClassVar[Meta] = Meta(
        id="batch-size",
        stage="training",
        severity="warning",
        title="The loader keeps up",
        fail_title="The loader does not keep up",
        cost="15 S",
        preset="thorough",
    )
    waiting: float = 0.8  # share of the time spent on loading
    least: float = 0.02  # seconds a batch: below, tiny models on small data look bound

    def measure(self, lab: Lab) -> Sizes:
        from ._sizes import see_sizes

        return see_sizes(lab)

    def judge(self, seen: Sizes) -> Verdict:
        bad = seen.waiting > self.waiting and seen.loading >= self.least
        best = max(seen.sizes, key=lambda size: size.speed)
        own = seen.sizes[0]
        limit = f"; {seen.limit} does not fit into memory" if seen.limit else ""
        text = (
            f"{own.speed:,.0f} samples/s at batch {own.rows}, most ({best.speed:,.0f}) at "
            f"{best.rows}{limit}"
        )
        if bad:
            text = f"training waits for the loader {seen.waiting:.0%} of the time; {text}"
        return Verdict(
            status=Status.WARN if bad else Status.PASS,
            message=text,
            measured=f"{seen.waiting:.0%} of the time in the loader",
            expected=f"below {self.waiting:.0%}",
            causes=(
                Cause(
                    title="the data loader is slower than the model",
                    state=CauseState.MATCHES,
                    evidence=f"{1e3 * seen.loading:.3g} ms a batch, a step takes "
                    f"{1e3 * own.seconds:.3g} ms",
                ),
            )
            if bad
            else (),
            fix=Fix(text="raise num_workers, or decode the data beforehand") if bad else None,
            values={"waiting": seen.waiting, "speed": own.speed},
            details=(_table(seen), _plot(seen)),
        )


def _table(seen: Sizes) -> Table:
    return Table(
        title="Batch sizes",
        columns=("samples", "step in ms", "samples/s", "peak memory in MiB"),
        rows=tuple(
            (s.rows, 1e3 * s.seconds, s.speed, s.memory / 2**20 if s.memory else None)
            for s in seen.sizes
        ),
    )


def _plot(seen: Sizes) -> Series:
    return Series(
        title="Throughput by batch size",
        x_label="samples in a batch",
        y_label="samples/s",
        lines=(
            Line(
                name="throughput",
                x=tuple(float(s.rows) for s in seen.sizes),
                y=tuple(s.speed for s in seen.sizes),
            ),
        ),
    )
