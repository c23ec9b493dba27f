"""The measurement of `dropout`."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Location, tree
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location, is_user_file, relative

from ._calls import forward_leaves, model_call
from ._loop_places import depends_on_mode
from .dropout import Dropping

if TYPE_CHECKING:
    from recipe_check import Lab

_FUNCTIONS = frozenset(
    {
        F.dropout,
        torch.dropout,
        F.dropout1d,
        F.dropout2d,
        F.dropout3d,
        F.alpha_dropout,
        F.feature_alpha_dropout,
    }
)
_ATTENTION = (F.scaled_dot_product_attention, F.multi_head_attention_forward)  # fmt: skip


_RANDOM = ("randn", "rand", "randn_like", "rand_like", "normal", "normal_", "uniform_")
_RECURRENT = ("gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "rnn_tanh_cell",
              "rnn_relu_cell")  # fmt: skip
_CARRYING = ("to", "cuda", "view", "reshape", "expand", "repeat", "clone", "*", "mul_", "unbind",
             "unsqueeze", "squeeze", "float", "type_as", "contiguous", "[]")  # fmt: skip


class _RandomState:
    """Remembers the line that drew a recurrent layer's first state."""

    def __init__(self) -> None:
        self.drawn: dict[int, Location | None] = {}
        self.kept: list[torch.Tensor] = []
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        name = op_name(func)
        given = [id(t) for t in tree.leaves([list(args), dict(kwargs)])]
        before = next((self.drawn[i] for i in given if i in self.drawn), None)
        if name in _RECURRENT and before is not None and self.location is None:
            if not given or given[0] not in self.drawn:  # its input may well be noise
                self.location = before
        elif name in _RANDOM or (name in _CARRYING and before is not None):
            for leaf in tree.leaves(out):
                self.drawn[id(leaf)] = before or caller_location(name)
                self.kept.append(leaf)


class _ActiveDropout:
    """Remembers the first dropout function whose result differs from what it was given."""

    def __init__(self) -> None:
        self.op = ""
        self.location: Location | None = None

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if self.op:
            return
        if func in _ATTENTION and float(kwargs.get("dropout_p", 0.0)) > 0:
            self.op, self.location = op_name(func), caller_location(op_name(func))
        if func not in _FUNCTIONS or not args:
            return
        if isinstance(out, torch.Tensor) and not torch.equal(out, args[0]):
            self.op, self.location = op_name(func), caller_location(op_name(func))


def see_dropping(lab: Lab) -> Dropping:
    """Two passes in evaluation mode with different noise; layers are read, not run."""
    rig = lab.rig().eval()
    rates = tuple(
        (name, float(module.p))
        for name, module in rig.model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd)
    )
    batch, _, call = model_call(lab, rig)
    observer, states = _ActiveDropout(), _RandomState()
    with rig.stack().following(), Watch(observer, states):
        one = forward_leaves(rig, call, batch, seed=1)
    two = forward_leaves(rig, call, batch, seed=2)
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a.shape == b.shape and a.numel()]
    noisy = max((float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs),
                default=0.0)  # fmt: skip
    worst = max(rates, key=lambda rate: rate[1], default=("", 0.0))[0]
    where = observer.location if observer.op else lab.subject.created.get(worst)
    stuck, line = _out_of_mode(rig.model)
    idle = () if stuck else _idle(lab)
    if idle:
        line = _override(lab.rig().model) or lab.subject.created.get(idle[0])
    line = line if stuck or idle else where
    return Dropping(rates, noisy, observer.op, line, stuck, idle, states.location)


def _out_of_mode(model: nn.Module) -> tuple[str, Location | None]:
    """Layers that depend on the mode and are still in training mode after model.eval(), with the
    method that keeps them there; ('', None) for none."""
    kept = [name for name, m in model.named_modules() if m.training and depends_on_mode(m)]
    return (", ".join(kept[:3]), _override(model) or _switched_in_forward(model)) if kept else (
        "", None)  # fmt: skip


def _idle(lab: Lab) -> tuple[str, ...]:
    """Dropout that is off after model.train(), in a part of the model whose weights train."""
    model = lab.rig().train().model
    found = []
    for name, module in model.named_modules():
        off = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        if off and not module.training:
            around = model.get_submodule(name.rpartition(".")[0])
            if any(p.requires_grad for p in around.parameters()):
                found.append(name)
    return tuple(found)


def _override(model: nn.Module) -> Location | None:
    """The user's own train() or eval() of the first layer that has one."""
    for module in model.modules():
        for method in ("train", "eval"):
            function = getattr(type(module), method)
            if function is not getattr(nn.Module, method) and is_user_file(
                function.__code__.co_filename
            ):
                return _first_statement(function.__code__, method)
    return None


def _first_statement(code: CodeType, method: str) -> Location:
    """The first line of a method's body that does not call super()."""
    lines = sorted({n for *_, n in code.co_lines() if n and n > code.co_firstlineno})
    own = (n for n in lines if "super(" not in linecache.getline(code.co_filename, n))
    return _at(code.co_filename, next(own, code.co_firstlineno), method)


def _switched_in_forward(model: nn.Module) -> Location | None:
    """A call of train() in a method of one of the model's classes."""
    for kind in dict.fromkeys(type(module) for module in model.modules()):
        code = getattr(kind.forward, "__code__", None)
        if code is None or not is_user_file(code.co_filename) or "train" not in code.co_names:
            continue
        for line in range(code.co_firstlineno, max(n for *_, n in code.co_lines() if n) + 1):
            if ".train(" in linecache.getline(code.co_filename, line):
                return _at(code.co_filename, line, "train")
    return None


def _at(file: str, line: int, op: str) -> Location:
    source = linecache.getline(file, line).rstrip("\n")
    return Location(file=relative(file), line=line, source=source[:500], op=op)
