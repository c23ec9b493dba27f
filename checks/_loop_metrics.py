"""Predictions that are compared with labels: over which axis they were taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_RESHAPING = frozenset((
    "T", "mT", "t", "transpose", "permute", "movedim", "squeeze", "unsqueeze", "stack", "cat",
    "concat", "concatenate", "hstack", "vstack", "mean", "sum", "reshape", "view", "array",
))  # fmt: skip


def wrong_axes(file: Path, outputs: int) -> Iterator[tuple[ast.expr, str]]:
    """`argmax` calls whose result is compared with labels, and what is wrong with them.

    `outputs` is the width of the model's output of shape (batch, outputs).
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named, assigned, rows = _named_predictions(tree), _assigned(tree), _rows(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq):
            continue
        for side in (node.left, *node.comparators):
            call = named.get(side.id) if isinstance(side, ast.Name) else _argmax_in(side)
            axis = _axis(call) if call is not None else None
            if call is None or axis is None or _is_reshaped(call, assigned):
                continue
            if ast.unparse(_scores(call)) in rows - assigned.keys():
                continue
            if axis in (0, -2) and outputs > 1:
                yield call, "argmax over axis 0 chooses a sample of the batch, not a class"
            elif axis in (1, -1) and outputs == 1:
                yield call, "argmax over a single output is always 0"


def _named_predictions(tree: ast.AST) -> dict[str, ast.Call]:
    """Variables that hold the result of an argmax."""
    found = {}
    for name, value in _assignments(tree):
        call = _argmax_in(value)
        if call is not None:
            found[name] = call
    return found


def _assigned(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """All that each variable is assigned."""
    found: dict[str, list[ast.expr]] = {}
    for name, value in _assignments(tree):
        found.setdefault(name, []).append(value)
    return found


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """`a = b` and `a, b = c, d` by name; `values, indices = x.max(1)` by its last name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[-1], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        elif isinstance(target, ast.Tuple) and target.elts:
            pairs = [(target.elts[-1], value)]
        yield from ((name.id, value) for name, value in pairs if isinstance(name, ast.Name))


def _is_reshaped(call: ast.Call, assigned: dict[str, list[ast.expr]]) -> bool:
    """Whether the argmax is taken over something other than the output as it is: one of its rows,
    a transpose, probabilities that were joined, scores of several epochs."""
    of = _scores(call)
    names = [n.id for n in ast.walk(of) if isinstance(n, ast.Name)]
    values = [of, *(value for name in names for value in assigned.get(name, ()))]
    inner = [n for value in values for n in ast.walk(value) if n is not call]
    reshaping = {n.attr for n in inner if isinstance(n, ast.Attribute)} & _RESHAPING
    return bool(reshaping) or any(isinstance(n, ast.Subscript) for n in inner)


def _scores(call: ast.Call) -> ast.expr:
    """What an argmax is taken of."""
    method = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) != "torch"
    return call.func.value if method and isinstance(call.func, ast.Attribute) else call.args[0]


def _rows(tree: ast.AST) -> set[str]:
    """Names that stand for a part of something, one after the other: `for row in outputs`."""
    loops = [n.target for n in ast.walk(tree) if isinstance(n, ast.For | ast.comprehension)]
    return {n.id for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)}


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


def counts_by_batches(file: Path) -> Iterator[ast.expr]:
    """Sums of right answers that are divided by the number of batches, `len(loader)`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    counted = {
        ast.unparse(node.target) for node in ast.walk(tree)
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add)
        and "==" in (text := ast.unparse(node.value)) and ".sum(" in text
        and "mean(" not in text and "/" not in text
    }  # fmt: skip
    divisions = [
        n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)
    ]
    again = {id(n.left) for n in divisions}  # `correct / len(loader) / batch_size`
    for node in divisions:
        below = ast.unparse(node.right)
        length = isinstance(node.right, ast.Call) and below.startswith("len(")
        batches = length and "load" in below and "." not in below
        if batches and id(node) not in again and ast.unparse(node.left) in counted:
            yield node
