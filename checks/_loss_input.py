"""What the prediction went through right before the loss, by autograd graph, with the line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, LossTerm, Watch, op_name
from recipe_check.userframes import caller_location
from recipe_check.values import Location

if TYPE_CHECKING:
    from recipe_check import Lab

    from ._recorded_ops import Recording

_VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Permute", "Alias", "Clone",
          "Slice", "Select", "Expand", "Contiguous", "T", "ToCopy")  # fmt: skip
_SQUASHING = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Relu": "relu", "Tanh": "tanh",
              "LogSoftmax": "log_softmax"}  # fmt: skip
_RANGES: Mapping[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0), "relu6": (0.0, 6.0), "relu": (0.0, math.inf), "exp": (0.0, math.inf),
    "softplus": (0.0, math.inf), "abs": (0.0, math.inf), "square": (0.0, math.inf),
    "logsigmoid": (-math.inf, 0.0), "log_softmax": (-math.inf, 0.0), "elu": (-1.0, math.inf),
}  # fmt: skip
# Which operations right before a loss contradict what the loss documents. log_softmax before
# cross_entropy is idempotent: harmless. tanh is a choice of range.
WRONG: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": ("softmax", "sigmoid", "relu"),
    "binary_cross_entropy_with_logits": ("softmax", "sigmoid", "relu"),
    "nll_loss": ("softmax", "sigmoid", "relu"),
    "binary_cross_entropy": ("relu",),
    "multi_margin_loss": ("softmax",),
    "multilabel_soft_margin_loss": ("softmax", "sigmoid", "relu"),
    "soft_margin_loss": ("softmax", "sigmoid", "relu"),
    "kl_div": ("softmax", "sigmoid"),
}


@dataclass(frozen=True)
class Made:
    """The operation of any kind, views left out, whose result entered the loss; `low` and `high`
    bound what it can give, `args` are what it was called with."""

    op: str
    location: Location | None
    axis: int | None
    shape: tuple[int, ...]  # of its result
    low: float = -math.inf
    high: float = math.inf
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """The operation that made a prediction, '' where none of the squashing kind did."""

    op: str
    made: Made
    label_counts: tuple[int, ...]
    loss: float  # of the whole step

    @property
    def location(self) -> Location | None:
        """The line of that operation; None where none of the squashing kind was found."""
        return self.made.location if self.op else None


@dataclass(frozen=True)
class LossInput:
    """`op` is the operation that contradicts the loss, '' where there is none."""

    kind: str
    op: str
    location: Location | None
    why: str


class _Makers:
    """Remembers each operation by the graph node that it made."""

    def __init__(self) -> None:
        self.seen: dict[Any, Made] = {}

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if isinstance(out, torch.Tensor) and out.grad_fn is not None:
            name = op_name(func).rstrip("_")
            self.seen[out.grad_fn] = _made(name, args, kwargs, out, caller_location(name))


def _made(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: torch.Tensor,
    where: Location | None,
) -> Made:  # fmt: skip
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    axis = axis % out.ndim if type(axis) is int and out.ndim else None
    low, high = _bounds(name, args, kwargs)
    return Made(name, where, axis, tuple(out.shape), low, high, tuple(args[1:]), dict(kwargs))


def _bounds(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[float, float]:
    if name not in ("clamp", "clip", "hardtanh", "clamp_min", "clamp_max"):
        return _RANGES.get(name, (-math.inf, math.inf))
    default = (-1.0, 1.0) if name == "hardtanh" else (None, None)
    low = kwargs.get("min", kwargs.get("min_val", args[1] if len(args) > 1 else default[0]))
    high = kwargs.get("max", kwargs.get("max_val", args[2] if len(args) > 2 else default[1]))
    if name == "clamp_max":
        low, high = None, low if high is None else high
    return (
        float(low) if isinstance(low, int | float) else -math.inf,
        float(high) if isinstance(high, int | float) else math.inf,
    )


def origins(lab: Lab) -> list[tuple[LossTerm, Origin]]:
    """Every recorded loss term of one step with what made its prediction. Cached; one forward
    pass."""
    return lab.cached("loss-origins", lambda: _origins(lab))


def _origins(lab: Lab) -> list[tuple[LossTerm, Origin]]:
    rig = lab.rig().train()
    losses, makers = LossObserver(), _Makers()
    with rig.stack().following(), Watch(losses, makers):
        seed_everything(lab.seed)
        loss = float(rig.step(rig.put(lab.train_batches[0])).loss.detach())
    counts = _label_counts(lab, losses.terms)
    found = []
    for term in losses.terms:
        node = _made_node(term.prediction)
        op = _SQUASHING.get(_base(node), "") if node is not None else ""
        unknown = Made("", None, None, tuple(term.prediction.shape))
        found.append((term, Origin(op, makers.seen.get(node, unknown), counts, loss)))
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


def made_by(tensor: torch.Tensor) -> str:
    """The squashing operation whose result a tensor is, views left out; '' for any other."""
    node = _made_node(tensor)
    return _SQUASHING.get(_base(node), "") if node is not None else ""


def made_by_all(taken: Recording, tensor: torch.Tensor) -> Made:
    """What made a tensor of a recording, views left out."""
    node = _made_node(tensor)
    for op in taken.ops:
        for out in op.outputs:
            if out.grad_fn is not None and out.grad_fn is node:
                return _made(op.name.rstrip("_"), op.args, op.kwargs, out, op.location)
    return Made("", None, None, tuple(tensor.shape))


def _made_node(tensor: torch.Tensor) -> Any:
    """The first node that is no mere view of the tensor."""
    node = tensor.grad_fn
    while node is not None and _base(node).endswith(_VIEWS):
        node = node.next_functions[0][0] if node.next_functions else None
    return node


def _base(node: Any) -> str:
    """`SoftmaxBackward0` as `Softmax`, `UnsafeViewBackward0` as `UnsafeView`."""
    return str(node.name()).split("Backward")[0]
