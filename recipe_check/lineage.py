"""Which of the user's lines made an object, and which operations made a tensor.

While the target is loaded every torch operation is noted with the user's line, so that a finding
about data can name the line where labels were shifted or samples permuted, and one about weights
the line that initialised or froze them. What happens outside torch (NumPy, pandas) is not seen.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader
from torch.utils.weak import WeakIdKeyDictionary, WeakTensorKeyDictionary

from recipe_check.userframes import caller_location
from recipe_check.values import Location

MOST_STEPS = 20_000  # operations that are noted; then loading goes on without
DEEPEST = 400  # steps that are followed back
_INIT = "__init__"
_MAKERS: tuple[type, ...] = (nn.Module, torch.optim.Optimizer, DataLoader)

ARITHMETIC = frozenset({
    "add", "sub", "rsub", "mul", "div", "true_divide", "floor_divide", "remainder", "pow", "neg",
    "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__",
    "__rtruediv__", "__floordiv__", "__mod__", "__neg__", "__pow__", "clamp", "long", "int",
    "byte", "where", "normalize", "__iadd__", "__isub__", "__imul__", "__idiv__",
    "__itruediv__", "__invert__", "round", "floor", "abs", "sqrt", "log",
})  # fmt: skip
DRAWN = frozenset({"normal", "uniform", "constant", "zeros", "ones", "fill", "zero", "trunc_normal",
                   "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform",
                   "orthogonal", "copy", "set_data"})  # fmt: skip
VIEWS = frozenset({"view", "reshape", "unflatten", "view_as", "reshape_as"})
RANDOM = frozenset({"randn", "randn_like", "rand", "rand_like", "normal", "bernoulli",
                    "dropout", "uniform", "randint", "randint_like", "randperm"})  # fmt: skip
REORDERING = frozenset({"index", "index_select", "take", "gather", "flip", "roll", "sort",
                        "randperm", "argsort"})  # fmt: skip

_LOOKED_AT = frozenset({"slice", "index", "select", "unbind", "long", "int", "float", "to", "type",
                        "view", "reshape", "squeeze", "unsqueeze"})  # fmt: skip

_SMALL = (torch.uint8, torch.int8, torch.int16)
_WIDE = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}


@dataclass(frozen=True)
class Step:
    """One operation with the user's line, and the steps that made its operands."""

    op: str
    location: Location | None
    parents: tuple[Step, ...]
    wrapped: bool = False  # small integers went beyond their range

    def back(self) -> Iterator[Step]:
        """This step and those before it, the nearest first."""
        waiting, seen = [self], {id(self)}
        while waiting and len(seen) < DEEPEST:
            step = waiting.pop(0)
            yield step
            fresh = [parent for parent in step.parents if id(parent) not in seen]
            seen.update(map(id, fresh))
            waiting += fresh


_made: Any = WeakIdKeyDictionary()  # by identity: some modules hash by their state
_steps: Any = WeakTensorKeyDictionary()
_freezes: Any = WeakTensorKeyDictionary()


def made_at(value: Any) -> Location | None:
    """The line that made a module, optimizer or data loader."""
    try:
        found: Location | None = _made.get(value)
    except TypeError:
        return None
    return found


def modules_made() -> list[nn.Module]:
    """Every module whose line is known and that is still alive."""
    return [value for value in _made if isinstance(value, nn.Module)]


def replica_of(model: nn.Module) -> DistributedDataParallel | None:
    """What the target has wrapped a module in, to train it on several ranks."""
    made = (m for m in modules_made() if isinstance(m, DistributedDataParallel))
    return next((replica for replica in made if replica.module is model), None)


def optimizers_made() -> list[torch.optim.Optimizer]:
    """Likewise every optimizer."""
    return [value for value in _made if isinstance(value, torch.optim.Optimizer)]


def frozen_at(parameter: torch.Tensor) -> Location | None:
    """The line that last switched its gradient on or off."""
    found: Location | None = _freezes.get(parameter)
    return found


def blamed(tensor: torch.Tensor | None, ops: frozenset[str]) -> Location | None:
    """The user's line of the last operation of this kind on the way to the tensor."""
    start = _steps.get(tensor) if isinstance(tensor, torch.Tensor) else None
    if start is None:
        return None
    found = (s.location for s in start.back() if s.op in ops and s.location is not None)
    return next(found, None)


