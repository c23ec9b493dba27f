"""The conventions: which names people give their model, data, loss, optimizer and scheduler."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from recipe_check.errors import LoadError
from recipe_check.userframes import user_traceback

NAMES: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "net", "module", "network", "Model", "Net", "Network"),
    "data": (
        "train_loader", "trainloader", "train_dataloader", "train_dl", "train_iter",
        "dataloader", "data_loader", "loader", "train_batches", "batches",
    ),
    "val_data": (
        "val_loader", "valloader", "val_dataloader", "val_dl", "valid_loader", "validloader",
        "valid_dl", "validation_loader", "valid_dataloader", "eval_loader", "dev_loader",
        "test_loader", "testloader", "test_dataloader", "test_dl",
    ),
    "loss": ("loss_fn", "criterion", "loss", "loss_func", "loss_function", "objective"),
    "optimizer": ("optimizer", "optim", "opt", "optimiser"),
    "scheduler": ("scheduler", "lr_scheduler", "sched", "lr_sched"),
    "training_step": ("training_step", "train_step"),
}  # fmt: skip
PREFIXES = ("make_", "build_", "create_", "get_")
FACTORY_STEMS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "net", "network"),
    "data": ("train_loader", "train_dataloader", "loader", "dataloader", "data_loader", "loaders",
             "dataloaders", "data"),
    "val_data": ("val_loader", "val_dataloader", "valid_loader", "test_loader"),
    "loss": ("loss_fn", "loss", "criterion", "loss_function"),
    "optimizer": ("optimizer", "optim", "optimiser"),
    "scheduler": ("scheduler", "lr_scheduler"),
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """An object that may play a role, and how it was found ("by name `net`")."""

    value: Any
    name: str
    how: str


def by_name(namespace: Mapping[str, Any], role: str) -> Candidate | None:
    """The first conventional name that holds something."""
    for name in NAMES[role]:
        if namespace.get(name) is not None and not isinstance(namespace[name], ModuleType):
            return Candidate(namespace[name], name, f"by its name `{name}`")
    return None


def by_factory(namespace: Mapping[str, Any], role: str) -> Candidate | None:
    """`make_model`, `build_loader`, … in the order of the prefixes."""
    for stem in FACTORY_STEMS.get(role, ()):
        for prefix in PREFIXES:
            value = namespace.get(prefix + stem)
            if callable(value):
                return Candidate(value, prefix + stem, f"made by `{prefix + stem}()`")
    return None


def by_option(module: ModuleType, text: str, option: str) -> Candidate:
    """An object named on the command line: `name`, `name.attribute` or `package.module:name`."""
    owner: Any = module
    head, colon, path = text.rpartition(":")
    if colon:
        owner = _module(head, f"{option} {text}")
    for part in path.split("."):
        try:
            owner = owner[part] if isinstance(owner, dict) else getattr(owner, part)
        except (AttributeError, KeyError):
            known = ", ".join(sorted(n for n in vars(module) if not n.startswith("_"))[:12])
            raise LoadError(
                f"{option} {text}: no `{part}` in {getattr(owner, '__name__', text)}",
                f"names there: {known}",
            ) from None
    return Candidate(owner, text, f"given by {option}")


def _module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise LoadError(
            f"{where}: {name} does not import: {type(error).__name__}: {error}",
            "write  package.module:name, and run from the folder of the package",
            user_traceback(error),
        ) from error


def required_arguments(value: Any) -> list[str] | None:
    """Names of the arguments a callable cannot do without; None where nobody can say."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in fixed]


def can_call_bare(value: Any) -> bool:
    """Whether it is a class or function that needs no argument."""
    is_factory = inspect.isclass(value) or inspect.isroutine(value)
    return is_factory and required_arguments(value) == []
