"""Target → Subject. Loading executes the target, as importing it does, and nothing more."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from recipe_check.errors import LoadError
from recipe_check.lab import seed_everything
from recipe_check.lineage import lines_recorded
from recipe_check.loading.assemble import Assembler
from recipe_check.loading.loaders import called
from recipe_check.loading.module import import_target, training_caught
from recipe_check.loading.names import NAMES
from recipe_check.loading.script import capture
from recipe_check.request import LoadRequest
from recipe_check.subject import Subject


def load(request: LoadRequest) -> Subject:
    """The subject of a target, found by the conventions; raises LoadError, never guesses.

    Order: options, `recipe()` (or a function marked `@recipe_check.recipe`), conventional
    names, the only object of its type, zero-argument factories.
    """
    seed_everything(request.seed)
    if request.root:
        sys.path.append(request.root)
    if request.capture:
        return capture(request)
    module, file, name = import_target(request.target, request.script_args)
    make = _recipe_function(module, name)
    with training_caught(request.target), lines_recorded():
        if make is None:
            namespace = dict(vars(module))
            return Assembler(module, namespace, request).subject(file, name)
        return _from_recipe(module, make, request).subject(file, "")


def _recipe_function(module: ModuleType, name: str) -> Callable[[], Any] | None:
    """`recipe` itself, the named function if it is marked, or the only marked function."""
    members = vars(module)
    marked = {n: v for n, v in members.items() if getattr(v, "__recipe__", False)}
    if name:
        chosen = members.get(name)
        return chosen if name in marked or name == "recipe" else None
    named: Callable[[], Any] | None = members.get("recipe")
    if callable(named):
        return named
    if len(marked) > 1:
        listed = ", ".join(f"`{n}`" for n in marked)
        raise LoadError(f"more than one recipe: {listed}", f"say which:  {module.__name__}.py:NAME")
    return next(iter(marked.values()), None)


def _from_recipe(module: ModuleType, make: Callable[[], Any], request: LoadRequest) -> Assembler:
    parts = called(lambda: make(**request.kwargs), "recipe()", "it is called to make the parts")
    namespace = _namespace(parts)
    known = {name for names in NAMES.values() for name in names} | {"data", "val_data"}
    if not known & set(namespace):
        raise LoadError(
            f"recipe() returned a {type(parts).__name__} without a known name in it",
            "return a dict such as {'model': …, 'train_loader': …, 'loss_fn': …}",
        )
    if "data" in namespace:
        namespace.setdefault("train_loader", namespace["data"])
    if "val_data" in namespace:
        namespace.setdefault("val_loader", namespace["val_data"])
    return Assembler(module, namespace, request)


def _namespace(parts: Any) -> dict[str, Any]:
    if isinstance(parts, Mapping):
        return {str(key): value for key, value in parts.items()}
    if dataclasses.is_dataclass(parts) and not isinstance(parts, type):
        return {f.name: getattr(parts, f.name) for f in dataclasses.fields(parts)}
    if isinstance(parts, tuple) and not hasattr(parts, "_fields"):
        order = ("model", "train_loader", "loss_fn", "optimizer", "scheduler")
        return dict(zip(order, parts, strict=False))
    if hasattr(parts, "_asdict"):
        return dict(parts._asdict())
    return dict(vars(parts)) if hasattr(parts, "__dict__") else {}
