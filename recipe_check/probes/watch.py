"""Watching every torch operation of a pass, with the user's line that called it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from recipe_check.userframes import caller_location, enter_module, leave_module
from recipe_check.values import Location


class Observer(Protocol):
    """Told of each operation after it ran. It must not call torch operations that record a
    graph unless it wraps them in `torch.no_grad()`."""

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None: ...


class Watch(TorchFunctionMode):
    """Calls observers after each torch function of the block, with the mode switched off."""

    def __init__(self, *observers: Observer) -> None:
        super().__init__()
        self.observers = observers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for observe in self.observers:
            observe(func, args, kwargs or {}, out)
        return out


# The first two arguments are prediction and target.
PAIR_LOSSES: Mapping[Callable[..., Any], str] = {
    F.cross_entropy: "cross_entropy",
    F.nll_loss: "nll_loss",
    F.binary_cross_entropy: "binary_cross_entropy",
    F.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
    F.mse_loss: "mse_loss",
    F.l1_loss: "l1_loss",
    F.smooth_l1_loss: "smooth_l1_loss",
    F.huber_loss: "huber_loss",
    F.kl_div: "kl_div",
    F.poisson_nll_loss: "poisson_nll_loss",
    F.gaussian_nll_loss: "gaussian_nll_loss",
    F.multi_margin_loss: "multi_margin_loss",
    F.multilabel_margin_loss: "multilabel_margin_loss",
    F.multilabel_soft_margin_loss: "multilabel_soft_margin_loss",
    F.soft_margin_loss: "soft_margin_loss",
    F.hinge_embedding_loss: "hinge_embedding_loss",
    F.ctc_loss: "ctc_loss",
}


@dataclass(frozen=True)
class LossTerm:
    """One recorded call of a torch loss function; tensors still hold their graph."""

    kind: str
    func: Callable[..., Any]
    args: tuple[Any, ...]  # without prediction and target
    kwargs: Mapping[str, Any]  # likewise
    prediction: torch.Tensor
    target: Any
    value: torch.Tensor
    location: Location | None

    @property
    def ignore_index(self) -> int:
        """The label that a classification loss leaves out."""
        place = 2 if self.kind in ("cross_entropy", "nll_loss") else None
        given = self.args[place] if place is not None and len(self.args) > place else None
        found = self.kwargs.get("ignore_index", given)
        return int(found) if isinstance(found, int) else -100

    def replay(self, prediction: torch.Tensor) -> torch.Tensor:
        """The same call on another prediction (same shape)."""
        value: torch.Tensor = self.func(prediction, self.target, *self.args, **self.kwargs)
        return value


@dataclass
class LossObserver:
    """Collects the loss terms of a pass."""

    terms: list[LossTerm] = field(default_factory=list)

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        kind = _hashable_get(PAIR_LOSSES, func)
        if kind is None or not isinstance(out, torch.Tensor):
            return
        named = dict(kwargs)
        rest = list(args)
        prediction = rest.pop(0) if rest else named.pop("log_probs" if "ctc" in kind else "input")
        target = rest.pop(0) if rest else named.pop("targets" if "ctc" in kind else "target")
        if isinstance(prediction, torch.Tensor):
            self.terms.append(
                LossTerm(
                    kind, func, tuple(rest), named, prediction, target, out, caller_location(kind)
                )
            )


def _hashable_get(table: Mapping[Any, str], func: Any) -> str | None:
    try:
        return table.get(func)
    except TypeError:
        return None


def op_name(func: Any) -> str:
    """The name a user knows an operation by: `transpose`, `relu`, `__add__` as `+`."""
    name = getattr(func, "__name__", str(func))
    return _OPERATORS.get(name, name)


_OPERATORS = {
    "__add__": "+", "add": "+", "__radd__": "+", "__sub__": "-", "sub": "-", "__rsub__": "-",
    "__mul__": "*", "mul": "*", "__rmul__": "*", "__truediv__": "/", "div": "/",
    "__matmul__": "@", "__rmatmul__": "@", "__getitem__": "[]", "__pow__": "**", "__neg__": "-",
}  # fmt: skip


class ModuleStack:
    """Which module is running: names from the outermost to the innermost. `created` are the lines
    that made them, which stand for operations without a frame of the user's."""

    def __init__(self, model: nn.Module, created: Mapping[str, Location] | None = None) -> None:
        self.created = created or {}
        self.names = {id(module): name for name, module in model.named_modules()}
        self.stack: list[str] = []
        self.finished = ""  # the module that ended last

    @property
    def current(self) -> str:
        """The dotted name of the innermost running module ('' at the top)."""
        return self.stack[-1] if self.stack else ""

    @contextmanager
    def following(self) -> Iterator[ModuleStack]:
        """Within the block the stack is kept up to date."""
        before = nn.modules.module.register_module_forward_pre_hook(self._enter)
        after = nn.modules.module.register_module_forward_hook(self._leave, always_call=True)
        try:
            yield self
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: nn.Module, _args: Any) -> None:
        name = self.names.get(id(module))  # None for a loss, which stands outside
        self.stack.append(name or "")
        enter_module(None if name is None else self.created.get(name))

    def _leave(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        if self.stack:
            self.finished = self.stack.pop()
            leave_module()
