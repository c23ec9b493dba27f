"""Custom autograd Functions: captured as they are applied, then checked one by one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.lab import seed_everything
from recipe_check.userframes import is_user_file, relative

from ._differences import NOISE_SEED, local_error
from ._frozen import Frozen

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
    """Checks every custom Function in the graph of the loss. Cost: two forward passes."""
    seed_everything(NOISE_SEED)
    with _exact(rig):
        loss = rig.step(batch).loss
    functions = [f for f in functions_in(loss) if _is_users(f)]
    with _captured(functions) as calls, _exact(rig):
        seed_everything(NOISE_SEED)
        rig.step(batch)
    found = [_checked(call, tolerance) for call in calls.values()]
    return [suspect for suspect in found if suspect is not None]


def _exact(rig: Rig) -> AbstractContextManager[object]:
    """A model in float64 stays there, also where the user's code says float()."""
    wide = any(p.dtype == torch.float64 for _, p in rig.trainable())
    return Frozen() if wide else nullcontext()


def functions_in(loss: torch.Tensor) -> list[Any]:
    """The custom Function classes in the graph, each once, those nearest to the loss first."""
    found: dict[Any, None] = {}
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        function = getattr(node, "_forward_cls", None)
        if function is not None:
            found[function] = None
        waiting += [parent for parent, _ in node.next_functions]
    return list(found)


@contextmanager
def _captured(functions: Sequence[Any]) -> Iterator[dict[Any, Applied]]:
    """Within the block the arguments of the first call of each Function's forward are kept.

    `forward` is wrapped and not `apply`, which people bind to a name when they import.
    """
    calls: dict[Any, Applied] = {}
    originals = {f: f.__dict__["forward"] for f in functions if "forward" in f.__dict__}
    for function in originals:
        function.forward = staticmethod(_recording(function, function.forward, calls))
    try:
        yield calls
    finally:
        for function, original in originals.items():
            function.forward = original


def _recording(function: Any, forward: Any, calls: dict[Any, Applied]) -> Any:
    with_context = function.setup_context is torch.autograd.Function.setup_context

    def record(*args: Any) -> Any:
        kept = args[1:] if with_context else args
        copies = tree.map_leaves(list(kept), lambda t: t.detach().clone())
        calls.setdefault(function, Applied(function, tuple(copies)))
        return forward(*args)

    return record


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
