"""Results of layers that forward() computes and never uses, read from its source."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from recipe_check import Location
from recipe_check.userframes import is_user_file, relative

if TYPE_CHECKING:
    from torch import nn


def dropped_results(model: nn.Module) -> list[tuple[str, Location | None]]:
    """`y = self.layer(x)` whose `y` is overwritten or left unread; nothing is run."""
    kinds = dict.fromkeys(type(module) for module in model.modules())
    return [found for kind in kinds for found in _in_forward(kind)]


def _in_forward(kind: type[nn.Module]) -> Iterator[tuple[str, Location | None]]:
    code = getattr(kind.forward, "__code__", None)
    if code is None or not is_user_file(code.co_filename):
        return
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name and (
            code.co_firstlineno in (node.lineno, *(d.lineno for d in node.decorator_list))
        ):  # fmt: skip
            for statement in _dropped(node.body):
                text = ast.unparse(statement.value)
                yield f"{ast.unparse(statement.targets[0])} = {text[:40]}", Location(
                    file=relative(code.co_filename), line=statement.lineno,
                    column=statement.col_offset + 1,
                    source=linecache.getline(code.co_filename, statement.lineno).rstrip("\n")[:500],
                )  # fmt: skip


def _dropped(body: Sequence[ast.stmt]) -> Iterator[ast.Assign]:
    """Assignments of a layer's result in a straight line whose name is written again, or the
    function ends, before it is read."""
    for number, statement in enumerate(body):
        if not isinstance(statement, ast.Assign) or not _calls_a_layer(statement.value):
            continue
        target = statement.targets[0]
        if len(statement.targets) > 1 or not isinstance(target, ast.Name) or target.id[0] == "_":
            continue
        if not _is_read(target.id, body[number + 1 :]):
            yield statement


def _is_read(name: str, rest: Sequence[ast.stmt]) -> bool:
    for statement in rest:
        uses = [n for n in ast.walk(statement) if isinstance(n, ast.Name) and n.id == name]
        if any(isinstance(n.ctx, ast.Load) for n in uses):
            return True
        if isinstance(statement, ast.AugAssign) and uses:
            return True
        if uses and isinstance(statement, ast.Assign):
            return False
    return False


def _calls_a_layer(value: ast.expr) -> bool:
    """A call of an attribute of self somewhere in the expression."""
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        and isinstance(n.func.value, ast.Name) and n.func.value.id == "self"
        for n in ast.walk(value)
    )  # fmt: skip