def wrapped_at(tensor: torch.Tensor | None) -> Location | None:
    """The user's line where small integers left their range on the way to the tensor."""
    start = _steps.get(tensor) if isinstance(tensor, torch.Tensor) else None
    found = start.back() if start is not None else ()
    return next((s.location for s in found if s.wrapped and s.location is not None), None)


def drawn_apart(inputs: torch.Tensor, target: torch.Tensor) -> Location | None:
    """The line that drew the target, where it is nothing but random numbers, and the inputs come
    from others alone: data that hold the place of real ones."""
    if inputs not in _steps or target not in _steps:
        return None
    own, others = list(_steps[target].back()), list(_steps[inputs].back())
    roots = [step for step in (*own, *others) if not step.parents]
    pure = all(step.op in RANDOM | _LOOKED_AT for step in own)
    if (
        not pure
        or any(step.op not in RANDOM for step in roots)
        or set(map(id, own)) & set(map(id, others))
    ):
        return None
    return next((step.location for step in own if step.op in RANDOM), None)


@contextmanager
def lines_recorded() -> Iterator[None]:
    """Within the block makers and operations are noted."""
    before = [(kind, getattr(kind, _INIT)) for kind in _MAKERS]
    for kind, original in before:
        setattr(kind, _INIT, _remembering(original))
    try:
        with _Noting():
            yield
    finally:
        for kind, original in before:
            setattr(kind, _INIT, original)


@contextmanager
def steps_recorded() -> Iterator[None]:
    """Within the block operations are noted (fetching a sample)."""
    with _Noting():
        yield


def _remembering(original: Callable[..., None]) -> Callable[..., None]:
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        where = caller_location(type(self).__name__)
        if where is not None:
            _made[self] = where

    return remember


class _Noting(TorchFunctionMode):
    """Notes what each operation made; the operation itself runs as it would."""

    def __init__(self) -> None:
        super().__init__()
        self.left = MOST_STEPS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.left > 0:
            self._note(getattr(func, "__name__", ""), args, kwargs or {}, out)
        return out

    def _note(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> None:
        if name in ("__set__", "requires_grad_"):
            if args and isinstance(args[0], torch.Tensor):
                _freezes[args[0]] = caller_location("requires_grad")
            return
        changed = [args[0]] if name == "__setitem__" and args else _tensors(out)
        if not changed:
            return
        self.left -= 1
        given = [t for a in (*args, *kwargs.values()) for t in _tensors(a)]
        parents = tuple(_steps[t] for t in given if t in _steps)
        wrapped = _wraps(name, args, out)
        step = Step(_named(name, args), caller_location(name), parents, wrapped)
        for tensor in changed:
            _steps[tensor] = step


def _wraps(name: str, args: tuple[Any, ...], out: Any) -> bool:
    """Whether arithmetic on integers of 8 or 16 bits left their range: it goes on from the other
    end (200 + 100 is 44 in uint8)."""
    plain = name.strip("_").removeprefix("r").removeprefix("i")
    if plain not in _WIDE or not isinstance(out, torch.Tensor) or out.dtype not in _SMALL:
        return False
    if name.startswith("__i") or (name.endswith("_") and not name.endswith("__")) or len(args) < 2:
        return False  # in place: the operand is gone
    wide = [a.long() if isinstance(a, torch.Tensor) else a for a in args[:2]]
    if "__r" in name or name == "rsub":
        wide.reverse()
    try:
        with torch._C.DisableTorchFunction():
            right = _WIDE[plain](*wide)
    except (TypeError, RuntimeError):
        return False
    limits = torch.iinfo(out.dtype)
    return bool((right < limits.min).any() or (right > limits.max).any())


def _named(name: str, args: tuple[Any, ...]) -> str:
    """Indexing by a tensor or list reorders samples; by a slice it does not."""
    if name == "__getitem__" and len(args) > 1:
        index = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
        return "index" if isinstance(index, torch.Tensor | list) else "slice"
    return name.rstrip("_") if name.endswith("_") and not name.startswith("__") else name


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple) and len(value) < 100:
        return [item for item in value if isinstance(item, torch.Tensor)]
    return []
