"""What a call in a training loop means, told from names and from what they were assigned."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

_OPTIMIZERS = frozenset(
    name for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
)  # fmt: skip
_SCHEDULERS = frozenset(n for n in vars(torch.optim.lr_scheduler) if n.endswith(("LR", "Plateau")))
_CLIPS = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_gradients")
_RESETS = ("reset_parameters", "apply")


def text_of(node: ast.AST, bound: Mapping[str, ast.expr]) -> str:
    """The source of an expression, parameters replaced by what the caller passed."""
    if isinstance(node, ast.Name) and node.id in bound:
        return ast.unparse(bound[node.id])
    if isinstance(node, ast.Attribute):
        return f"{text_of(node.value, bound)}.{node.attr}"
    return ast.unparse(node)


@dataclass(frozen=True)
class Names:
    """What the names of the files stand for."""

    optimizers: frozenset[str]
    schedulers: frozenset[str]
    numbers: Mapping[str, int]  # constants and defaults of command line options

    @classmethod
    def of(cls, trees: Sequence[ast.Module]) -> Names:
        nodes = [node for tree in trees for node in ast.walk(tree)]
        return cls(
            optimizers=frozenset(_assigned(nodes, _OPTIMIZERS)),
            schedulers=frozenset(_assigned(nodes, _SCHEDULERS)),
            numbers=_unambiguous(_numbers(nodes)),
        )  # fmt: skip

    def rounds(self, node: ast.expr, bound: Mapping[str, ast.expr]) -> int | None:
        """N of `range(N)`, `range(1, N + 1)` or `trange(N)`, where N is a known number."""
        if not (isinstance(node, ast.Call) and text_of(node.func, {}).endswith("range")):
            return None
        limits = [self._number(a, bound) for a in node.args[:2]]
        if not limits or any(n is None for n in limits):
            return None
        known = [n for n in limits if n is not None]
        return known[0] if len(known) == 1 else known[1] - known[0]

    def _number(self, node: ast.expr, bound: Mapping[str, ast.expr]) -> int | None:
        if isinstance(node, ast.Name) and node.id in bound and bound[node.id] is not node:
            return self._number(bound[node.id], {})
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name | ast.Attribute):
            return self.numbers.get(node.attr if isinstance(node, ast.Attribute) else node.id)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = self._number(node.left, bound), self._number(node.right, bound)
            return None if None in sides else sum(n for n in sides if n is not None)
        return None

    def cleared(self, node: ast.stmt, bound: Mapping[str, ast.expr]) -> str:
        """`p.grad = None`: whose gradient a statement clears, '' for none."""
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            return ""
        target = node.targets[0]
        none = isinstance(node.value, ast.Constant) and node.value.value is None
        return text_of(target.value, bound) if target.attr == "grad" and none else ""


def _assigned(nodes: Sequence[ast.AST], classes: frozenset[str]) -> Iterator[str]:
    """Names and attributes that are assigned a call of one of the classes."""
    for node in nodes:
        if not isinstance(node, ast.Assign):
            continue
        calls = [c for c in ast.walk(node.value) if isinstance(c, ast.Call)]
        if any(ast.unparse(c.func).rsplit(".", 1)[-1] in classes for c in calls):
            for target in node.targets:
                yield ast.unparse(target).rsplit(".", 1)[-1]


def _unambiguous(pairs: Iterator[tuple[str, int]]) -> dict[str, int]:
    """Names that have one value wherever they are set."""
    found: dict[str, set[int]] = {}
    for name, value in pairs:
        found.setdefault(name, set()).add(value)
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _numbers(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, int):
                yield from ((ast.unparse(t).rsplit(".", 1)[-1], node.value.value)
                            for t in node.targets)  # fmt: skip
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument"):
            flag = next((a.value for a in node.args if isinstance(a, ast.Constant)
                         and str(a.value).startswith("--")), "")  # fmt: skip
            values = [k.value for k in node.keywords if k.arg == "default"]
            if values and isinstance(values[0], ast.Constant) and isinstance(values[0].value, int):
                yield str(flag).lstrip("-").replace("-", "_"), values[0].value


def methods(trees: Sequence[ast.Module]) -> frozenset[str]:
    """Names of functions that stand in a class."""
    kinds = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    return frozenset(p.name for kind in kinds for p in kind.body if isinstance(p, ast.FunctionDef))


def imported(trees: Sequence[ast.Module]) -> frozenset[str]:
    """Names that are imported, and so may stand for a module with functions of the user's."""
    nodes = [n for tree in trees for n in ast.walk(tree)]
    names = [a for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
    return frozenset((name.asname or name.name).split(".")[0] for name in names)


def classify(
    node: ast.Call, bound: Mapping[str, ast.expr], names: Names
) -> tuple[str, str]:  # fmt: skip
    """(kind, owner) of a call, ('', '') where it means nothing to training."""
    if not isinstance(node.func, ast.Attribute):
        name = text_of(node.func, bound)
        return ("clip", name) if name in _CLIPS else ("forward", name)
    attribute, owner = node.func.attr, text_of(node.func.value, bound)
    last = owner.rsplit(".", 1)[-1]
    if attribute in ("backward", "manual_backward"):
        return "backward", owner
    if attribute == "zero_grad" or (attribute == "zero_" and ".grad" in owner):
        return "zero", owner
    if attribute == "step":
        return _step(last, names), owner
    if attribute in _CLIPS:
        return "clip", owner
    if attribute in ("train", "eval"):
        off = bool(node.args) and isinstance(node.args[0], ast.Constant) and not node.args[0].value
        return ("eval" if attribute == "eval" or off else "train"), owner
    if attribute in _RESETS:
        return ("reset" if _resets(node, attribute) else ""), owner
    return "forward", f"{owner}.{attribute}"


def _step(last: str, names: Names) -> str:
    if last in names.schedulers or "sched" in last.lower():
        return "schedule"
    is_optimizer = last in names.optimizers or "opt" in last.lower() or "scaler" in last.lower()
    return "step" if is_optimizer else ""


def _resets(node: ast.Call, attribute: str) -> bool:
    """`reset_parameters()`, and `apply` with something that initialises."""
    if attribute == "reset_parameters":
        return True
    given = " ".join(ast.unparse(a) for a in node.args).lower()
    return "init" in given or "reset" in given


def without_graph(managers: Sequence[ast.expr], before: bool) -> bool:
    """Whether operations below these context managers (or decorators) keep no autograd graph;
    `before` is what holds around them."""
    for manager in managers:
        text = ast.unparse(manager)
        off = ("no_grad", "inference_mode", "set_grad_enabled(False)")
        if text.removesuffix("()").endswith(off):
            before = True
        elif "enable_grad" in text or "set_grad_enabled" in text:
            before = False
    return before


def bindings(
    function: ast.FunctionDef, call: ast.Call, outer: Mapping[str, ast.expr]
) -> dict[str, ast.expr]:
    """What each parameter stands for in this call, in the caller's words."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    method = bool(names) and names[0] in ("self", "cls")
    values = [_outer(a, outer) for a in call.args]
    found = defaults(function)
    found |= dict(zip(names[1:] if method else names, values, strict=False))
    found |= {k.arg: _outer(k.value, outer) for k in call.keywords if k.arg}
    return found


def defaults(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """The default of each parameter that has one."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    values = function.args.defaults
    return dict(zip(names[len(names) - len(values) :], values, strict=True))


def _outer(node: ast.expr, bound: Mapping[str, ast.expr]) -> ast.expr:
    return bound.get(node.id, node) if isinstance(node, ast.Name) else node
