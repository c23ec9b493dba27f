"""`hubconf.py`, the file that `torch.hub.load` reads: its entry points make the model."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from recipe_check.errors import LoadError
from recipe_check.loading import find
from recipe_check.loading.loaders import Roles, Scene
from recipe_check.loading.names import FACTORY_STEMS, NAMES, PREFIXES, Candidate


class Hub:
    """The loader for `hubconf.py[:entry_point]`; data and loss come by the conventions."""

    def find(self, scene: Scene) -> Candidate | None:
        """The entry point that was named, or the only one."""
        if Path(getattr(scene.module, "__file__", None) or "").name != "hubconf.py":
            return None
        _check_dependencies(getattr(scene.module, "dependencies", ()))
        chosen = scene.chosen()
        if chosen is not None:
            return Candidate(chosen.value, chosen.name, f"entry point `{chosen.name}`")
        points = entry_points(scene)
        if not points:
            return None
        return find.only(points, "entry point", "--model", "the only entry point")

    def roles(self, model: nn.Module, scene: Scene) -> Roles | None:
        """None: a hub model is a plain one."""
        return None


def entry_points(scene: Scene) -> dict[str, Callable[..., Any]]:
    """Public functions of the file, as torch.hub lists them, without those of other roles."""
    others = {name for role, names in NAMES.items() if role != "model" for name in names}
    stems = [stem for role, stems in FACTORY_STEMS.items() if role != "model" for stem in stems]
    others |= {prefix + stem for prefix in PREFIXES for stem in stems}
    return {
        name: value
        for name, value in scene.namespace.items()
        if inspect.isfunction(value) and not name.startswith("_") and name not in others
    }


def _check_dependencies(names: Any) -> None:
    """As torch.hub: what the file lists in `dependencies` must be installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise LoadError(
            f"hubconf.py depends on {', '.join(missing)}",
            f"install {missing[0]!r} into this environment",
        )
