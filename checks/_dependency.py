"""The measurement of `batch-dependency`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from ._calls import NOISE_SEED, forward_leaves, take
from ._mixing import ORDERED, Op, mixing_op, ordering_op
from ._nudged import by_choice
from ._rows import TOLERANCE, Rows, batch_statistics_in_eval, change_of, find_rows, groups, jitter
from .batch_dependency import Dependency

if TYPE_CHECKING:
    from recipe_check import Lab

Matrix = tuple[tuple[float, ...], ...]
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell")
_ATTENTION = ("multi_head_attention_forward", "scaled_dot_product_attention",
              "_transformer_encoder_layer_fwd")  # fmt: skip


def see_dependency(lab: Lab) -> Dependency:
    """Replaces groups of rows, permutes the batch and runs one sample alone."""
    rig = lab.rig().eval()
    rows = find_rows(lab, rig)
    base = rows.by_row(rows.seen)
    own, leak, worst = _replace_groups(rows, base)
    if not any(own) and not leak:
        jitter(rig)
        base = rows.outputs(rows.batch)
        own, leak, worst = _replace_groups(rows, base)
    shuffled, alone = _permutation_error(rows, base), _alone(rows, base)
    differs = shuffled > TOLERANCE or alone.error is None or alone.error > TOLERANCE
    if differs and _is_noisy(rows, base):
        shuffled, alone = 0.0, Alone(None)
    matrix, op = _closer_look(rows, base, worst if leak > TOLERANCE else [])
    if op is None and shuffled > ORDERED:
        op = ordering_op(rows, torch.arange(rows.axes.rows).flip(0))
    return Dependency(
        rows=rows.axes.rows,
        leak=leak,
        own=tuple(own),
        permutation=shuffled,
        alone=alone.error,
        alone_error=alone.text,
        alone_location=alone.location,
        matrix=matrix,
        location=op.location if op else None,
        op=op.name if op else "",
        kind=_kind(op),
        by_design=batch_statistics_in_eval(rig.model),
        by_choice=leak > TOLERANCE and _in_turn(matrix) and by_choice(rows, base, worst),
        has_statistics=any("running_mean" in name for name, _ in rig.model.named_buffers()),
        passes=len(groups(rows.axes.rows)),
    )


def _replace_groups(rows: Rows, base: list[torch.Tensor]) -> tuple[list[float], float, list[int]]:
    """Own reaction of each row, the largest reaction of rows not replaced, and its group."""
    own = [0.0] * rows.axes.rows
    leak, worst = 0.0, []
    for group in groups(rows.axes.rows):
        try:
            after = rows.outputs(rows.replaced(group))
        except UserCodeError as error:  # lengths that must be sorted, ids that must be there
            raise NotApplicable(
                f"the model refuses a batch of exchanged samples: {error}"
            ) from error
        change = change_of(base, after)
        for row in group:
            own[row] = max(own[row], change[row])
        outside = max((change[r] for r in range(rows.axes.rows) if r not in group), default=0.0)
        if outside > leak:
            leak, worst = outside, group
    return own, leak, worst


def _is_noisy(rows: Rows, base: list[torch.Tensor]) -> bool:
    """Whether the output is random in evaluation mode: then rows cannot be compared in order."""
    again = rows.outputs(rows.batch, NOISE_SEED + 1)
    return max(change_of(base, again)) > TOLERANCE


def _permutation_error(rows: Rows, base: list[torch.Tensor]) -> float:
    """How far f(Px) is from P f(x), relative; a position code along the batch shows here."""
    order = torch.arange(rows.axes.rows).flip(0)
    try:
        after = rows.outputs(rows.permuted(order))
    except UserCodeError:  # its rows must be in this order: nothing is known of another
        return 0.0
    device = after[0].device
    return max(change_of([o[order.to(device)] for o in base], after))


@dataclass(frozen=True)
class Alone:
    """The first sample alone: how far its output is from its output in the batch (None where it
    does not run or has another shape), the text of that, and the line to blame."""

    error: float | None
    text: str = ""
    location: Location | None = None


class _Squeezes:
    """Remembers the user's last squeeze that removed an axis of size one."""

    def __init__(self) -> None:
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if op_name(func) in ("squeeze", "squeeze_") and out.ndim < args[0].ndim:
            self.location = caller_location("squeeze")


def _alone(rows: Rows, base: list[torch.Tensor]) -> Alone:
    """Runs the first sample alone. One forward pass."""
    single = take(rows.batch, rows.axes.inputs, torch.arange(1))
    squeezes = _Squeezes()
    try:
        with rows.rig.stack().following(), Watch(squeezes):
            found = forward_leaves(rows.rig, rows.call, single)
    except UserCodeError as error:
        where = Location(file=error.file, line=error.line) if error.file else None
        return Alone(None, str(error), where)
    worst = 0.0
    for expected, (place, axis) in zip(base, rows.axes.outputs.items(), strict=True):
        if place >= len(found) or found[place].ndim <= axis or found[place].shape[axis] != 1:
            shape = tuple(found[place].shape) if place < len(found) else ()
            text = f"the output of a single sample has shape {shape}"
            return Alone(None, text, squeezes.location)
        alone = found[place].movedim(axis, 0).reshape(1, -1)
        if alone.shape[1] == expected.shape[1]:
            worst = max(worst, *change_of([expected[:1]], [alone]))
    return Alone(worst)


def _closer_look(
    rows: Rows, base: list[torch.Tensor], group: list[int]
) -> tuple[Matrix, Op | None]:
    """Row by row, and the operation to blame; without a leak nothing more is run."""
    count = rows.axes.rows
    if not group:
        return (), None
    shown = min(count, 32)
    columns = [change_of(base, rows.outputs(rows.replaced([row]))) for row in range(shown)]
    matrix = tuple(tuple(columns[j][i] for j in range(shown)) for i in range(shown))
    return matrix, mixing_op(rows, group)


def _in_turn(matrix: Matrix) -> bool:
    """Whether samples only reach those after them: first come, first served."""
    return not any(value > TOLERANCE for i, row in enumerate(matrix) for value in row[i + 1 :])


def _kind(op: Op | None) -> str:
    """What sort of operation mixed the rows."""
    if op is None:
        return ""
    if op.name in _RECURRENT:
        return "recurrent"
    if op.name in _ATTENTION:
        return "attention"
    if op.name in ("softmax", "log_softmax"):
        return "softmax"
    if op.name in ("batch_norm", "mean", "std", "var", "sum", "norm", "max", "min", "amax",
                   "amin", "cumsum", "sort", "var_mean", "std_mean", "median"):  # fmt: skip
        return "statistics"
    if op.name in ("view", "reshape", "flatten", "transpose", "permute", "movedim", "T", "roll",
                   "flip", "cat", "stack", "unflatten", "swapaxes"):  # fmt: skip
        return "layout"
    return "other"
