"""A `transformers.Trainer` without its loop: its data, its loss and its optimizer."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from recipe_check import tree
from recipe_check.loading import find
from recipe_check.loading.loaders import Roles, Scene, called
from recipe_check.loading.names import Candidate, can_call_bare
from recipe_check.loading.silence import Silence
from recipe_check.subject import Stepping

AS_TRAIN = "it is called as Trainer.train does"


class HuggingFace:
    """The loader for `transformers`. A model that scores itself needs none: the conventions do."""

    def find(self, scene: Scene) -> Candidate | None:
        """The model of the only Trainer; its `model_init` where that needs no argument."""
        found = _trainer(scene)
        if found is None:
            return None
        if can_call_bare(found.value.model_init):
            how = f"made by model_init of `{found.name}`"
            return Candidate(found.value.model_init, f"{found.name}.model_init", how)
        return Candidate(found.value.model, f"{found.name}.model", f"the model of `{found.name}`")

    def roles(self, model: nn.Module, scene: Scene) -> Roles | None:
        """What `train` would take from the Trainer that holds this model."""
        found = _trainer(scene)
        if found is None:
            return None
        trainer, request = found.value, scene.request
        roles: dict[str, Candidate] = {}
        if not request.data:
            roles |= _loaders(found)
        if not request.loss:
            how = f"compute_loss() of `{found.name}`"
            roles["training_step"] = Candidate(Loss(trainer).step, "compute_loss", how)
        if not request.optimizer:
            how = f"create_optimizer() of `{found.name}`"
            made = Optimization(trainer, _steps(trainer.args, roles.get("data")))
            roles["optimizer"] = Candidate(made.optimizer, "create_optimizer", how)
            roles["scheduler"] = Candidate(made.scheduler, "create_scheduler", how)
        limited = trainer.args.max_steps > 0  # then epochs say nothing
        epochs = None if limited else max(round(float(trainer.args.num_train_epochs)), 1)
        stepping = Stepping(per_batch=True, epochs=epochs)
        return Roles(roles, _notes(trainer.args), stepping=lambda: stepping)


def _trainer(scene: Scene) -> Candidate | None:
    """The Trainer that was named, or the only one, or the one called `trainer`."""
    library = sys.modules.get("transformers.trainer")
    if library is None:
        return None
    chosen = scene.chosen()
    if chosen is not None:
        return chosen if isinstance(chosen.value, library.Trainer) else None
    trainers = {n: v for n, v in scene.namespace.items() if isinstance(v, library.Trainer)}
    if "trainer" in trainers:
        return Candidate(trainers["trainer"], "trainer", "by its name `trainer`")
    return find.only(trainers, "Trainer", "--model", "the only Trainer") if trainers else None


def _notes(arguments: Any) -> list[str]:
    lower = arguments.bf16 or arguments.fp16
    return ["mixed precision of the Trainer is left out: checked in full precision"] * bool(lower)


def _loaders(found: Candidate) -> dict[str, Candidate]:
    trainer, how = found.value, f"get_train_dataloader() of `{found.name}`"
    train = _unplaced(called(trainer.get_train_dataloader, how, AS_TRAIN))
    loaders = {"data": Candidate(train, how, how)}
    if trainer.eval_dataset:
        data = trainer.eval_dataset
        first = next(iter(data.values())) if isinstance(data, Mapping) else data
        how = f"get_eval_dataloader() of `{found.name}`"
        held = _unplaced(called(lambda: trainer.get_eval_dataloader(first), how, AS_TRAIN))
        loaders["val_data"] = Candidate(held, how, how)
    return loaders


def _unplaced(loader: Any) -> Any:
    """Without the move to the Trainer's device: the checks have their own."""
    if getattr(loader, "device", None) is not None:
        loader.device = None
    return loader


def _steps(arguments: Any, data: Candidate | None) -> int | None:
    """Steps of the whole training; None where nobody knows."""
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    try:
        batches = 0 if data is None else len(data.value)
    except TypeError:
        batches = 0
    steps = math.ceil(arguments.num_train_epochs * batches / arguments.gradient_accumulation_steps)
    return steps or None


def _twin(trainer: Any, model: nn.Module) -> Any:
    """The Trainer as it would be with this model, with nothing logged."""
    twin = copy.copy(trainer)
    twin.model = twin.model_wrapped = model
    twin.log = Silence()
    return twin


class Loss:
    """The Trainer's `compute_loss` on any copy of the model."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def step(self, model: nn.Module, batch: Any) -> Any:
        """The loss and the logits; the batch's containers are new, as people pop from them."""
        own = tree.map_leaves(batch, lambda leaf: leaf)
        returned = _twin(self.trainer, model).compute_loss(model, own, return_outputs=True)
        if not isinstance(returned, tuple):
            return returned
        loss, outputs = returned
        return {"loss": loss, "output": getattr(outputs, "logits", outputs)}


class Optimization:
    """The Trainer's own optimizer and schedule on any copy of the model."""

    def __init__(self, trainer: Any, steps: int | None) -> None:
        self.trainer, self.steps = trainer, steps

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """As `train` would make it; the one that the Trainer was given belongs to its model."""
        twin = _twin(self.trainer, model)
        twin.create_optimizer()
        made: torch.optim.Optimizer = twin.optimizer
        return made

    def scheduler(self, optimizer: torch.optim.Optimizer) -> Any:
        """As `train` would make it for this optimizer."""
        twin = copy.copy(self.trainer)
        twin.optimizer = optimizer
        if self.steps is not None:
            twin.create_scheduler(num_training_steps=self.steps, optimizer=optimizer)
        return twin.lr_scheduler
