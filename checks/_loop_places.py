"""Small helpers of the rules on training loops."""

from __future__ import annotations

import ast
import linecache

from torch import nn

from recipe_check import Location
from recipe_check.probes.loops import Event, Training
from recipe_check.userframes import relative

_KEPT = ("target", "teacher", "ema", "frozen", "momentum", "reference", "averag", "swa")


def place(event: Event) -> Location:
    """Where an event stands in the user's files."""
    source = linecache.getline(str(event.file), event.line).rstrip("\n")
    return Location(
        file=relative(str(event.file)), line=event.line, column=event.column, source=source[:500]
    )


def of_kinds(loop: Training, *kinds: str) -> list[Event]:
    """What the loop over batches does of these kinds, in order."""
    return [e for e in loop.batch.events() if e.kind in kinds]


def depends_on_mode(module: nn.Module) -> bool:
    """Whether train and eval differ for this layer."""
    drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return drops or isinstance(module, nn.modules.batchnorm._BatchNorm)


def learns(loop: Training, owner: str) -> bool:
    """Whether a model is the one that is trained: not a teacher, a target network or an average;
    one whose parameters are asked for, where those of any are."""
    name = owner.rsplit(".", 1)[-1]
    if any(word in name.lower() for word in _KEPT):
        return False
    files = {e.file for e in loop.batch.events()}
    asked = {ast.unparse(n.func.value).rsplit(".", 1)[-1]
             for f in files for n in ast.walk(ast.parse(f.read_text(encoding="utf-8")))
             if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
             and n.func.attr in ("parameters", "named_parameters")}  # fmt: skip
    return not asked or (name in asked and not _steps_on_others(loop, name))


def _steps_on_others(loop: Training, model: str) -> bool:
    """Whether the optimizer of this loop was made, before it, of something that is written out and
    is not this model: `SGD([temperature])`."""
    steps = {e.owner for e in of_kinds(loop, "step")}
    made = [e for e in (*loop.before, *(loop.epoch.events() if loop.epoch else ()))
            if e.kind == "assign" and e.owner in steps]  # fmt: skip
    value = getattr(made[-1].node, "value", None) if made else None
    given = value.args[:1] if isinstance(value, ast.Call) else []
    return any(isinstance(a, ast.List) and model not in ast.unparse(a) for a in given)


def hands_over(loop: Training, *words: str) -> bool:
    """Whether a call that was not followed gets the optimizer (or what the words name)."""
    calls = [e.node for e in loop.batch.events() if e.kind == "forward"]
    given = [
        ast.unparse(a).lower()
        for call in calls if isinstance(call, ast.Call)
        for a in (*call.args, *(k.value for k in call.keywords))
        if isinstance(a, ast.Name | ast.Attribute)
    ]  # fmt: skip
    return any(word in text for text in given for word in words)
