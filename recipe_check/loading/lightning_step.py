"""A module's own `training_step(batch, batch_idx)` as a step of (model, batch)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from recipe_check.errors import LoadError
from recipe_check.loading.find import is_loss
from recipe_check.loading.lightning_optimizers import Configuration
from recipe_check.loading.lightning_trainer import StandInTrainer, attached
from recipe_check.loading.silence import Silence

BATCH_INDEX = 1  # the first one is when people log images
MANUAL = (
    "manual optimization: the loss given to manual_backward() is checked; what the step does to "
    "optimizers and gradients itself is not"
)


class Step:
    """Takes the step on any copy of the module, with nothing but its loss coming out."""

    def __init__(
        self,
        model: Any,
        trainer: StandInTrainer,
        configuration: Configuration,
        hooks: Mapping[str, Callable[[Any, int], Any]],
    ) -> None:
        self.trainer, self.configuration, self.hooks = trainer, configuration, hooks
        self.arguments = _arguments(model)
        if not model.automatic_optimization:
            configuration.notes.append(MANUAL)

    def take(self, model: Any, batch: Any) -> Any:
        """What the step returns, with the loss in it."""
        losses: list[torch.Tensor] = []
        methods = self._optimization(losses)
        with attached(model, self.trainer, methods), outputs_seen(model) as seen:
            for name in ("on_before_batch_transfer", "on_after_batch_transfer"):
                batch = self.hooks.get(name, getattr(model, name))(batch, 0)
            returned = model.training_step(*(batch, BATCH_INDEX)[: self.arguments])
        if not model.automatic_optimization:
            returned = _only_loss(losses)
        return _with_output(returned, seen)

    def _optimization(self, losses: list[torch.Tensor]) -> dict[str, Any]:
        """Methods of the module that would act on optimizers and gradients."""
        optimizers = self.configuration.optimizers
        one = optimizers[0] if len(optimizers) == 1 else optimizers

        def record(loss: torch.Tensor, *_: Any, **__: Any) -> None:
            losses.append(loss)

        silent = ("toggle_optimizer", "untoggle_optimizer", "clip_gradients")
        return {
            "optimizers": lambda use_pl_optimizer=True: one,
            "lr_schedulers": Silence,
            "manual_backward": record,
            **dict.fromkeys(silent, Silence()),
        }


@contextmanager
def outputs_seen(model: nn.Module) -> Iterator[list[Any]]:
    """What the parts of the module gave, for steps that call these and not the module itself."""
    seen: list[Any] = []
    own: list[Any] = []
    hooks = [m.register_forward_hook(lambda *call: seen.append(call[-1])) for m in _parts(model)]
    hooks.append(model.register_forward_hook(lambda *call: own.append(call[-1])))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
        if own:
            seen.clear()


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    """Children that compute: neither losses nor metrics; those inside mere containers too."""
    for child in model.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _parts(child)
        elif not is_loss(child) and not type(child).__module__.startswith("torchmetrics"):
            yield child


def _with_output(returned: Any, seen: list[Any]) -> Any:
    """The step's result, completed by the last output of a part, where there is one."""
    if not seen or returned is None:
        return returned
    if isinstance(returned, Mapping):
        return {"output": seen[-1], **returned}
    return {"loss": returned, "output": seen[-1]}


def _arguments(model: Any) -> int:
    """1 for training_step(batch), 2 where it takes the batch's number too."""
    parameters = inspect.signature(model.training_step).parameters.values()
    if any(p.name == "dataloader_iter" for p in parameters):
        raise LoadError(
            "training_step(dataloader_iter) reads its batches itself",
            "give the checks a training_step(batch, batch_idx)",
        )
    positional = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return min(len(positional), 2) if positional else 1


def _only_loss(losses: list[torch.Tensor]) -> torch.Tensor:
    if len(losses) == 1:
        return losses[0]
    raise RuntimeError(
        f"manual optimization with {len(losses)} calls of manual_backward() in one step: "
        "there is no single loss to check"
    )
