"""What the prediction went through right before the loss, by autograd graph, with the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, LossTerm, Watch, op_name
from recipe_check.results import Location
from recipe_check.userframes import caller_location

if TYPE_CHECKING:
    from recipe_check import Lab

_VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Permute", "Alias", "Clone",
          "Slice", "Select", "Expand", "Contiguous", "T", "ToCopy")  # fmt: skip
_SQUASHING = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Relu": "relu", "Tanh": "tanh",
              "LogSoftmax": "log_softmax"}  # fmt: skip
# Which operations right before a loss contradict what the loss documents. log_softmax before
# cross_entropy is idempotent: harmless. tanh is a choice of range.
WRONG: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": ("softmax", "sigmoid", "relu"),
    "binary_cross_entropy_with_logits": ("softmax", "sigmoid", "relu"),
    "nll_loss": ("softmax", "sigmoid", "relu"),
    "binary_cross_entropy": ("relu",),
    "multi_margin_loss": ("softmax",),
    "kl_div": ("softmax", "sigmoid"),
}


@dataclass(frozen=True)
class Origin:
    """The operation that made a prediction, '' where none of the squashing kind did."""

    op: str
    location: Location | None
    axis: int | None
    shape: tuple[int, ...]  # of its result
    label_counts: tuple[int, ...]
    loss: float  # of the whole step


@dataclass(frozen=True)
class LossInput:
    """`op` is the operation that contradicts the loss, '' where there is none."""

    kind: str
    op: str
    location: Location | None
    why: str


class _Squashes:
    """Remembers line and axis of each squashing operation by the graph node that it made."""

    def __init__(self) -> None:
        self.seen: dict[Any, tuple[Location | None, int | None, tuple[int, ...]]] = {}

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if not isinstance(out, torch.Tensor) or out.grad_fn is None:
            return
        name = op_name(func).rstrip("_")
        if name in _SQUASHING.values():
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            axis = axis % out.ndim if isinstance(axis, int) and out.ndim else None
            self.seen[out.grad_fn] = (caller_location(name), axis, tuple(out.shape))


def origins(lab: Lab) -> list[tuple[LossTerm, Origin]]:
    """Every recorded loss term of one step with what made its prediction. Cached; one forward
    pass."""
    return lab.cached("loss-origins", lambda: _origins(lab))


def _origins(lab: Lab) -> list[tuple[LossTerm, Origin]]:
    rig = lab.rig().train()
    losses, squashes = LossObserver(), _Squashes()
    with rig.stack().following(), Watch(losses, squashes):
        seed_everything(lab.seed)
        loss = float(rig.step(rig.put(lab.train_batches[0])).loss.detach())
    counts = _label_counts(lab, losses.terms)
    found = []
    for term in losses.terms:
        node = _squashing_node(term)
        op = _SQUASHING.get(_base(node), "") if node is not None else ""
        where, axis, shape = squashes.seen.get(node, (None, None, tuple(term.prediction.shape)))
        found.append((term, Origin(op, where, axis, shape, counts, loss)))
    return found


def _label_counts(lab: Lab, terms: list[LossTerm]) -> tuple[int, ...]:
    """How often each class occurs in the batches that were read, () for other tasks."""
    if not terms or terms[0].prediction.ndim < 2:
        return ()
    classes = terms[0].prediction.shape[1]
    rig = lab.rig()
    labels = [rig.split(batch).target for batch in lab.train_batches]
    if not all(isinstance(y, torch.Tensor) and not y.is_floating_point() for y in labels):
        return ()
    joined = torch.cat([y.flatten().long() for y in labels])
    joined = joined[(joined >= 0) & (joined < classes)]
    return tuple(torch.bincount(joined, minlength=classes).tolist())


def loss_input(lab: Lab) -> LossInput:
    """The first term whose prediction contradicts its loss."""
    found = origins(lab)
    for term, origin in found:
        if origin.op in WRONG.get(term.kind, ()):
            why = f"{origin.op} stands right before {term.kind}"
            return LossInput(term.kind, origin.op, origin.location, why)
    kind = found[0][0].kind if found else ""
    return LossInput(kind, "", None, "nothing squashes the scores before the loss")


def _squashing_node(term: LossTerm) -> Any:
    """The first node that is no mere view of what entered the loss."""
    node = term.prediction.grad_fn
    while node is not None and _base(node).endswith(_VIEWS):
        node = node.next_functions[0][0] if node.next_functions else None
    return node


def _base(node: Any) -> str:
    """`SoftmaxBackward0` as `Softmax`, `UnsafeViewBackward0` as `UnsafeView`."""
    return str(node.name()).split("Backward")[0]
