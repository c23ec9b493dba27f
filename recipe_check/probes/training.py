"""Short training runs: losses stay on the device, one synchronisation every few steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from recipe_check.errors import NotApplicable
from recipe_check.lab import seed_everything
from recipe_check.subject import can_fuse, densify

if TYPE_CHECKING:
    from recipe_check.rig import Rig

CHUNK = 10  # steps between two looks at the losses, where a look waits for the device


@dataclass
class Fit:
    """A training run that can be continued: Adam, no weight decay, noise off.

    The generators are seeded alike before every step, so that dropout, sampled noise and sampled
    time steps are the same each time and can be fitted like everything else.
    """

    rig: Rig
    rate: float
    noise_seed: int | None = 0  # None: fresh noise at every step
    losses: list[float] = field(default_factory=list)
    after_step: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        parameters = [p for _, p in self.rig.trainable()]
        self.parameters = parameters
        self.optimizer = torch.optim.Adam(parameters, lr=self.rate, fused=can_fuse(parameters))

    def steps(self, batches: Sequence[Any], count: int) -> list[float]:
        """Takes `count` steps over the batches in turn; returns their losses.

        `batches` must lie on the rig's device. One synchronisation at the end.
        """
        found = []
        start = len(self.losses)
        for number in range(start, start + count):
            if self.noise_seed is not None:
                seed_everything(self.noise_seed + number % len(batches))
            loss = self.rig.step(batches[number % len(batches)]).loss
            if not loss.requires_grad:
                raise NotApplicable("the loss has no gradient (see gradient-norms)")
            self._zero()
            self.rig.backward(loss)
            densify(self.optimizer)
            self.rig.meter.steps += 1
            self.optimizer.step()
            if self.after_step is not None:
                self.after_step()
            found.append(loss.detach())
        self._zero()  # other runs take turns with this one: one set of gradients in memory
        values = [float(v) for v in torch.stack(found).double().tolist()]
        self.losses += values
        return values

    def _zero(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def run_until(
    fit: Fit,
    batches: Sequence[Any],
    *,
    most: int,
    seconds: float,
    done: Callable[[Fit], bool],
) -> None:
    """Continues the run until `done` says so, or steps or seconds are used up. `done` is asked
    after every step on a CPU, else after every ten."""
    start = time.monotonic()
    chunk = 1 if fit.rig.device.type == "cpu" else CHUNK
    while True:
        fit.steps(batches, min(chunk, most - len(fit.losses)))
        if done(fit) or len(fit.losses) >= most or time.monotonic() - start >= seconds:
            return


def held_losses(rig: Rig, batches: Sequence[Any], noise_seed: int = 0) -> list[float]:
    """Loss of each batch without learning from it; one synchronisation."""
    with rig.looking():
        found = []
        for number, batch in enumerate(batches):
            seed_everything(noise_seed + number)
            found.append(rig.step(batch).loss.detach())
    return [float(v) for v in torch.stack(found).double().tolist()]
