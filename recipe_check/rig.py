"""A rig: one isolated copy of the user's model, loss and optimizer that can take steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from recipe_check import batches, tree
from recipe_check.copying import Parts
from recipe_check.guard import guarded
from recipe_check.meter import Meter
from recipe_check.module_kinds import caches_in_eval, has_statistics
from recipe_check.returned import Step, logits_of, own_loss, scalar
from recipe_check.schedule_peaks import schedule_peaks
from recipe_check.subject import Subject, default_optimizer

if TYPE_CHECKING:
    from recipe_check.probes.watch import ModuleStack

T = TypeVar("T")

WARM = 0.3  # of the peak of a schedule


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
        for module in normalising + [m for m in self.model.modules() if caches_in_eval(m)]:
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


def _convert(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replaces every parameter and buffer in place, as `module.double()` does."""
    apply: Callable[..., Any] = module._apply
    apply(change)


def _to_double(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor
