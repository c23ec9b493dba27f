"""Ways to compute the loss of a script again, and whether they give the same value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recipe_check import batches, tree
from recipe_check.errors import LoadError, UserCodeError
from recipe_check.lab import preserved_rng
from recipe_check.loading.script_replay import (
    SIZES,
    TARGET,
    Replay,
    ReplayedLoss,
    ReplayedStep,
    Weights,
)
from recipe_check.loading.script_step import FirstStep
from recipe_check.loading.script_tape import changed, needed
from recipe_check.loading.script_values import Ref, parts
from recipe_check.meter import Meter
from recipe_check.rig import Rig
from recipe_check.subject import Parts, Subject

NEAR = 0.1  # of the script's loss: what noise such as dropout may change


@dataclass(frozen=True)
class Way:
    """A loss function, a training step, or neither where the model computes the loss. `doubt`
    says why it is not what the script computes, '' where it is near."""

    loss: Callable[..., Any] | None = None
    step: Callable[..., Any] | None = None
    notes: tuple[str, ...] = ()
    doubt: str = ""


def ways(first: FirstStep) -> Iterator[Way]:
    """Those that the calls allow, the simplest first."""
    whole = first.trained.whole(first.calls)
    if whole is not None and len(first.roots) == 1:
        if first.roots[0].source == whole:
            yield Way()
        else:
            yield from (Way(loss=loss) for loss in _losses(first, whole))
    weights, like = Weights.of(first.trained.model), tree.leaves(first.batch)
    for sizes in SIZES if like else ():
        replay = Replay(first.calls, first.roots, tuple(like[0].shape), weights, sizes)
        yield Way(step=ReplayedStep(replay, first.source, first.trained.calls[-1]))


def _losses(first: FirstStep, whole: int) -> Iterator[Callable[..., Any]]:
    """What made the loss, if it got output and target as they are, else all calls after the
    model's. Nothing where they need more of the batch than the target."""
    split = batches.split(first.batch, first.trained.model)
    target = split.inputs if split.target is None else split.target
    places = {id(part): Ref(TARGET, path) for path, part in parts(target)}

    def aim(value: Any) -> Any:
        if isinstance(value, Ref) and value.source == first.source:
            return places.get(id(value.of(first.batch)), value)
        return value

    later = needed(first.calls, first.roots, given=(whole,))
    aimed = changed(later, aim)
    output = tree.leaves(first.tape.calls[whole].out)
    open_ends = [part for call in aimed.values() for part in call.references()]
    if not output or any(_reaches_further(part, first) for part in open_ends):
        return
    last = aimed[first.roots[0].source]
    if last.args == (Ref(whole), Ref(TARGET)) and not last.kwargs and not first.roots[0].path:
        yield last.func
        return
    for sizes in SIZES:
        replay = Replay(aimed, first.roots, tuple(output[0].shape), Weights({}, {}), sizes)
        yield ReplayedLoss(replay, whole)


def _reaches_further(part: Ref | torch.Tensor, first: FirstStep) -> bool:
    """Whether a loss of output and target would not know it: more of the batch, or a weight."""
    return part.requires_grad if isinstance(part, torch.Tensor) else part.source == first.source


def best_way(first: FirstStep) -> Way:
    """The first that gives the script's value, and runs with a sample less; else one that runs,
    with a note. Raises LoadError where none does."""
    right: list[Way] = []
    wrong: list[tuple[Way, float]] = []
    errors: list[UserCodeError] = []
    for way in ways(first):
        try:
            value = _loss_of(first, way, first.batch)
            if not _same(first, value):
                wrong.append((way, value))
                continue
            right.append(way)
            _loss_of(first, way, _one_less(first.batch))
            return way
        except UserCodeError as error:
            errors.append(error)
    if right:
        note = "the script's step runs at its own batch size only"
        return Way(right[0].loss, right[0].step, (note,))
    return _unsure(first, wrong, errors)


def _same(first: FirstStep, value: float) -> bool:
    tolerance = 0.05 if first.tape.autocast else 1e-3
    return math.isclose(value, first.loss, rel_tol=tolerance, abs_tol=1e-5)


def _unsure(
    first: FirstStep, wrong: Sequence[tuple[Way, float]], errors: Sequence[UserCodeError]
) -> Way:
    """A replay of the whole step that gives another value: said in a note."""
    for way, value in wrong:
        if way.step is not None:
            note = (
                f"the first loss is {value:.6g} when it is computed again, in the script it was "
                f"{first.loss:.6g}: it is random, or not all that it depends on was seen"
            )
            near = math.isclose(value, first.loss, rel_tol=NEAR)
            return Way(None, way.step, (note,), "" if near else note)
    reason = errors[-1] if errors else UserCodeError("the batch holds no tensor")
    raise LoadError(
        f"the loss of the first step cannot be computed again: {reason}",
        "give it:  --loss NAME, a callable (output, target) -> scalar, or write a recipe()",
        reason.trace,
    )


def _loss_of(first: FirstStep, way: Way, batch: Any) -> float:
    """The loss on copies of the objects, from the random state that the script had."""
    model = first.trained.model
    subject = Subject("", Parts(model, way.loss), [batch], training_step=way.step)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with preserved_rng():
        rig = Rig(subject, subject.copy(), device, Meter())
        first.tape.restore_random()
        return float(rig.step(rig.put(batch)).loss.detach())


def _one_less(batch: Any) -> Any:
    """The batch without its last sample, if it has more than two."""
    rows = next((len(leaf) for leaf in tree.leaves(batch) if leaf.ndim), 0)
    if rows < 3:
        return batch
    return tree.map_leaves(
        batch, lambda leaf: leaf[:-1] if leaf.ndim and len(leaf) == rows else leaf
    )
