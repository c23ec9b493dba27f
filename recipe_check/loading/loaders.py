"""Loaders: plugins that know how a library trains its models (group `recipe_check.loaders`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, TypeVar

from torch import nn

from recipe_check.errors import LoadError
from recipe_check.guard import is_callers
from recipe_check.loading.names import Candidate, by_option
from recipe_check.plugins import loader_classes
from recipe_check.request import LoadRequest
from recipe_check.subject import Stepping
from recipe_check.userframes import user_traceback

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """Where a loader looks: the names of the target, and what the user asked for."""

    module: ModuleType
    namespace: Mapping[str, Any]
    request: LoadRequest
    name: str = ""  # of an object, from `file.py:name`

    def chosen(self) -> Candidate | None:
        """The model that the user named, if any: a module, its class, a function, a trainer."""
        if self.request.model:
            return by_option(self.module, self.request.model, "--model")
        if self.name and self.name not in self.namespace.get("__roles__", ()):
            return by_option(self.module, self.name, "target")
        return None


@dataclass(frozen=True)
class Roles:
    """Who plays which role beside the model: `data`, `val_data`, `training_step`, `optimizer`,
    `scheduler`. Options and conventions fill those that are missing. `notes` may still grow while
    the candidates are called."""

    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    prepare: Callable[[nn.Module], None] | None = None  # what a new model needs before use
    stepping: Callable[[], Stepping | None] = lambda: None  # asked for once all is made


class Loader(Protocol):
    """Built once a load, without arguments. It must not import its library: a target that uses
    the library has done so."""

    def find(self, scene: Scene, /) -> Candidate | None:
        """The model (or what makes it), where it goes before the conventions."""

    def roles(self, model: nn.Module, scene: Scene, /) -> Roles | None:
        """The other roles for a model of this library, however it was found; None for others.
        What an option names (`scene.request`) is left out."""


class Loaders:
    """All loaders, asked in the order of their names; the first that knows something counts."""

    def __init__(self) -> None:
        self.all: list[Loader] = [kind() for kind in loader_classes().values()]

    def find(self, scene: Scene) -> Candidate | None:
        """The first model that a loader recognises."""
        found = (loader.find(scene) for loader in self.all)
        return next((candidate for candidate in found if candidate is not None), None)

    def roles(self, model: nn.Module, scene: Scene) -> Roles:
        """The roles of the first loader that knows the model; none for a plain one."""
        found = (loader.roles(model, scene) for loader in self.all)
        return next((roles for roles in found if roles is not None), Roles())


def called(make: Callable[[], T], name: str, purpose: str) -> T:
    """Calls the user's code; what it raises becomes a LoadError with their lines."""
    try:
        return make()
    except LoadError:
        raise
    except BaseException as error:
        if is_callers(error):
            raise
        raise LoadError(
            f"`{name}` raised {type(error).__name__}: {error}", purpose, user_traceback(error)
        ) from error
