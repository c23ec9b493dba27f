"""LightningModules without their Trainer: which of the target's objects is the model."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from torch import nn

from recipe_check.loading import find
from recipe_check.loading.loaders import Roles, Scene
from recipe_check.loading.names import Candidate, by_factory, by_name, by_option, can_call_bare

LIBRARIES = ("lightning.pytorch", "pytorch_lightning")
DATA_MODULES = ("datamodule", "dm", "data_module")


def kinds(name: str) -> tuple[type, ...]:
    """The class of this name in each Lightning that the target has imported; both packages have
    their own."""
    imported = [sys.modules[library] for library in LIBRARIES if library in sys.modules]
    return tuple(getattr(module, name) for module in imported if hasattr(module, name))


class Lightning:
    """The loader for `lightning` and `pytorch_lightning`."""

    def find(self, scene: Scene) -> Candidate | None:
        """The only LightningModule: an object, else (without a factory) a class."""
        modules = kinds("LightningModule")
        if not modules or scene.chosen() is not None:
            return None
        objects = {n: v for n, v in scene.namespace.items() if isinstance(v, modules)}
        if objects:
            return find.find_model(objects, scene.module)
        if by_factory(scene.namespace, "model") is not None:
            return None
        return _only_class(scene, modules, "LightningModule", "--model")

    def roles(self, model: nn.Module, scene: Scene) -> Roles | None:
        """What `fit` would take from the module, its data module and the file's loaders."""
        if not isinstance(model, kinds("LightningModule")):
            return None
        from recipe_check.loading.lightning_fit import Fit

        return Fit(model, scene, data_module(scene)).roles()


def data_module(scene: Scene) -> Candidate | None:
    """The LightningDataModule of the target: by option, name or as the only one. A class counts
    where it needs no argument and there is no plain loader."""
    modules = kinds("LightningDataModule")
    if not modules:
        return None
    if scene.request.data:
        chosen = by_option(scene.module, scene.request.data, "--data")
        return chosen if _is_one(chosen.value, modules) else None
    objects = {n: v for n, v in scene.namespace.items() if isinstance(v, modules)}
    for name in DATA_MODULES:
        if name in objects:
            return Candidate(objects[name], name, f"by its name `{name}`")
    if objects:
        return find.only(objects, "data module", "--data", "the only LightningDataModule")
    if by_name(scene.namespace, "data") is not None:
        return None
    found = _only_class(scene, modules, "LightningDataModule", "--data")
    return found if found is not None and can_call_bare(found.value) else None


def _is_one(value: Any, modules: tuple[type, ...]) -> bool:
    return isinstance(value, modules) or (inspect.isclass(value) and issubclass(value, modules))


def _only_class(scene: Scene, bases: tuple[type, ...], kind: str, option: str) -> Candidate | None:
    """The only class of this kind; those that another one builds upon do not count."""
    classes = {
        name: value
        for name, value in scene.namespace.items()
        if inspect.isclass(value) and issubclass(value, bases) and value not in bases
    }
    above = {base for value in classes.values() for base in value.__mro__[1:]}
    last = {name: value for name, value in classes.items() if value not in above}
    return find.only(last, kind, option, f"the only {kind}") if last else None
