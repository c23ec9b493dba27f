"""Finding what plays each role in a namespace: by option, name, type or factory."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from recipe_check.copying import unwrap
from recipe_check.errors import LoadError
from recipe_check.loading.names import Candidate, by_factory, by_name, can_call_bare

_EVALUATION = ("val", "test", "eval", "dev", "hold")


def is_loss(value: Any) -> bool:
    """A criterion: torch's own loss modules and modules whose class name says so."""
    kind = value if inspect.isclass(value) else type(value)
    if issubclass(kind, nn.modules.loss._Loss):
        return True
    return issubclass(kind, nn.Module) and kind.__name__.lower().endswith(("loss", "criterion"))


def is_model(value: Any) -> bool:
    """A module that is no criterion, or a class of such modules that needs no argument."""
    if isinstance(value, nn.Module):
        return not is_loss(value)
    is_class = inspect.isclass(value) and issubclass(value, nn.Module)
    return is_class and not is_loss(value) and can_call_bare(value)


def find_model(namespace: Mapping[str, Any], module: ModuleType) -> Candidate:
    """By name, else the only module instance, else the factory, else the only class."""
    named = by_name(namespace, "model")
    if named is not None and (is_model(named.value) or can_call_bare(named.value)):
        return named
    loss = by_name(namespace, "loss")
    judge = loss.value if loss is not None else None  # a module of any class name
    instances = _distinct(
        [Candidate(v, n, "the only module") for n, v in namespace.items()
         if isinstance(v, nn.Module) and is_model(v) and v is not judge]
    )  # fmt: skip
    wrapped = {id(unwrap(c.value)) for c in instances
               if unwrap(c.value) is not c.value}  # fmt: skip
    instances = [c for c in instances if id(c.value) not in wrapped]
    if len(instances) == 1:
        return instances[0]
    if instances:
        raise ambiguous("model", instances, "--model")
    factory = by_factory(namespace, "model")
    if factory is not None:
        return factory
    classes = [
        Candidate(v, n, f"the only model class, `{n}()`")
        for n, v in namespace.items()
        if inspect.isclass(v)
        and is_model(v)
        and v.__module__ == module.__name__
        and type(judge) is not v
    ]
    if len(classes) == 1:
        return classes[0]
    if classes:
        raise ambiguous("model class", classes, "--model")
    raise LoadError(
        f"no model found in {_file(module)}",
        "name it `model` (an nn.Module or a function that makes one), or give --model NAME; "
        "--capture runs the file as a script and takes what it trains",
    )


def find_data(namespace: Mapping[str, Any], module: ModuleType) -> Candidate:
    """By name, else the only DataLoader that is not for evaluation, else a factory."""
    named = by_name(namespace, "data")
    if named is not None:
        return named
    loaders = _distinct(
        [Candidate(v, n, "the only DataLoader") for n, v in namespace.items()
         if isinstance(v, DataLoader)]
    )  # fmt: skip
    training = [c for c in loaders if not c.name.lower().startswith(_EVALUATION)]
    if len(training) == 1:
        return training[0]
    if training:
        raise ambiguous("data loader", training, "--data")
    factory = by_factory(namespace, "data")
    if factory is not None:
        return factory
    raise LoadError(
        f"no data loader found in {_file(module)}",
        "name it `train_loader` (any iterable of batches, or a function that makes one), "
        "or give --data NAME",
    )


def find_validation(namespace: Mapping[str, Any]) -> Candidate | None:
    """By name, else the only DataLoader whose name speaks of evaluation."""
    named = by_name(namespace, "val_data")
    if named is not None:
        return named
    return by_factory(namespace, "val_data")


def find_loss(namespace: Mapping[str, Any]) -> Candidate | None:
    """By name (callable), else the only loss module, else a factory or loss class."""
    named = by_name(namespace, "loss")
    if named is not None and callable(named.value):
        return named
    modules = _distinct(
        [Candidate(v, n, "the only loss module") for n, v in namespace.items()
         if isinstance(v, nn.Module) and is_loss(v)]
    )  # fmt: skip
    if len(modules) == 1:
        return modules[0]
    if modules:
        raise ambiguous("loss", modules, "--loss")
    return by_factory(namespace, "loss")


def find_optimizer(namespace: Mapping[str, Any]) -> Candidate | None:
    """By name, else the only optimizer instance, else a factory."""
    named = by_name(namespace, "optimizer")
    if named is not None and (
        isinstance(named.value, torch.optim.Optimizer) or callable(named.value)
    ):
        return named
    instances = _distinct(
        [Candidate(v, n, "the only optimizer") for n, v in namespace.items()
         if isinstance(v, torch.optim.Optimizer)]
    )  # fmt: skip
    if len(instances) == 1:
        return instances[0]
    return by_factory(namespace, "optimizer") if not instances else None


def only(named: Mapping[str, Any], role: str, option: str, how: str) -> Candidate:
    """The only object among these names; more than one is an error that lists them."""
    found = _distinct(Candidate(value, name, how) for name, value in named.items())
    if len(found) > 1:
        raise ambiguous(role, found, option)
    return found[0]


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate an object; private names last."""
    found: dict[int, Candidate] = {}
    for candidate in candidates:
        if not candidate.name.startswith("_"):
            found.setdefault(id(candidate.value), candidate)
    return list(found.values())


def ambiguous(role: str, candidates: list[Candidate], option: str) -> LoadError:
    """More than one candidate is an error that lists them: never a silent guess."""
    listed = ", ".join(f"`{c.name}` ({_kind(c.value)})" for c in candidates)
    return LoadError(
        f"more than one {role}: {listed}", f"say which one: {option} {candidates[0].name}"
    )


def _kind(value: Any) -> str:
    return value.__name__ if inspect.isclass(value) else type(value).__name__


def _file(module: ModuleType) -> str:
    name = getattr(module, "__file__", None) or module.__name__
    return str(name).rsplit("/", 1)[-1]
