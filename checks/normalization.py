"""Do normalisation layers get statistics that they can work with?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Norm:
    """One batch-normalisation layer that trains. `positions` are the values a channel's
    statistics are taken over; `biased` names a layer before it whose bias it cancels."""

    name: str
    kind: str
    momentum: float | None
    positions: int
    biased: str


@dataclass(frozen=True)
class Problem:
    """Something that is normalised over the wrong values."""

    title: str
    text: str
    fix: str
    location: Location | None
    certain: bool


@dataclass(frozen=True)
class Norms:
    """The layers, the number of samples in a batch, and what is normalised over wrong values."""

    layers: tuple[Norm, ...]
    rows: int
    location: Location | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Do normalisation layers get statistics that they can work with?

    What it measures
    ----------------
    For each batch-normalisation layer in training mode: how many samples and positions its
    statistics are taken over, its momentum, and whether the layer before it has a bias, which it
    cancels. For layer, group and instance normalisation: over how many values. For attention: on
    which keys the weights lie, and over which axis they add up to one.

    Why it matters
    --------------
    Statistics over two samples are noise, and what was trained on them does not hold at
    evaluation; a momentum taken over from another framework keeps only the last batch.

    How it decides
    --------------
    warn: batches of at most 4 samples (the error of ResNets with batch normalisation rises by 10
    points from 32 to 2 samples); a momentum of 0.9 or more (torch counts the share of the new
    batch: Keras' 0.99 is 0.01 here) or of 0 with statistics that were never filled; an eps of 0.1
    or more; batch normalisation as the last step before a regression loss; a softmax over scores
    between activations whose weights are then summed over another axis. fail: a layer that
    normalises a single value, so that every output is its bias; attention that goes to padding
    alone (an inverted mask). A bias that is cancelled is only noted.

    Cost
    ----
    1 forward pass beside the shared trace.

    Known limits
    ------------
    Frozen layers and layers in eval mode are left out. Padding is told from the tokens: one that
    stands nowhere but at the ends of rows.

    Example
    -------
    `nn.BatchNorm2d(64, momentum=0.99)`.

    Fix
    ---
    GroupNorm or LayerNorm for small batches; momentum=0.1 or below.

    Sources
    -------
    Wu & He 2018, Group Normalization (figure 1); Ioffe & Szegedy 2015; PyTorch documentation of
    BatchNorm2d (momentum).
    """

    meta: ClassVar[Meta] = Meta(
        id="normalization",
        stage="model",
        title="Normalisation has enough samples",
        fail_title="Normalisation lacks samples",
        cost="1 F",
        preset="quick",
    )
    samples: int = 4  # in a batch (Wu & He 2018: 2 to 4 lose 3 to 10 points)
    momentum: float = 0.9  # share of the newest batch

    def measure(self, lab: Lab) -> Norms:
        from ._norms import see_norms

        return see_norms(lab)

    def judge(self, seen: Norms) -> Verdict:
        if seen.problems:
            return _wrong(seen)
        few = seen.rows <= self.samples
        fast = [n for n in seen.layers if n.momentum is not None and n.momentum >= self.momentum]
        noted = [n for n in seen.layers if n.biased]
        note = f"; the bias of {noted[0].biased} is cancelled by {noted[0].name}" if noted else ""
        text = f"{len(seen.layers)} layers over batches of {seen.rows}{note}"
        fix = ""
        if few:
            text = (
                f"batch normalisation takes its statistics over {seen.rows} samples: training is "
                "noisy and evaluation differs from it"
            )
            fix = "use larger batches, GroupNorm or LayerNorm"
        elif fast:
            text = (
                f"{fast[0].name} has momentum {fast[0].momentum:g}: running statistics are those "
                "of the last batch"
            )
            fix = "use momentum=0.1: torch counts the share of the new batch"
        return Verdict(
            status=Status.WARN if fix else Status.PASS,
            message=text,
            measured=f"{seen.rows} samples, momentum up to "
            f"{max((n.momentum or 0.0 for n in seen.layers), default=0.0):g}",
            expected=f"more than {self.samples} samples, momentum below {self.momentum:g}",
            causes=_causes(few, bool(fast)) if fix else (),
            fix=Fix(text=fix) if fix else None,
            location=seen.location if fix else None,
            values={"rows": seen.rows},
            details=(_table(seen),),
        )


def _wrong(seen: Norms) -> Verdict:
    first = min(seen.problems, key=lambda p: not p.certain)
    return Verdict(
        status=Status.FAIL if first.certain else Status.WARN,
        message="; ".join(dict.fromkeys(p.text for p in (first, *seen.problems))),
        measured=first.title,
        expected="each over the values that belong together",
        causes=tuple(
            Cause(title=title, state=CauseState.MATCHES)
            for title in dict.fromkeys(p.title for p in (first, *seen.problems))
        ),
        fix=Fix(text=first.fix),
        location=first.location,
        values={"rows": seen.rows},
        details=(_table(seen),) if seen.layers else (),
    )


def _causes(few: bool, fast: bool) -> tuple[Cause, ...]:
    return (
        Cause(title="batches are too small for batch normalisation", state=state_of(few)),
        Cause(title="momentum in the convention of another framework", state=state_of(fast)),
    )


def _table(seen: Norms) -> Table:
    return Table(
        title="Batch-normalisation layers",
        columns=("layer", "kind", "momentum", "values a channel", "bias it cancels"),
        rows=tuple((n.name, n.kind, n.momentum, n.positions, n.biased) for n in seen.layers[:40]),
    )
