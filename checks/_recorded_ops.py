"""Every operation of one training step with its tensors and the user's line, kept in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossObserver, LossTerm, Watch, op_name
from recipe_check.userframes import caller_location

if TYPE_CHECKING:
    from recipe_check import Lab

_QUIET = frozenset({"requires_grad_", "__set__", "size", "dim", "backward", "register_hook"})


@dataclass(frozen=True)
class Op:
    """One operation. `recording` says whether autograd was switched on; `module` runs it."""

    name: str
    location: Location | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]
    recording: bool
    module: str

    @property
    def attached(self) -> tuple[torch.Tensor, ...]:
        """Inputs that carry a gradient."""
        return tuple(t for t in self.inputs if t.requires_grad)


@dataclass(frozen=True)
class Recording:
    """The operations of a step, its loss, output and targets, and the loss functions called."""

    ops: tuple[Op, ...]
    loss: torch.Tensor
    output: Any
    targets: tuple[torch.Tensor, ...]
    terms: tuple[LossTerm, ...]
    parameters: Mapping[str, torch.Tensor]

    def reaching(self, goal: Iterable[torch.Tensor]) -> set[int]:
        """Ids of the tensors whose values enter `goal`, also where no gradient flows back."""
        found = {id(t) for t in goal}
        for op in reversed(self.ops):
            if any(id(t) in found for t in op.outputs):
                found.update(id(t) for t in op.inputs)
        return found

    def reached(self, start: Iterable[torch.Tensor]) -> set[int]:
        """Ids of the tensors that are made from `start`."""
        found = {id(t) for t in start}
        for op in self.ops:
            if any(id(t) in found for t in op.inputs):
                found.update(id(t) for t in op.outputs)
        return found

    def maker(self, tensor: torch.Tensor) -> Op | None:
        """The operation that gave a tensor; None for weights and data."""
        return next((op for op in self.ops if any(t is tensor for t in op.outputs)
                     and not any(t is tensor for t in op.inputs)), None)  # fmt: skip

    def summands(self) -> list[torch.Tensor]:
        """What the loss adds up: followed back through sums and differences of single numbers."""
        waiting, found = [self.loss], []
        while waiting:
            tensor = waiting.pop(0)
            op = self.maker(tensor)
            if op is not None and op.name in ("+", "-", "reshape") and tensor.numel() == 1:
                waiting += op.inputs
            else:
                found.append(tensor)
        return found

    def loss_line(self) -> Location | None:
        """The user's line of the last operation that enters the loss (it is reshaped for us)."""
        entering = self.reaching([self.loss])
        return next(
            (op.location for op in reversed(self.ops)
             if op.location is not None and any(id(t) in entering for t in op.outputs)
             and not (op.name == "reshape" and op.outputs[0] is self.loss)), None,
        )  # fmt: skip


def record(lab: Lab, number: int = 0) -> Recording:
    """One forward pass in training mode on the number-th batch, everything kept alive: not to be
    cached."""
    rig, ops, losses = lab.rig().train(), Recorder(), LossObserver()
    stack = rig.stack()
    ops.module = lambda: stack.current
    with stack.following(), Watch(ops, losses):
        seed_everything(lab.seed)
        batch = rig.put(lab.train_batches[number])
        step = rig.step(batch)
    parts = rig.split(batch)
    return Recording(
        ops=tuple(ops.seen),
        loss=step.loss,
        output=step.output,
        targets=tuple(tree.leaves(parts.inputs if parts.target is None else parts.target)),
        terms=tuple(losses.terms),
        parameters=dict(rig.trainable()),
    )


class Recorder:
    """An observer that keeps each operation with its tensors."""

    def __init__(self) -> None:
        self.seen: list[Op] = []
        self.module: Callable[[], str] = str

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func)
        if name == "__get__":
            name = str(getattr(getattr(func, "__self__", None), "__name__", name))
        if name in _QUIET:
            return
        inputs = tuple(tree.leaves([*args, *kwargs.values()]))
        outputs = tuple(tree.leaves(out))
        if not outputs and name == "__setitem__":
            outputs = inputs[:1]
        if inputs or outputs:
            self.seen.append(
                Op(name, caller_location(name), args, kwargs, inputs, outputs,
                   torch.is_grad_enabled(), self.module())
            )  # fmt: skip


def gradients(loss: torch.Tensor, tensors: Sequence[torch.Tensor]) -> dict[int, torch.Tensor]:
    """Gradient of the loss for each tensor that has one, by id. One backward pass."""
    wanted = list({id(t): t for t in tensors if t.requires_grad}.values())
    if not wanted or not loss.requires_grad:
        return {}
    grads = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    return {id(t): g for t, g in zip(wanted, grads, strict=True) if g is not None}
