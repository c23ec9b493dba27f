"""Predictions that are compared with labels: over which axis they were taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def wrong_axes(file: Path, outputs: int) -> Iterator[tuple[ast.expr, str]]:
    """`argmax` calls whose result is compared with labels, and what is wrong with them.

    `outputs` is the width of the model's output of shape (batch, outputs).
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named = _named_predictions(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq):
            continue
        for side in (node.left, *node.comparators):
            call = named.get(side.id) if isinstance(side, ast.Name) else _argmax_in(side)
            axis = _axis(call) if call is not None else None
            if call is None or axis is None:
                continue
            if axis in (0, -2) and outputs > 1:
                yield call, "argmax over axis 0 chooses a sample of the batch, not a class"
            elif axis in (1, -1) and outputs == 1:
                yield call, "argmax over a single output is always 0"


def _named_predictions(tree: ast.AST) -> dict[str, ast.Call]:
    """Variables that hold the result of an argmax."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[-1], ast.Name | ast.Tuple):
            target = node.targets[-1]
            name = target.elts[-1] if isinstance(target, ast.Tuple) and target.elts else target
            call = _argmax_in(node.value)
            if call is not None and isinstance(name, ast.Name):
                found[name.id] = call
    return found


def _argmax_in(node: ast.expr) -> ast.Call | None:
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
    return next((c for c in calls if _name(c) in ("argmax", "max") and _axis(c) is not None), None)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _axis(call: ast.Call) -> int | None:
    """The axis of `x.argmax(1)`, `torch.argmax(x, 1)`, `x.max(dim=1)`."""
    for keyword in call.keywords:
        if keyword.arg in ("dim", "axis"):
            return _integer(keyword.value)
    function = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "torch"
    place = 1 if function else 0
    return _integer(call.args[place]) if len(call.args) > place else None


def _integer(node: ast.expr) -> int | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError):
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
