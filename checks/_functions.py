"""Custom autograd Functions: captured as they are applied, then checked one by one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.lab import seed_everything
from recipe_check.userframes import is_user_file, relative

from ._differences import NOISE_SEED, local_error

if TYPE_CHECKING:
    from recipe_check import Rig


@dataclass(frozen=True)
class Applied:
    """One call of `MyFunction.apply` with its (detached) arguments."""

    function: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Suspect:
    """A custom Function whose backward disagrees with its forward.

    `nature` is `wrong`, or what is done on purpose: `identity` (reversal, scaling or clipping
    of the gradient) or `step` (straight-through estimators of a piecewise constant forward).
    """

    name: str
    error: float
    nature: str
    location: Location | None


def suspects(rig: Rig, batch: Any, tolerance: float) -> list[Suspect]:
    """Runs one forward pass and checks every distinct custom Function in it."""
    with _captured() as calls:
        seed_everything(NOISE_SEED)
        rig.step(batch)
    found, seen = [], set()
    for call in calls:
        if call.function in seen or not _is_users(call.function):
            continue
        seen.add(call.function)
        suspect = _checked(call, tolerance)
        if suspect is not None:
            found.append(suspect)
    return found


@contextmanager
def _captured() -> Iterator[list[Applied]]:
    """Within the block every `apply` of a custom Function is recorded."""
    calls: list[Applied] = []
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        copies = tree.map_leaves(list(args), lambda t: t.detach().clone())
        if not kwargs:
            calls.append(Applied(cls, tuple(copies)))
        return original.__get__(None, cls)(*args, **kwargs)

    setattr(torch.autograd.Function, _APPLY, classmethod(apply))
    try:
        yield calls
    finally:
        setattr(torch.autograd.Function, _APPLY, original)


_APPLY = "apply"


def _is_users(function: Any) -> bool:
    """Functions of installed libraries are theirs to test."""
    try:
        return is_user_file(inspect.getfile(function))
    except (TypeError, OSError):
        return True


def _checked(call: Applied, tolerance: float) -> Suspect | None:
    places = [i for i, a in enumerate(call.arguments) if isinstance(a, torch.Tensor)]
    inputs = [call.arguments[i] for i in places]

    def run(tensors: Sequence[torch.Tensor]) -> Any:
        arguments = list(call.arguments)
        for place, tensor in zip(places, tensors, strict=True):
            arguments[place] = tensor
        return call.function.apply(*arguments)

    try:
        error, slope = local_error(run, inputs)
    except RuntimeError:
        return None
    if error <= tolerance:
        return None
    return Suspect(call.function.__name__, error, _nature(run, inputs, slope), _line(call.function))


def _nature(run: Any, inputs: Sequence[torch.Tensor], slope: float) -> str:
    """Identity or piecewise constant forwards are given another gradient on purpose."""
    with torch.no_grad():
        outputs = [t for t in tree.leaves(run(inputs)) if t.is_floating_point()]
    same = [o for o in outputs for i in inputs if o.shape == i.shape and torch.equal(o, i)]
    if same:
        return "identity"
    return "step" if abs(slope) < 1e-9 else "wrong"


def _line(function: Any) -> Location | None:
    """The return statement of `backward`: where the formula stands."""
    try:
        lines, start = inspect.getsourcelines(function.backward)
        file = inspect.getfile(function)
    except (TypeError, OSError):
        return None
    returns = [i for i, text in enumerate(lines) if text.strip().startswith("return")]
    place = returns[-1] if returns else 0
    return Location(
        file=relative(file), line=start + place, source=lines[place].rstrip(), op="backward"
    )
