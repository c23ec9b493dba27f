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
          "Slice", "Select", "Expand", "Contiguous", "T", "ToCopy", "Index")  # fmt: skip
_SQUASHING = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Relu": "relu", "Tanh": "tanh",
              "LogSoftmax": "log_softmax"}  # fmt: skip
# Which operations right before a loss contradict what the loss documents. log_softmax before
# cross_entropy is idempotent: harmless. tanh is a choice of range.
_WRONG = {
    "cross_entropy": ("softmax", "sigmoid", "relu"),
    "binary_cross_entropy_with_logits": ("softmax", "sigmoid", "relu"),
    "nll_loss": ("softmax", "sigmoid", "relu"),
    "binary_cross_entropy": ("relu",),
    "multi_margin_loss": ("softmax",),
}


@dataclass(frozen=True)
class LossInput:
    """`op` is the wrong operation, '' where there is none."""

    kind: str
    op: str
    location: Location | None
    why: str


class _Squashes:
    """Remembers the line of each squashing operation by the graph node that it made."""

    def __init__(self) -> None:
        self.lines: dict[Any, Location | None] = {}

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if isinstance(out, torch.Tensor) and out.grad_fn is not None:
            name = op_name(func).rstrip("_")
            if name in _SQUASHING.values() or name in ("relu6", "clamp", "clamp_min"):
                self.lines[out.grad_fn] = caller_location(name)


def loss_input(lab: Lab) -> LossInput:
    """Looks at the first loss term of one pass. Cost: one forward pass."""
    rig = lab.rig().train()
    losses, squashes = LossObserver(), _Squashes()
    with Watch(losses, squashes):
        seed_everything(lab.seed)
        rig.step(rig.put(lab.train_batches[0]))
    for term in losses.terms:
        node = _squashing_node(term)
        op = _SQUASHING.get(_base(node), "") if node is not None else ""
        if op in _WRONG.get(term.kind, ()):
            where = squashes.lines.get(node)
            return LossInput(term.kind, op, where, f"{op} stands right before {term.kind}")
    kind = losses.terms[0].kind if losses.terms else ""
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
