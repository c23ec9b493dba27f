"""What single expressions of the source do: calls, operators, look-ups."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from recipe_check.batches import LABEL_KEYS

from ._bindings import spelled


def of_mapping(node: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Inputs and label of a sample that is a mapping."""
    keys = [k.value if isinstance(k, ast.Constant) else None for k in node.keys]
    label = next((i for i, key in enumerate(keys) if key in LABEL_KEYS), None)
    if label is not None and len(keys) > 1:
        first = next(i for i in range(len(keys)) if i != label)
        yield node.values[first], node.values[label]


def called(call: ast.Call) -> str:
    """The last part of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else spelled(call.func)


def collate_first(call: ast.Call) -> list[ast.expr]:
    """What a library's loader or wrapper is made of: its collate function is nearest to batches."""
    named = {k.arg: k.value for k in call.keywords}
    collate = [named["collate_fn"]] if "collate_fn" in named else []
    data = [named["dataset"]] if "dataset" in named else []
    return [*collate, *data, *call.args[:1]]


def names_in(node: ast.AST) -> set[str]:
    """Bare names in an expression."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def operations(node: ast.expr, statement: ast.AST | None = None) -> frozenset[str]:
    """Names of calls and operators in an expression; `index` for a look-up by other than a slice
    or a constant."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            found.add(called(part))
        elif isinstance(part, ast.BinOp | ast.UnaryOp):
            found.add("arithmetic" if not isinstance(part.op, ast.Not) else "not")
        elif isinstance(part, ast.Compare):
            found.add("compare")
        elif isinstance(part, ast.Subscript):
            found.add(_kind_of_index(part.slice))
        elif isinstance(part, ast.Attribute) and part.attr == "nan":
            found.add("nan")
    if isinstance(statement, ast.AugAssign):
        found.add("arithmetic")
    return frozenset(found - {""})


def _kind_of_index(index: ast.expr) -> str:
    first = index.elts[0] if isinstance(index, ast.Tuple) and index.elts else index
    if isinstance(first, ast.Slice):
        return "slice"
    return "item" if isinstance(first, ast.Constant | ast.UnaryOp) else "index"


def standardised(node: ast.expr) -> frozenset[tuple[str, str]]:
    """What is subtracted and divided by, of each `(… - mean) / std` in an expression; constants
    alone say nothing: (x - 0.5) / 0.5 may follow another scaling."""
    found = set()
    for part in ast.walk(node):
        if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Div):
            continue
        above = part.left
        if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Sub):
            pair = ast.unparse(above.right), ast.unparse(part.right)
            if not any(isinstance(n, ast.Constant) for n in (above.right, part.right)):
                found.add(pair)
    return frozenset(found)
