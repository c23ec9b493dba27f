"""A stand-in for Lightning's Trainer: what a module may ask of it, and nothing that acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from recipe_check.loading.lightning import kinds
from recipe_check.loading.silence import Silence

EPOCHS = 10  # where the file has no Trainer that says how many


class StandInTrainer:
    """The state of a Trainer in the first epoch of `fit`, in one process.

    Lengths are those of the file's own Trainer where there is exactly one.
    """

    def __init__(self, real: Any) -> None:
        epochs = getattr(real, "max_epochs", None)
        self.max_epochs = epochs if epochs and epochs > 0 else EPOCHS
        self.max_steps = getattr(real, "max_steps", -1)
        said = epochs if epochs and epochs > 0 and self.max_steps <= 0 else None
        self.epochs_said: int | None = said  # where nothing else ends the training
        self.accumulate_grad_batches = getattr(real, "accumulate_grad_batches", 1)
        self.gradient_clip_val = getattr(real, "gradient_clip_val", None)
        self.train_dataloader: Any = ()
        self.datamodule: Any = None
        self.current_epoch = self.global_step = self.global_rank = self.local_rank = 0
        self.world_size = self.num_devices = self.num_nodes = 1
        self.training = self.is_global_zero = True
        self.validating = self.testing = self.predicting = self.sanity_checking = False
        self.logger = Silence()
        self.loggers: list[Any] = []
        self.callbacks: list[Any] = []
        self.callback_metrics: dict[str, Any] = {}
        self.progress_bar_callback = None
        self.precision = "32-true"
        self.log_dir = self.default_root_dir = "."

    @property
    def num_training_batches(self) -> float:
        """In an epoch; infinite where the loader does not know."""
        try:
            return len(self.train_dataloader)
        except TypeError:
            return float("inf")

    @property
    def estimated_stepping_batches(self) -> float:
        """Steps of the optimizer in the whole training, for schedulers that must know."""
        steps = self.num_training_batches * self.max_epochs / self.accumulate_grad_batches
        whole = steps if steps == float("inf") else max(int(steps), 1)
        return min(whole, self.max_steps) if self.max_steps > 0 else whole

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the trainer has no `{name}` here: recipe-check takes steps without Lightning's "
            "Trainer, and what stands in for it knows lengths, epoch and device only"
        )


@contextmanager
def attached(model: nn.Module, trainer: Any, methods: Mapping[str, Any]) -> Iterator[None]:
    """In the block, the module (and those in it) have this trainer, log nowhere, and have these
    methods instead of their own."""
    nowhere = Silence()
    members = {"_trainer": trainer, "log": nowhere, "log_dict": nowhere, **methods}
    inside = [vars(m) for m in model.modules() if isinstance(m, kinds("LightningModule"))]
    before = [dict(held) for held in inside]
    for held in inside:
        held.update(members)
    try:
        yield
    finally:
        for held, own in zip(inside, before, strict=True):
            for name in members:
                held.pop(name, None)
                held.update({name: own[name]} if name in own else {})
