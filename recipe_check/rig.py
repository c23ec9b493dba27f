"""A rig: one isolated copy of the user's model, loss and optimizer that can take steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from recipe_check import batches, tree
from recipe_check.copying import Parts
from recipe_check.errors import UserCodeError
from recipe_check.guard import guarded
from recipe_check.results import Cost
from recipe_check.subject import Subject, default_optimizer

if TYPE_CHECKING:
    from recipe_check.probes.watch import ModuleStack

T = TypeVar("T")

WARM = 0.3  # of the peak of a schedule
SCHEDULED = 1000  # steps of a schedule that are looked at


@dataclass
class Meter:
    """Passes spent so far, over all rigs of a lab."""

    forward: int = 0
    backward: int = 0
    steps: int = 0
    needs_graph: bool = False  # the user's step takes gradients itself, also when only looked at
    needs_closure: bool = False  # the user's optimizer takes no step without one
    writes: bool = False  # the user's step writes into its batch (ReLU(inplace=True) first)

    def cost(self) -> Cost:
        return Cost(forward=self.forward, backward=self.backward, steps=self.steps)


@dataclass(frozen=True)
class Step:
    """What one forward pass through model and loss gave; `loss` is a 0-d tensor."""

    loss: torch.Tensor
    output: Any


class Rig:
    """Takes forward passes and training steps on copies; the user's objects stay untouched.

    Every call counts its passes on the meter. Errors of the user's code become UserCodeError
    with the user's line.
    """

    def __init__(self, subject: Subject, parts: Parts, device: torch.device, meter: Meter) -> None:
        self.subject = subject
        self.device = device
        self.meter = meter
        self.model = parts.model.to(device)
        if subject.replica is not None:  # a step written for the wrapper may look inside it
            vars(self.model)["module"] = self.model
        self.loss = parts.loss.to(device) if isinstance(parts.loss, nn.Module) else parts.loss
        self.optimizer = parts.optimizer
        self.scheduler = parts.scheduler

    # -- modes -------------------------------------------------------------------------------

    def train(self) -> Rig:
        """As in training: dropout and batch statistics on."""
        self.model.train()
        return self

    def quiet(self) -> Rig:
        """Dropout and other noise off, normalisation layers as in training."""
        self.model.train()
        normalising = [m for m in self.model.modules() if m.training and has_statistics(m)]
        self.model.eval()
        for module in normalising + [m for m in self.model.modules() if _caches_in_eval(m)]:
            module.training = True
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):  # cuDNN differentiates these in train mode only
                module.training, module.dropout = True, 0.0
        return self

    def eval(self) -> Rig:
        """As at inference."""
        self.model.eval()
        return self

    def double(self) -> Rig:
        """Parameters and floating buffers in float64 (complex ones in complex128)."""
        for module in (self.model, self.loss):
            if isinstance(module, nn.Module):
                _convert(module, _to_double)
        return self

    # -- batches -----------------------------------------------------------------------------

    def put(self, batch: Any) -> Any:
        """A copy of the batch on this rig's device: some models write into their input."""
        return tree.map_leaves(tree.to_device(batch, self.device), torch.Tensor.clone)

    def split(self, batch: Any) -> batches.Split:
        """Inputs and target of the batch; see `batches.split`."""
        return batches.split(batch, self.model)

    def stack(self) -> ModuleStack:
        """Follows which module runs, with the lines that made them."""
        from recipe_check.probes.watch import ModuleStack

        return ModuleStack(self.model, self.subject.created)

    # -- passes ------------------------------------------------------------------------------

    def forward(self, batch: Any) -> Any:
        """The model's output on the inputs of the batch (any container)."""
        if self.subject.training_step is not None or self.loss is None:
            return self.step(batch).output
        return self._guarded(lambda: self._call(self.split(self._safe(batch)).inputs))

    def step(self, batch: Any) -> Step:
        """Loss and output on the batch, attached to the graph; no backward."""
        return self._guarded(lambda: self._step(self._safe(batch)))

    def backward(self, loss: torch.Tensor) -> None:
        """Backward pass of the loss (or any scalar) into the `.grad` of the parameters."""
        self.meter.backward += 1
        self._guarded(lambda: torch.autograd.backward(loss))

    def grad(
        self, scalar: torch.Tensor, inputs: Sequence[torch.Tensor], *, keep: bool = True
    ) -> tuple[torch.Tensor | None, ...]:
        """Gradient of a scalar with respect to tensors, None where it does not depend on one."""
        self.meter.backward += 1
        return self._guarded(
            lambda: torch.autograd.grad(scalar, list(inputs), retain_graph=keep, allow_unused=True)
        )

    @contextmanager
    def looking(self) -> Iterator[None]:
        """No autograd graph in the block, unless the user's own step takes gradients; running
        statistics are put back, so that a look leaves no trace."""
        buffers = [(b, b.detach().clone()) for b in self.model.buffers()]
        try:
            with nullcontext() if self.meter.needs_graph else torch.no_grad():
                yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)

    def update(self, optimizer: torch.optim.Optimizer, batch: Any) -> torch.Tensor:
        """One training step; returns the detached loss before it."""
        losses: list[torch.Tensor] = []

        def evaluate() -> torch.Tensor:
            optimizer.zero_grad(set_to_none=True)
            losses.append(self.step(batch).loss)
            self.backward(losses[-1])
            return losses[-1]

        self.meter.steps += 1
        if not isinstance(optimizer, torch.optim.LBFGS):  # it evaluates as often as it likes
            evaluate()
        self._advance(optimizer, evaluate)
        return losses[0].detach()

    def _advance(
        self, optimizer: torch.optim.Optimizer, evaluate: Callable[[], torch.Tensor]
    ) -> None:
        """The optimizer's step, with the closure where it insists on one: LBFGS, and people's own
        that look at the loss a second time (sharpness-aware minimisation)."""
        step: Callable[..., Any] = optimizer.step
        own = not type(optimizer).__module__.startswith("torch.")
        if isinstance(optimizer, torch.optim.LBFGS) or self.meter.needs_closure:
            step(evaluate)
            return
        try:
            step()
        except (AssertionError, TypeError, ValueError, RuntimeError):
            if not own:
                raise
            step(evaluate)
            self.meter.needs_closure = True

    def own_optimizer(self) -> torch.optim.Optimizer:
        """The user's optimizer on this copy's parameters, or Adam 3e-4."""
        if self.optimizer is None:
            build = self.subject.build_optimizer or default_optimizer
            self.optimizer = build(self.model)
        return self.optimizer

    def warm_optimizer(self) -> torch.optim.Optimizer:
        """The user's optimizer with each rate at least a third of the peak of its schedule: what
        stands at the start of a warm-up is no rate to be judged. Uses up this rig's scheduler."""
        optimizer = self.own_optimizer()
        peaks = schedule_peaks(self.scheduler, optimizer)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = max(float(group["lr"]), WARM * peak)
        return optimizer

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        """Named parameters that require a gradient, the loss's own ones included."""
        named = list(self.model.named_parameters())
        if isinstance(self.loss, nn.Module):
            named += [(f"loss.{name}", p) for name, p in self.loss.named_parameters()]
        return [(name, p) for name, p in named if p.requires_grad]

    # -- internals ---------------------------------------------------------------------------

    def run(self, call: Callable[[], T]) -> T:
        """One forward pass of the user's code, counted and guarded."""
        self.meter.forward += 1
        return self._guarded(call)

    def _safe(self, batch: Any) -> Any:
        """The batch, or a copy where the model would spoil it for the next step."""
        return tree.map_leaves(batch, torch.Tensor.clone) if self.meter.writes else batch

    def _guarded(self, run: Callable[[], T]) -> T:
        with guarded():
            return run()

    def _call(self, inputs: Any) -> Any:
        self.meter.forward += 1
        return batches.call_model(self.model, inputs)

    def _step(self, batch: Any) -> Step:
        if self.subject.training_step is not None:
            return self._training_step(batch)
        if self.loss is None:
            self.meter.forward += 1
            return own_loss(batches.call_own_loss(self.model, batch))
        parts = self.split(batch)
        output = self._call(parts.inputs)
        target = parts.inputs if parts.target is None else parts.target
        loss = self.loss(logits_of(output, self.loss), target)
        return Step(scalar(loss), output)

    def _training_step(self, batch: Any) -> Step:
        seen: list[Any] = []
        hook = self.model.register_forward_hook(lambda _m, _a, output: seen.append(output))
        try:
            assert self.subject.training_step is not None
            returned = self.subject.training_step(self.model, batch)
        finally:
            hook.remove()
        self.meter.forward += max(len(seen), 1)
        step = own_loss(returned)
        output = step.output if step.output is not None else (seen[-1] if seen else None)
        return Step(step.loss, output)


def schedule_peaks(scheduler: Any, optimizer: torch.optim.Optimizer) -> list[float]:
    """The highest rate of each group over the next thousand steps of the scheduler."""
    start = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
    if getattr(scheduler, "optimizer", None) is not optimizer or _needs_loss(scheduler):
        return start
    peaks = start
    with warnings.catch_warnings(), suppress(Exception):  # a schedule that ends raises
        warnings.simplefilter("ignore")
        for _ in range(SCHEDULED):
            scheduler.step()
            now = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
            peaks = [max(pair) for pair in zip(peaks, now, strict=True)]
    for group, rate in zip(optimizer.param_groups, start, strict=True):
        group["lr"] = rate
    return peaks


def _needs_loss(scheduler: Any) -> bool:
    return isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)


def _convert(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replaces every parameter and buffer in place, as `module.double()` does."""
    apply: Callable[..., Any] = module._apply
    apply(change)


def _caches_in_eval(module: nn.Module) -> bool:
    """A train() of its own over weights of its own: LeViT and its kin look their attention biases
    up once in evaluation mode and keep them, so that no gradient reaches the weights."""
    overrides = type(module).train is not nn.Module.train
    return overrides and any(True for _ in module.parameters(recurse=False))


def has_statistics(module: nn.Module) -> bool:
    """Batch, instance and ghost normalisation alike: anything that keeps running statistics."""
    return any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)) or (
        isinstance(module, nn.modules.batchnorm._BatchNorm)
    )


def _to_double(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def logits_of(output: Any, loss: Callable[..., Any]) -> Any:
    """Model outputs that carry `.logits` are unpacked for torch's own loss modules."""
    is_torch_loss = type(loss).__module__.startswith("torch.nn")
    if is_torch_loss and not isinstance(output, torch.Tensor):
        return getattr(output, "logits", output)
    return output


def scalar(loss: Any) -> torch.Tensor:
    """The loss as a 0-d tensor; raises UserCodeError with what to do otherwise."""
    if not isinstance(loss, torch.Tensor):
        raise UserCodeError(f"the loss is a {type(loss).__name__}, expected a tensor")
    if loss.numel() != 1:
        shape = tuple(loss.shape)
        raise UserCodeError(
            f"the loss has shape {shape}, expected one number: reduction='none' needs .mean()"
        )
    if loss.is_complex():
        raise UserCodeError("the loss is complex, expected a real number: take its .abs() or .real")
    return loss.reshape(())


def own_loss(returned: Any) -> Step:
    """Loss and output from what a training step or a self-scoring model returned."""
    if isinstance(returned, torch.Tensor) and returned.ndim < 2:
        return Step(scalar(returned), None)
    if isinstance(returned, Mapping) and returned.get("loss") is not None:
        rest = [returned[k] for k in ("output", "outputs", "logits", "preds") if k in returned]
        return Step(scalar(returned["loss"]), rest[0] if rest else None)
    if getattr(returned, "loss", None) is not None:
        return Step(scalar(returned.loss), getattr(returned, "logits", None))
    if isinstance(returned, list | tuple):
        return _loss_in_sequence(returned)
    raise UserCodeError(
        f"no loss found in the {type(returned).__name__} that the model or training_step returned"
    )


def _loss_in_sequence(returned: Sequence[Any]) -> Step:
    """The one-element tensor is the loss; the first of the others is the output."""
    for index, item in enumerate(returned):
        if isinstance(item, torch.Tensor) and item.numel() == 1 and item.is_floating_point():
            rest = [other for place, other in enumerate(returned) if place != index]
            return Step(scalar(item), rest[0] if rest else None)
    raise UserCodeError("no loss found: none of the returned values is a one-element tensor")
