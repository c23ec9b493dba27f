"""From candidates to a Subject: factories called, the optimizer bound, everything said."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recipe_check.batches import takes_labels
from recipe_check.copying import Parts, unwrap
from recipe_check.errors import LoadError
from recipe_check.lab import seed_everything
from recipe_check.lineage import replica_of
from recipe_check.loading import find
from recipe_check.loading.kinds import (
    are_loaders,
    describe_loader,
    is_lazy,
    name_of,
    optimizer_builder,
)
from recipe_check.loading.loaders import Loaders, Roles, Scene, called
from recipe_check.loading.module import creation_lines
from recipe_check.loading.names import (
    Candidate,
    by_factory,
    by_name,
    by_option,
    can_call_bare,
    required_arguments,
)
from recipe_check.request import LoadRequest
from recipe_check.run_report import Found
from recipe_check.subject import DEFAULT_RATE, Subject


class Assembler:
    """Resolves each role of one module and records how."""

    def __init__(
        self, module: ModuleType, namespace: Mapping[str, Any], request: LoadRequest
    ) -> None:
        self.module = module
        self.namespace = namespace
        self.request = request
        self.loaders = Loaders()
        self.roles = Roles()
        self.found: list[Found] = []
        self.notes: list[str] = []
        self.replica: DistributedDataParallel | None = None

    def subject(self, file: Path | None, name: str) -> Subject:
        """The whole subject; raises LoadError with candidates where it cannot tell."""
        scene = Scene(self.module, self.namespace, self.request, name)
        model, build_model = self._model(scene)
        build_model = self._know(model, build_model, scene)
        loader, pair = self._data()
        val = self._validation(pair)
        step = self._training_step()
        loss = self._loss(model, step is not None)
        optimizer, build_optimizer = self._optimizer(model)
        scheduler = self._scheduler(optimizer)
        return Subject(
            name=type(model).__name__,
            original=Parts(model, loss, optimizer, scheduler),
            loader=loader,
            file=file,
            val_loader=val,
            training_step=step,
            build_model=build_model,
            build_optimizer=build_optimizer,
            stepping=self.roles.stepping(),
            replica=self.replica,
            found=tuple(self.found),
            notes=(*self.notes, *self.roles.notes),
            created=creation_lines(model),
        )

    # -- one method a role ---------------------------------------------------------------------

    def _model(self, scene: Scene) -> tuple[nn.Module, Callable[[], nn.Module] | None]:
        candidate = self.loaders.find(scene) or scene.chosen()
        if candidate is None:
            candidate = find.find_model(self.namespace, self.module)
        model, build = candidate.value, None
        if not isinstance(model, nn.Module):
            build = self._factory(candidate)
            model = self._call(build, candidate)
        if not isinstance(model, nn.Module):
            raise LoadError(
                f"`{candidate.name}` is a {type(model).__name__}, expected an nn.Module",
                "give the model, its class or a function that makes it",
            )
        inner = unwrap(model)
        self.replica = replica_of(inner)
        if isinstance(model, DistributedDataParallel):
            self.notes.append("the model inside DistributedDataParallel is checked")
        elif inner is not model:
            self.notes.append("the model inside torch.compile is checked, uncompiled")
        count = sum(p.numel() for p in inner.parameters() if not is_lazy(p))
        self._say("model", f"{type(inner).__name__}, {count:,} parameters", candidate)
        return inner, None if build is None else lambda: unwrap(build())

    def _know(
        self, model: nn.Module, build: Callable[[], nn.Module] | None, scene: Scene
    ) -> Callable[[], nn.Module] | None:
        """Asks the loaders for the other roles; returns what makes a model ready for use."""
        self.roles = self.loaders.roles(model, scene)
        prepare = self.roles.prepare
        if build is None or prepare is None:
            return build

        def prepared() -> nn.Module:
            made = build()
            prepare(made)
            return made

        return prepared

    def _factory(self, candidate: Candidate) -> Callable[[], Any]:
        make, kwargs = candidate.value, dict(self.request.kwargs)
        if not callable(make):
            raise LoadError(
                f"`{candidate.name}` is a {type(make).__name__}, expected an nn.Module",
                "give the model, its class or a function that makes it",
            )
        needed = [a for a in required_arguments(make) or [] if a not in kwargs]
        if needed:
            raise LoadError(
                f"`{candidate.name}` needs the argument{'s'[: len(needed) > 1]} "
                f"{', '.join(needed)}",
                f"give them:  --kwarg {needed[0]}=VALUE",
            )
        return lambda: make(**kwargs)

    def _data(self) -> tuple[Iterable[Any], Any]:
        if "data" in self.roles.candidates:
            candidate = self.roles.candidates["data"]
        elif self.request.data:
            candidate = by_option(self.module, self.request.data, "--data")
        else:
            candidate = find.find_data(self.namespace, self.module)
        value = self._value(candidate)
        pair = None
        if isinstance(value, tuple | list) and len(value) in (2, 3) and are_loaders(value):
            value, pair = value[0], value[1]
        if isinstance(value, Mapping) and "train" in value:
            value, pair = value["train"], value.get("val", value.get("valid", value.get("test")))
        if not isinstance(value, Iterable):
            raise LoadError(
                f"`{candidate.name}` is a {type(value).__name__}, expected an iterable of batches",
                "give a DataLoader, a list of batches or a function that makes one",
            )
        self._say("data", describe_loader(value), candidate)
        return value, pair

    def _validation(self, pair: Any) -> Iterable[Any] | None:
        if pair is not None:
            self._note_found("validation", describe_loader(pair), "second of the data factory")
            return pair if isinstance(pair, Iterable) else None
        known = self.roles.candidates.get("val_data")
        candidate = known or find.find_validation(self.namespace)
        if candidate is None:
            return None
        value = self._value(candidate)
        if not isinstance(value, Iterable):
            return None
        self._say("validation", describe_loader(value), candidate)
        return value

    def _training_step(self) -> Callable[..., Any] | None:
        known = self.roles.candidates.get("training_step")
        candidate = known or by_name(self.namespace, "training_step")
        if candidate is None or not callable(candidate.value):
            return None
        needed = required_arguments(candidate.value)
        if needed is None or len(needed) != 2:
            self.notes.append(f"`{candidate.name}` is not used: it does not take (model, batch)")
            return None
        step: Callable[..., Any] = candidate.value
        self._say("training step", f"{candidate.name}(model, batch)", candidate)
        return step

    def _loss(self, model: nn.Module, has_step: bool) -> Callable[..., Any] | None:
        if self.request.loss:
            candidate: Candidate | None = by_option(self.module, self.request.loss, "--loss")
        else:
            candidate = None if has_step else find.find_loss(self.namespace)
        if candidate is None:
            if not has_step:
                own = "from its labels" if takes_labels(model) else "no loss function in the target"
                self._note_found("loss", "the model's own", own)
            return None
        loss = candidate.value
        is_class = inspect.isclass(loss)
        is_maker = not isinstance(loss, nn.Module) and can_call_bare(loss)
        if is_class or is_maker:
            loss = self._value(candidate)
        if not callable(loss):
            raise LoadError(
                f"`{candidate.name}` is a {type(loss).__name__}, expected a loss function",
                "give a callable (output, target) -> scalar, or name it `loss_fn`",
            )
        self._say("loss", name_of(loss), candidate)
        made: Callable[..., Any] = loss
        return made

    def _optimizer(
        self, model: nn.Module
    ) -> tuple[torch.optim.Optimizer | None, Callable[[nn.Module], torch.optim.Optimizer] | None]:
        candidate = self.roles.candidates.get("optimizer")
        if candidate is None and self.request.optimizer:
            candidate = by_option(self.module, self.request.optimizer, "--optimizer")
        elif candidate is None:
            candidate = find.find_optimizer(self.namespace)
        if candidate is None:
            self._note_found("optimizer", f"Adam, lr {DEFAULT_RATE:g}", "none found: the default")
            return None, None
        build = None
        value = candidate.value
        if not isinstance(value, torch.optim.Optimizer):
            build = optimizer_builder(value)
            value = self._call(lambda: build(model), candidate)
        if not isinstance(value, torch.optim.Optimizer):
            raise LoadError(
                f"`{candidate.name}` is a {type(value).__name__}, expected an optimizer",
                "give an optimizer or a function (parameters) -> optimizer",
            )
        rates = sorted({float(group["lr"]) for group in value.param_groups if "lr" in group})
        shown = ", ".join(f"{rate:g}" for rate in rates[:3])
        self._say("optimizer", f"{type(value).__name__}, lr {shown}", candidate)
        return value, build

    def _scheduler(self, optimizer: torch.optim.Optimizer | None) -> Any:
        known = self.roles.candidates.get("scheduler")
        named = by_name(self.namespace, "scheduler") or by_factory(self.namespace, "scheduler")
        candidate = known or named
        if candidate is None:
            return None
        value = candidate.value
        if inspect.isroutine(value) and optimizer is not None:
            value = self._call(lambda: candidate.value(optimizer), candidate)
        if not hasattr(value, "step"):
            return None
        self._say("scheduler", type(value).__name__, candidate)
        return value

    # -- helpers -------------------------------------------------------------------------------

    def _value(self, candidate: Candidate) -> Any:
        """The object itself, called first when it is a zero-argument factory."""
        if can_call_bare(candidate.value):
            return self._call(candidate.value, candidate)
        return candidate.value

    def _call(self, make: Callable[[], Any], candidate: Candidate) -> Any:
        seed_everything(self.request.seed)
        return called(make, candidate.name, "it is called to make the object that is checked")

    def _say(self, role: str, summary: str, candidate: Candidate) -> None:
        self._note_found(role, summary, candidate.how)

    def _note_found(self, role: str, summary: str, how: str) -> None:
        self.found.append(Found(role=role, summary=summary, how=how))
