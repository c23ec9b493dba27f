"""What a fix says in words as a change of the line, where the line alone makes it certain."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import msgspec

from recipe_check.results import Verdict
from recipe_check.values import Location

_ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)


def with_change(verdict: Verdict) -> Verdict:
    """The verdict with the line to remove and the one to put there, where a rule knows it."""
    fix, place = verdict.fix, verdict.location
    if fix is None or fix.remove or fix.add or place is None:
        return verdict
    rule = next((rule for start, rule in _RULES.items() if fix.text.startswith(start)), None)
    after = None if rule is None else _changed(place, rule)
    if after is None:
        return verdict
    fix = msgspec.structs.replace(fix, remove=(place.source,), add=(after,))
    return msgspec.structs.replace(verdict, fix=fix)


Rule = Callable[[ast.Call, str, str], str | None]  # the call, its operation, its text


def _changed(place: Location, rule: Rule) -> str | None:
    """The line with what the rule makes of its marked call; None where it is not certain."""
    if place.column is None or place.end_column is None:
        return None
    line, start, end = place.source, place.column - 1, place.end_column - 1
    text = line[start:end]
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None
    better = rule(call, place.op, text) if isinstance(call, ast.Call) else None
    return None if better is None else line[:start] + better + line[end:]


def _name(call: ast.Call) -> str:
    """`softmax` of `F.softmax(…)`, of `x.softmax(…)` and of `self.softmax(…)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _its_input(call: ast.Call, op: str, text: str) -> str | None:
    """What goes into the function: its first argument, or the tensor whose method it is."""
    if _name(call) != op:
        return None
    if call.args and not _is_number(call.args[0]):
        found = call.args[0]
    elif isinstance(call.func, ast.Attribute):
        found = call.func.value
    else:
        return None
    part = ast.get_source_segment(text, found)
    return part if isinstance(found, _ATOMS) else f"({part})"


def _is_number(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(inner, ast.Constant)


def _undetached(call: ast.Call, op: str, text: str) -> str | None:
    return _its_input(call, op, text) if op == "detach" else None


_FLATTENED = re.compile(
    r"(?P<x>[\w.]+)\.transpose\((?:0, 1|1, 0)\)(?:\.contiguous\(\))?\.(?:reshape|view)"
    r"\((?:(?P=x)\.size\(0\)|(?P=x)\.shape\[0\]|len\((?P=x)\)), -1\)"
)


def _flat(call: ast.Call, _op: str, _text: str) -> str | None:
    """`x.transpose(0, 1).reshape(x.size(0), -1)` is meant as `x.flatten(1)`."""
    match = _FLATTENED.fullmatch(ast.unparse(call))
    return f"{match['x']}.flatten(1)" if match else None


def _shuffled(call: ast.Call, _op: str, text: str) -> str | None:
    """The same DataLoader with `shuffle=True`; one with a sampler takes none, and a third argument
    without a name is what shuffle is, or comes after it."""
    names = {keyword.arg for keyword in call.keywords}
    if _name(call) != "DataLoader" or names & {None, "sampler", "batch_sampler"}:
        return None
    if "shuffle" in names:
        return text.replace("shuffle=False", "shuffle=True") if "shuffle=False" in text else None
    return text[:-1].rstrip(", ") + ", shuffle=True)" if len(call.args) <= 2 else None


_RULES: dict[str, Rule] = {
    "return the raw scores": _its_input,
    "remove the detach": _undetached,
    "reshape without moving axis 0": _flat,
    "set shuffle=True": _shuffled,
}
