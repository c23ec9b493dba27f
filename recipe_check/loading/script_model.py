"""Which model a script trains: what it called that holds the optimizer's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from recipe_check.errors import LoadError
from recipe_check.lineage import modules_made
from recipe_check.loading.find import is_loss
from recipe_check.loading.script_tape import Call


@dataclass(frozen=True)
class Trained:
    """The model and the numbers of the calls of it, or of its parts where it is never called."""

    model: nn.Module
    calls: tuple[int, ...]
    note: str = ""

    def whole(self, calls: Mapping[int, Call]) -> int | None:
        """The number of the only call, if it is one of the whole model."""
        if len(self.calls) == 1 and calls[self.calls[0]].func is self.model:
            return self.calls[0]
        return None


def find_trained(calls: Mapping[int, Call], optimizer: torch.optim.Optimizer) -> Trained:
    """Raises LoadError where the optimizer's parameters are in no module that was called."""
    owning = owners(calls, optimizer)
    models = {number: module for number, module in owning.items() if not is_loss(module)}
    owning = models or owning
    if not owning:
        raise LoadError(
            f"no model found: the parameters of {type(optimizer).__name__} are in no module whose "
            "output reached backward()",
            "the model must be an nn.Module that is called: model(x)",
        )
    distinct = list({id(module): module for module in owning.values()}.values())
    model, note = _around(distinct)
    return Trained(model, tuple(owning), note)


def owners(calls: Mapping[int, Call], optimizer: torch.optim.Optimizer) -> dict[int, nn.Module]:
    """The calls of modules that hold parameters of the optimizer."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    modules = {n: call.func for n, call in calls.items() if isinstance(call.func, nn.Module)}
    return {n: m for n, m in modules.items() if any(id(p) in held for p in m.parameters())}


def _around(modules: list[nn.Module]) -> tuple[nn.Module, str]:
    """The smallest module that holds them all; a list of them where there is none."""
    found = [module for module in (*modules, *modules_made()) if _holds(module, modules)]
    if found:
        return min(found, key=lambda module: sum(1 for _ in module.modules())), ""
    names = ", ".join(type(module).__name__ for module in modules)
    return nn.ModuleList(modules), f"{names} are trained together: checked as one model"


def _holds(module: nn.Module, parts: Iterable[nn.Module]) -> bool:
    inside = {id(part) for part in module.modules()}
    return all(id(part) in inside for part in parts)
