"""The measurement of `registration`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as registration

from recipe_check import Location
from recipe_check.lineage import ARITHMETIC, RANDOM, lines_recorded, made_at

from ._blame import value_line
from ._dropped_results import dropped_results
from .registration import Unregistered

if TYPE_CHECKING:
    from recipe_check import Lab

MOST_NODES = 1000  # of a graph behind an attribute
_WEIGHTS = ("weight", "weights", "bias", "kernel", "W")
_MAKING = ARITHMETIC | RANDOM | frozenset({
    "to", "cuda", "clone", "double", "float", "half", "zeros", "ones", "full", "empty", "tensor",
    "requires_grad", "linspace", "eye", "unsqueeze", "reshape", "view", "expand",
})  # fmt: skip


def see_unregistered(lab: Lab) -> Unregistered:
    """Searches the original's attributes; one forward pass for layers that it makes."""
    model = lab.subject.original.model
    known = {id(m) for m in model.modules()} | {id(p) for p in model.parameters()}
    found = [
        (f"{name}.{key}" if name else key, item)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if not key.startswith("_")
        for item in _items(value)
        if id(item) not in known and _trains(item)
    ]
    anew = _made_in_forward(lab)
    derived, repeated, constant = _derived(model), _repeated(model), _constant(model)
    dropped = dropped_results(model)
    groups: tuple[list[tuple[str, Location | None]], ...] = (
        anew, derived, repeated, constant, dropped,
    )  # fmt: skip
    lines = [_line(found), *(where for group in groups for _, where in group)]
    return Unregistered(
        tuple(dict.fromkeys(n for n, _ in found)),
        lines[0] if found else next((line for line in lines if line is not None), None),
        *(tuple(dict.fromkeys(name for name, _ in group)) for group in groups),
    )


def _items(value: Any) -> Iterator[Any]:
    """What hangs on an attribute: itself if it is a tensor, or the contents of a container."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _items(item) if isinstance(item, list | tuple | dict) else (item,)
    elif isinstance(value, torch.Tensor):
        yield value


def _trains(item: Any) -> bool:
    if isinstance(item, nn.Module):
        return any(p.requires_grad for p in item.parameters())
    return isinstance(item, torch.Tensor) and item.requires_grad and item.is_leaf


def _line(found: list[tuple[str, Any]]) -> Location | None:
    """The line that made the first of the layers, or that drew the first of the tensors."""
    made = (
        made_at(item) if isinstance(item, nn.Module) else value_line(item, _MAKING)
        for _, item in found
    )
    return next((where for where in made if where is not None), None)


def _made_in_forward(lab: Lab) -> list[tuple[str, Location | None]]:
    """Layers with trainable weights that are made and called during one forward pass.

    Made is what gets its weights in it: a loss or a step may call networks of its own, which are
    copied with the model and are not in it.
    """
    rig = lab.rig().eval()
    known = {id(module) for module in rig.model.modules()}
    made: dict[int, nn.Module] = {}
    seen: list[nn.Module] = []

    def gets(module: nn.Module, _name: str, _part: Any) -> None:
        made[id(module)] = module

    def note(module: nn.Module, _args: Any) -> None:
        if id(module) in made.keys() - known and any(
            p.requires_grad and p.ndim > 1 for p in module.parameters()
        ):
            seen.append(module)

    hooks = [
        registration.register_module_parameter_registration_hook(gets),
        registration.register_module_module_registration_hook(gets),
        registration.register_module_forward_pre_hook(note),
    ]
    try:
        with lines_recorded(), rig.looking():
            rig.forward(rig.put(lab.train_batches[0]))
    finally:
        for hook in hooks:
            hook.remove()
    lines = [(module, made_at(module)) for module in seen]
    return [(f"a {type(m).__name__}", where) for m, where in lines if where is not None]


def _derived(model: nn.Module) -> list[tuple[str, Location | None]]:
    """Attributes with a graph that leads to leaves of no layer: `nn.Parameter(w) * 0.1`."""
    known = {id(p) for p in model.parameters()}
    return [
        (f"{name}.{key}" if name else key, value_line(value, _MAKING))
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor) and value.grad_fn is not None
        and (leaves := _leaves(value)) and not known & {id(leaf) for leaf in leaves}
    ]  # fmt: skip


def _leaves(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The leaves that a tensor was computed from."""
    waiting: list[Any] = [tensor.grad_fn]
    seen: set[Any] = set()
    found: list[torch.Tensor] = []
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [parent for parent, _ in node.next_functions]
    return found


def _repeated(model: nn.Module) -> list[tuple[str, Location | None]]:
    """Containers in which one layer with weights stands several times."""
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        children = [m for m in module._modules.values() if m is not None]
        times = [(m, sum(m is other for other in children)) for m in children]
        layer, most = max(times, key=lambda pair: pair[1], default=(None, 0))
        if layer is not None and most > 1 and any(p.ndim > 1 for p in layer.parameters()):
            what = f"{type(layer).__name__} stands {most} times in {name or 'the model'}"
            found.append((what, made_at(module) or made_at(layer)))
    return found


def _constant(model: nn.Module) -> list[tuple[str, Location | None]]:
    """Random tensors that are called weight or bias, and are neither parameter nor buffer."""
    return [
        (f"{name}.{key}" if name else key, where)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key in _WEIGHTS and isinstance(value, torch.Tensor) and value.is_floating_point()
        and not value.requires_grad and (where := value_line(value, RANDOM)) is not None
    ]  # fmt: skip
