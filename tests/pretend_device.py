"""A second device on a machine without one: tensors that say they are there and hold values here.

Operations that mix both are refused as CUDA refuses them, so that a check which makes an index, a
mask or a control on the CPU breaks here, too. `lazy` is a device type that torch knows and no
build of it serves; autograd treats it like the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

THERE = torch.device("lazy")
# operations that cross devices, or take indices or lengths from the CPU, also with CUDA
CROSSING = frozenset(
    ("_to_copy", "copy_", "_local_scalar_dense", "set_", "index", "index_put", "index_put_",
     "_index_put_impl_", "_pack_padded_sequence")
)  # fmt: skip


class There(torch.Tensor):
    """A tensor of the pretended device, around its values."""

    @staticmethod
    def __new__(cls, values: torch.Tensor, requires_grad: bool = False) -> There:
        made = torch.Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, layout=values.layout, device=THERE, requires_grad=requires_grad,
        )  # fmt: skip
        made.values = values
        return made

    def tolist(self) -> Any:
        return self.values.tolist()

    def data_ptr(self) -> int:
        return self.values.data_ptr()

    def untyped_storage(self) -> Any:
        return self.values.untyped_storage()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert lazy:0 device type tensor to numpy")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied = There(self.values.clone())
            is_weight = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = (
                torch.nn.Parameter(copied, self.requires_grad)
                if is_weight
                else copied.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """What is made for the device, or moved to it, arrives there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the values, its results on the device of its tensors."""
    name = func._schema.name.removeprefix("aten::")
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    away = [t for t in tensors if isinstance(t, There)]
    here = [t for t in tensors if not isinstance(t, There) and t.ndim]
    if away and here and name not in CROSSING:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got both")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*tree_map(_values, args), **tree_map(_values, kwargs))
    if name == "copy_":
        return args[0]
    if not away if asked is None else torch.device(asked).type != THERE.type:
        return out
    known = {id(t.values): t for t in away}  # in-place operations return what they were given
    return tree_map(lambda t: _wrapped(t, known), out)


def _values(value: Any) -> Any:
    return value.values if isinstance(value, There) else value


def _wrapped(value: Any, known: dict[int, There]) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return known[id(value)] if id(value) in known else There(value)


@contextmanager
def pretended(monkeypatch: Any) -> Iterator[str]:
    """The name of the device, which is there in the block and what `auto` picks."""
    monkeypatch.setattr(torch, "lazy", torch.cpu, raising=False)
    monkeypatch.setattr("recipe_check.lab.pick_device", _picked)
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with Pretending():
            yield THERE.type
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def _picked(name: str) -> torch.device:
    return THERE if name == "auto" else torch.device(name)
