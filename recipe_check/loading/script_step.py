"""One batch of a script and the calls that led from it to the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch

from recipe_check.errors import LoadError
from recipe_check.loading.script_model import Trained, find_trained, owners
from recipe_check.loading.script_tape import Call, Tape, changed, needed
from recipe_check.loading.script_values import Ref

_DIVISIONS = ("div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__")
_PRODUCTS = ("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__")
_SEEN = -(1 << 20)  # the number of a batch that no loader gave


@dataclass(frozen=True)
class FirstStep:
    """`source` is the number of the batch; `roots` are the losses, which are summed up."""

    tape: Tape
    calls: Mapping[int, Call]
    roots: tuple[Ref, ...]
    trained: Trained
    source: int
    batch: Any
    loader: Any
    notes: tuple[str, ...] = ()

    @property
    def loss(self) -> float:
        """What the script's loss was."""
        return sum(float(self.tape.value(root).detach()) for root in self.roots)


def find_first_step(tape: Tape, backwards: int, optimizer: torch.optim.Optimizer) -> FirstStep:
    """Raises LoadError where there is no loss, no model or no input."""
    roots = _roots(tape, backwards, optimizer)
    calls = needed(tape.calls, roots)
    trained = find_trained(calls, optimizer)
    inputs = needed(tape.calls, [Ref(number) for number in trained.calls])
    known = [r for call in inputs.values() for r in call.references() if isinstance(r, Ref)]
    fed = max((ref.source for ref in known if ref.source < 0), default=0)
    if not fed:
        return _from_tensors(tape, calls, roots, trained)
    loader, batch = tape.batches[-fed - 1]

    def fix(part: Any) -> Any:
        """Another loader's batch stays what it was."""
        other = isinstance(part, Ref) and part.source < 0 and part.source != fed
        return tape.value(part) if other else part

    notes = ("the script trains under autocast; the checks run without",) * tape.autocast
    if any(ref.source < 0 and ref.source != fed for ref in known):
        notes += ("the batch of a second data loader stays that of the first step",)
    return FirstStep(tape, changed(calls, fix), roots, trained, fed, batch, loader, notes)


def _roots(tape: Tape, backwards: int, optimizer: torch.optim.Optimizer) -> tuple[Ref, ...]:
    """The losses that reach the optimizer's model: those of one batch are summed up."""
    found = [root for root in tape.roots if root.source >= 0]
    reaching = [root for root in found if owners(needed(tape.calls, [root]), optimizer)]
    roots = reaching or found
    if not roots:
        raise LoadError(
            "no loss found: PyTorch's own functions did not make what backward() was called on",
            "give it:  --loss NAME, a callable (output, target) -> scalar",
        )
    if len(roots) == 1 or not tape.batches:  # nothing else says what belongs to one batch
        return (_unscaled(tape, roots[0], backwards),)
    return tuple(roots)


def _unscaled(tape: Tape, ref: Ref, backwards: int) -> Ref:
    """The loss before it was divided by the number of accumulated batches."""
    while ref.source >= 0 and not ref.path:
        call = tape.calls[ref.source]
        name = getattr(call.func, "__name__", "")
        if name not in _DIVISIONS + _PRODUCTS or len(call.args) != 2:
            break
        value, number = call.args
        if not isinstance(value, Ref) or not isinstance(number, int | float) or not number:
            break
        divisor = number if name in _DIVISIONS else 1 / number
        if not any(math.isclose(divisor, count) for count in (1, backwards)):
            break
        ref = value
    return ref


def _from_tensors(
    tape: Tape, calls: Mapping[int, Call], roots: tuple[Ref, ...], trained: Trained
) -> FirstStep:
    """Without a loader the batch is the tensors that entered: inputs of the model first."""
    ordered = [*(calls[n] for n in trained.calls), *calls.values()]
    found: dict[int, Any] = {
        id(r): r for call in ordered for r in call.references() if _is_data(r)
    }  # fmt: skip
    rows = next((len(leaf) for leaf in found.values()), 0)
    batch = tuple(leaf for leaf in found.values() if len(leaf) == rows)
    if not batch:
        raise LoadError(
            "no data found: the model's inputs come neither from a DataLoader nor as tensors",
            "give it:  --data NAME, an iterable of batches",
        )
    places = {id(leaf): Ref(_SEEN, (itemgetter(i),)) for i, leaf in enumerate(batch)}
    calls = changed(calls, lambda part: places.get(id(part), part))
    note = "no DataLoader gave the batch: the checks see the one batch of the first step only"
    return FirstStep(tape, calls, roots, trained, _SEEN, batch, [batch], (note,))


def _is_data(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0 and not value.requires_grad
