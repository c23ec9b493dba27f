"""The measurement of `freezing`: names before and after `model.train()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from recipe_check import Location, tree
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from ._attention_inputs import padding_of
from ._blame import stated
from .freezing import Freeze

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

_MISSPELT = ("require_grad", "required_grad", "requires_gradient", "require_grads",
             "requires_grads", "requiresgrad", "require_gradient")  # fmt: skip


def see_freeze(lab: Lab) -> Freeze:
    """Compares names on a copy; the user's model keeps its mode."""
    rig = lab.rig()
    frozen = {name for name, p in rig.model.named_parameters() if not p.requires_grad}
    switch = _Switches()
    with Watch(switch):
        rig.train()
    now = {name for name, p in rig.model.named_parameters() if not p.requires_grad}
    drifting = _drifting(rig.model) if not _is_switched_off(lab) else ()
    thawed = tuple(sorted(frozen - now))
    words, table = _wrong_padding(lab, rig)
    first = next(iter((*thawed, *drifting)), table)
    ineffective, unthawed = _ineffective(rig.model), _unthawed(rig.model)
    wrong = (*ineffective, *unthawed)
    setting = stated(lab, ".requires_grad =", wrong[0].rsplit(".", 1)[-1]) if wrong else None
    return Freeze(
        frozen=len(frozen),
        thawed=thawed,
        misspelt=tuple(
            # a copy of a parameter has lost its attributes
            f"{name}.{key}" for name, p in lab.subject.original.model.named_parameters()
            for key in vars(p) if key.lower() in _MISSPELT
        ),
        ineffective=ineffective,
        unthawed=unthawed,
        words=words,
        drifting=drifting,
        location=(switch.location if thawed else None) or setting or _creation(lab, first),
    )  # fmt: skip


class _Switches:
    """Remembers the user's line that makes a parameter trainable."""

    def __init__(self) -> None:
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if op_name(func) in ("__set__", "requires_grad_") and self.location is None:
            self.location = caller_location("requires_grad")


def _creation(lab: Lab, name: str) -> Location | None:
    """The line that made the module, or the closest one around it."""
    while name and name not in lab.subject.created:
        name = name.rpartition(".")[0]
    return lab.subject.created.get(name)


def _ineffective(model: nn.Module) -> tuple[str, ...]:
    """Modules with a plain attribute `requires_grad = False` and parameters that train."""
    return tuple(
        name or type(module).__name__ for name, module in model.named_modules()
        if vars(module).get("requires_grad") is False
        and any(p.requires_grad for p in module.parameters())
    )  # fmt: skip


def _unthawed(model: nn.Module) -> tuple[str, ...]:
    """Likewise with True, and parameters that are all frozen."""
    return tuple(
        name or type(module).__name__ for name, module in model.named_modules()
        if vars(module).get("requires_grad") is True and any(True for _ in module.parameters())
        and not any(p.requires_grad for p in module.parameters())
    )  # fmt: skip


def _wrong_padding(lab: Lab, rig: Rig) -> tuple[str, str]:
    """An embedding that keeps another word at zero than the padding, and its name."""
    leaves = tree.leaves(rig.split(lab.train_batches[0]).inputs)
    padding = padding_of(leaves)
    leaf = next((t for t in leaves if padding is not None and t.shape == padding.shape), None)
    if padding is None or leaf is None:
        return "", ""
    token = int(leaf[padding][0])
    for name, module in rig.model.named_modules():
        if isinstance(module, nn.Embedding) and module.padding_idx not in (None, token):
            kept = int(module.padding_idx or 0)
            if bool((leaf == kept).any()):
                return (
                    f"{name} has padding_idx {kept}, a word that occurs, and rows are padded with "
                    f"{token}: the word is never learned, and the padding is", name
                )  # fmt: skip
    return "", ""


def _drifting(model: nn.Module) -> tuple[str, ...]:
    """Normalisation layers in training mode with frozen weights, where something else trains."""
    if not any(p.requires_grad for p in model.parameters()):
        return ()
    found = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        tracks = any(key.startswith("running_") for key, _ in module.named_buffers(recurse=False))
        frozen = own and not any(p.requires_grad for p in own)
        if tracks and module.training and frozen and not _is_twin(model, name):
            found.append(name)
    return tuple(found)


def _is_twin(model: nn.Module, name: str) -> bool:
    """Whether the part of the model that holds this layer copies a part that trains: teachers and
    target networks follow it, statistics and all."""
    head = name.split(".")[0]
    own = [p.shape for p in model.get_submodule(head).parameters()]
    others = (m for n, m in model.named_children() if n != head)
    return any(
        [p.shape for p in m.parameters()] == own and any(p.requires_grad for p in m.parameters())
        for m in others
    )


def _is_switched_off(lab: Lab) -> bool:
    """Whether the user's loop puts a part of the model back into eval mode."""
    events = [e for loop in lab.training_loops for e in (loop.epoch or loop.batch).events()]
    return any(e.kind == "eval" and "." in e.owner for e in events)
