"""What `gradient-norms` reads from the shared trace, and the line where a graph was left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import tree
from recipe_check.probes.watch import Watch, op_name
from recipe_check.results import Location
from recipe_check.userframes import caller_location

from .gradient_norms import Gradients

if TYPE_CHECKING:
    from recipe_check import Lab, Rig
    from recipe_check.probes.trace import TensorGradient, Trace

_FROM_GRAPH = {"detach", "detach_", "item", "tolist", "numpy", "argmax", "argmin", "round",
               "floor", "ceil", "sign", "long", "int", "bool", "topk", "tensor", "as_tensor",
               "__get__", "gt", "lt", "ge", "le", "eq"}  # fmt: skip


def see_gradients(lab: Lab) -> Gradients:
    """Reads the trace; takes one more forward pass only where something is wrong."""
    trace, rig = lab.trace, lab.rig().train()
    held = _held_names(rig)
    tensors = tuple(t for t in trace.gradients if held is None or t.name in held)
    silent = not trace.requires_grad or any(_is_silent(t) for t in tensors)
    broken = any(not math.isfinite(loss) for loss in trace.losses) or _has_nonfinite(tensors)
    cut = _watch(rig, lab, CutObserver()) if silent else None
    nonfinite = _watch(rig, lab, NonFiniteObserver()) if broken else None
    parameters = list(rig.model.parameters())
    trainable = sum(p.requires_grad for p in parameters)
    return Gradients(
        attached=trace.requires_grad,
        losses=trace.losses,
        tensors=tensors,
        cut=cut,
        nonfinite=nonfinite,
        dead=_dead_rectifier(trace),
        trainable=trainable,
        frozen=len(parameters) - trainable,
    )


def _held_names(rig: Rig) -> set[str] | None:
    """Names of the tensors that the user's optimizer holds, None where there is none."""
    if rig.optimizer is None:
        return None
    held = {id(p) for group in rig.optimizer.param_groups for p in group["params"]}
    names = {name for name, p in rig.trainable() if id(p) in held}
    return names or None


def _is_silent(tensor: TensorGradient) -> bool:
    return len(tensor.shape) >= 2 and not any((*tensor.norms, tensor.settled))


def _has_nonfinite(tensors: tuple[TensorGradient, ...]) -> bool:
    return any(
        n is not None and not math.isfinite(n) for t in tensors for n in (*t.norms, t.settled)
    )


def _dead_rectifier(trace: Trace) -> str:
    dead = trace.blocked
    return (dead.module or dead.op) if dead else ""


class CutObserver:
    """Remembers the first operation of the user's code whose result left the graph."""

    def __init__(self) -> None:
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func)
        if self.location is not None or name not in _FROM_GRAPH:
            return
        attached = any(t.requires_grad for t in tree.leaves(list(args)))
        if not attached or any(t.requires_grad for t in tree.leaves(out)):
            return
        if name == "__get__" and not _is_data_access(func, out):
            return
        where = caller_location("data" if name == "__get__" else name)
        if where is not None and _is_in_path(where):
            self.location = where


def _is_data_access(func: Any, out: Any) -> bool:
    owner = getattr(func, "__self__", None)
    return isinstance(out, torch.Tensor) and getattr(owner, "__name__", "") == "data"


def _is_in_path(where: Location) -> bool:
    """Shapes, sizes and comparisons for asserts are no cuts of the path to the loss."""
    return not where.source.lstrip().startswith("assert")


class NonFiniteObserver:
    """Remembers the first operation whose result is not finite although its inputs were."""

    def __init__(self) -> None:
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if self.location is not None:
            return
        results = [t for t in tree.leaves(out) if t.is_floating_point()]
        with torch.no_grad():
            bad = any(not bool(t.isfinite().all()) for t in results)
            sources = [t for t in tree.leaves(list(args)) if t.is_floating_point()]
            entered = any(not bool(t.isfinite().all()) for t in sources)
        if bad and not entered and "masked_fill" not in op_name(func):
            self.location = caller_location(op_name(func))


def _watch(rig: Rig, lab: Lab, observer: CutObserver | NonFiniteObserver) -> Location | None:
    with rig.stack().following(), Watch(observer):
        rig.step(rig.put(lab.train_batches[0]))
    return observer.location
