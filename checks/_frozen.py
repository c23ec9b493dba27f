"""What autograd is told to treat as constant: recorded in one pass, replayed in others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from recipe_check.probes.watch import op_name

from ._no_grad import WithoutGradient

_EXACT = torch.float64
_CONSTANT = {"detach", "round", "sign", "floor", "ceil", "trunc", "argmax", "argmin", "heaviside"}


class Frozen(TorchFunctionMode):
    """Records what is constant for autograd in the first pass, replays it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[torch.Tensor] = []
        self.position: int | None = None  # None while recording
        self.low_precision = False
        self.without_gradient = WithoutGradient()

    def __enter__(self) -> Frozen:
        self.without_gradient.start()
        enter: Callable[[], Any] = super().__enter__
        enter()
        return self

    def __exit__(self, *error: Any) -> None:
        leave: Callable[..., Any] = super().__exit__
        leave(*error)
        self.without_gradient.stop()

    def replay(self) -> Frozen:
        """The next pass reads what was recorded."""
        self.position = 0
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = _exactly(func, args, kwargs or {})
        if not isinstance(out, torch.Tensor) or not out.is_floating_point():
            return out
        if out.requires_grad and out.dtype in (torch.float16, torch.bfloat16, torch.float32):
            self.low_precision = True
        name = op_name(func)
        data = (
            name == "__get__" and getattr(getattr(func, "__self__", None), "__name__", "") == "data"
        )
        constant = name in _CONSTANT or data or self.without_gradient.depth > 0
        return self._constant(out) if constant else out

    def _constant(self, out: torch.Tensor) -> torch.Tensor:
        if self.position is None:
            self.recorded.append(out.detach().clone())
            return out
        if self.position < len(self.recorded):
            kept = self.recorded[self.position]
            self.position += 1
            if kept.shape == out.shape:
                return kept.clone()
        return out


def _exactly(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The operation in float64 where the user asks for float32: `x.float()` before a loss is
    meant to raise the precision, not to lower it."""
    if op_name(func) == "float" and len(args) == 1:
        return args[0].double()
    args = tuple(_EXACT if a is torch.float32 else a for a in args)
    return func(*args, **{k: _EXACT if v is torch.float32 else v for k, v in kwargs.items()})
