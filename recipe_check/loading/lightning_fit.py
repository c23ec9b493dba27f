"""What Lightning's `Trainer.fit` prepares before its first step, as the roles of a subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipe_check.loading import find
from recipe_check.loading.lightning import kinds
from recipe_check.loading.lightning_optimizers import Configuration
from recipe_check.loading.lightning_step import Step
from recipe_check.loading.lightning_trainer import StandInTrainer, attached
from recipe_check.loading.loaders import Roles, Scene, called
from recipe_check.loading.names import Candidate, by_name, by_option, can_call_bare
from recipe_check.loading.side_by_side import as_one
from recipe_check.subject import Stepping

AS_FIT = "it is called as Trainer.fit does"


class Fit:
    """Calls the hooks of one module and its data module in the order in which `fit` does."""

    def __init__(self, model: Any, scene: Scene, data: Candidate | None) -> None:
        self.model, self.scene = model, scene
        self.name = type(model).__name__
        trainers = [v for v in scene.namespace.values() if isinstance(v, kinds("Trainer"))]
        self.trainer = StandInTrainer(trainers[0] if len(trainers) == 1 else None)
        self.data_module = None if data is None else self._set_up_data(data)
        self.trainer.datamodule = self.data_module
        self.configuration = Configuration(self.trainer)

    def roles(self) -> Roles:
        """Every role that the module or its data module fills."""
        request, configuration = self.scene.request, self.configuration
        if overrides(self.model, "prepare_data"):
            called(self.model.prepare_data, f"{self.name}.prepare_data", AS_FIT)
        self.prepare(self.model)
        found = self._loaders()
        if not request.optimizer and overrides(self.model, "configure_optimizers"):
            how = f"configure_optimizers() of {self.name}"
            found["optimizer"] = Candidate(configuration.optimizer, how, how)
            found["scheduler"] = Candidate(configuration.made_scheduler, how, how)
        given = request.loss or by_name(self.scene.namespace, "training_step")
        if not given and overrides(self.model, "training_step"):
            how = f"the step of {self.name}"
            step = Step(self.model, self.trainer, configuration, self._batch_hooks())
            found["training_step"] = Candidate(step.take, "training_step", how)
        return Roles(found, configuration.notes, self.prepare, self._stepping)

    def _stepping(self) -> Stepping | None:
        """As `fit` steps the scheduler: after an optimizer's step or an epoch, at `frequency`;
        None where the module does so itself, or has none that is checked."""
        how = self.configuration.rhythm
        if how is None or not getattr(self.model, "automatic_optimization", True):
            return None
        trainer = self.trainer
        every = how.frequency * (trainer.accumulate_grad_batches if how.per_step else 1)
        return Stepping(how.per_step, trainer.epochs_said, max(every, 1))

    def prepare(self, model: Any) -> None:
        """`configure_model` and `setup`; not on objects of somebody's running program."""
        if not self.scene.request.target:
            return
        with attached(model, self.trainer, {}):
            if overrides(model, "configure_model"):
                called(model.configure_model, f"{self.name}.configure_model", AS_FIT)
            if overrides(model, "setup"):
                called(lambda: model.setup(stage="fit"), f"{self.name}.setup", AS_FIT)

    def _set_up_data(self, data: Candidate) -> Any:
        owner = data.value
        if can_call_bare(owner):
            owner = called(owner, data.name, AS_FIT)
        owner.trainer = self.trainer
        called(owner.prepare_data, f"{data.name}.prepare_data", AS_FIT)
        called(lambda: owner.setup(stage="fit"), f"{data.name}.setup", AS_FIT)
        return owner

    def _loaders(self) -> dict[str, Candidate]:
        train, val = self._loader("train_dataloader"), self._loader("val_dataloader")
        if train is None:
            train = _plain_data(self.scene)
            self.trainer.train_dataloader = _training_part(train.value)
        else:
            train = Candidate(as_one(train.value), train.name, train.how)
            self.trainer.train_dataloader = train.value
        if val is None:
            return {"data": train}
        several = isinstance(val.value, list | tuple) and val.value
        first = val.value[0] if several else val.value
        return {"data": train, "val_data": Candidate(first, val.name, val.how)}

    def _loader(self, method: str) -> Candidate | None:
        """From the data module, else from the module itself; None where neither has one, and
        where `--data` names something else."""
        owner = self.model if self.data_module is None else self.data_module
        elsewhere = self.data_module is None and self.scene.request.data
        if elsewhere or not overrides(owner, method):
            return None
        how = f"{method}() of {type(owner).__name__}"
        with attached(self.model, self.trainer, {}):
            loader = called(getattr(owner, method), how, AS_FIT)
        return None if loader is None else Candidate(loader, how, how)

    def _batch_hooks(self) -> dict[str, Any]:
        """The data module's own hooks around the transfer of a batch, which replace the model's."""
        names = ("on_before_batch_transfer", "on_after_batch_transfer")
        owner = self.data_module
        return {n: getattr(owner, n) for n in names if owner is not None and overrides(owner, n)}


def overrides(owner: Any, method: str) -> bool:
    """Whether a module or data module has its own version of one of Lightning's methods."""
    bases = kinds("LightningModule") + kinds("LightningDataModule")
    given = [getattr(base, method, None) for base in bases]
    return getattr(type(owner), method, None) not in (None, *given)


def _plain_data(scene: Scene) -> Candidate:
    """The loader of the file itself, found like any other."""
    if scene.request.data:
        found = by_option(scene.module, scene.request.data, "--data")
    else:
        found = find.find_data(scene.namespace, scene.module)
    if not can_call_bare(found.value):
        return found
    return Candidate(called(found.value, found.name, AS_FIT), found.name, found.how)


def _training_part(value: Any) -> Any:
    """The training loader of (training, validation) or {"train": …}."""
    if isinstance(value, Mapping):
        return value.get("train", value)
    first = value[0] if isinstance(value, list | tuple) and value else value
    return first if hasattr(first, "dataset") else value
