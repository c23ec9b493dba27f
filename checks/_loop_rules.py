"""The measurement of `train-step`: one rule for each mistake, on loops read from the source."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.probes.loops import Event, Training
from recipe_check.userframes import relative

from ._loop_best import (
    keeps_an_alias,
    never_evaluates,
    prefers_the_worse,
    trains_on_held_out,
    validates_on_training_data,
)
from ._loop_cuts import rebuilds_the_loss, trains_without_graph
from ._loop_graph import backward_of_a_sum, keeps_graphs, named_not_called
from ._loop_metrics import counts_by_batches, wrong_axes
from ._loop_order import (
    cleared_before_step,
    evaluates_from_the_start,
    optimizer_anew,
    trains_on_validation,
)
from ._loop_places import place
from ._loop_reach import (
    ends_at_the_first_batch,
    reads_an_exhausted_iterator,
    schedules_before_the_epoch,
    steps_never,
)
from ._loop_scale import (
    clips_another_model,
    clips_everything_away,
    decays_by_hand,
    scaler_slips,
    throws_gradients_away,
    unused_optimizer,
)
from ._loop_state import (
    optimizer_every_epoch,
    reads_the_first_batch_only,
    seeds_every_epoch,
    starts_anew,
    stays_in_eval,
    trains_a_copy,
)
from ._loop_steps import (
    clipped_late,
    never_cleared,
    never_steps,
    schedules_first,
    undivided,
)
from ._loop_weights import climbs, rebinds_the_weights
from .train_step import Loops, Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_STEPS = ("zero", "backward", "clip", "step", "schedule")


def see_loops(lab: Lab) -> Loops:
    """Applies every rule to every training loop of the user's files."""
    loops = lab.training_loops
    if not loops:
        raise NotApplicable("no training loop in the target's source")
    slips = [slip for loop in loops for rule in RULES for slip in rule(loop, lab)]
    return Loops(
        loops=tuple(_described(loop) for loop in loops),
        slips=tuple({(s.title, str(s.location)): s for s in slips}.values()),
        looked_for=TITLES,
    )


def _described(loop: Training) -> tuple[str, str, str]:
    first = next(loop.batch.events())
    kinds = [e.kind for e in loop.batch.events() if e.kind in _STEPS]
    return loop.batch.header, f"{relative(str(first.file))}:{loop.batch.line}", ", ".join(kinds)


def measures_wrong(loop: Training, lab: Lab) -> Iterator[Slip]:
    output = _output(lab)
    if output is None or output.ndim != 2:
        return
    for file in {e.file for e in loop.batch.events()}:
        for node, why in wrong_axes(file, output.shape[1]):
            where = Event("metric", "", file, node.lineno, node.col_offset + 1)
            yield Slip(
                "the accuracy is taken over the wrong axis",
                f"{why}: the metric says nothing about the model",
                "argmax(dim=1) for scores of shape (batch, classes), a threshold for one output",
                place(where),
                certain=False,
            )


def counts_wrong(loop: Training, lab: Lab) -> Iterator[Slip]:
    """Right answers are counted over samples and divided by batches."""
    if 1 in (getattr(d, "batch_size", 0) for d in (lab.subject.loader, lab.subject.val_loader)):
        return  # then both are the same
    for file in {e.file for e in loop.batch.events()}:
        for node in counts_by_batches(file):
            yield Slip(
                "right answers are divided by the number of batches",
                f"`{ast.unparse(node)}` is not an accuracy: it counts samples and divides by "
                "batches",
                "divide by len(loader.dataset)",
                place(Event("metric", "", file, node.lineno, node.col_offset + 1)),
                certain=False,
            )


def _output(lab: Lab) -> torch.Tensor | None:
    try:
        found = lab.trace.output
    except UserCodeError:
        return None
    return found if isinstance(found, torch.Tensor) else None


Rule = Callable[[Training, "Lab"], Iterator[Slip]]
RULES: tuple[Rule, ...] = (
    named_not_called, trains_without_graph, rebuilds_the_loss, backward_of_a_sum,
    throws_gradients_away, never_cleared, cleared_before_step, clipped_late,
    clips_everything_away, scaler_slips, evaluates_from_the_start, optimizer_anew,
    trains_on_validation, trains_on_held_out, stays_in_eval, starts_anew, never_steps,
    keeps_an_alias, undivided, schedules_first, optimizer_every_epoch, unused_optimizer,
    clips_another_model, decays_by_hand, reads_the_first_batch_only, never_evaluates,
    prefers_the_worse, validates_on_training_data, measures_wrong, counts_wrong,
    seeds_every_epoch, keeps_graphs, trains_a_copy, steps_never, ends_at_the_first_batch,
    reads_an_exhausted_iterator, schedules_before_the_epoch, rebinds_the_weights, climbs,
)  # fmt: skip
TITLES = (
    "a method is named, not called",
    "the forward pass keeps no graph",
    "the loss is cut off from the model",
    "backward() runs through all earlier batches again",
    "most gradients are thrown away",
    "gradients are cleared before the step",
    "the optimizer is made anew at every step",
    "the optimizer is made anew in every epoch",
    "the training loop reads the validation data",
    "the validation trains the model",
    "gradients are not cleared (zero_grad missing)",
    "gradients are clipped after the step",
    "gradients are clipped to almost nothing",
    "scaled gradients are clipped",
    "the optimizer steps with scaled gradients",
    "the loss scale is never updated",
    "the model stays in eval mode",
    "the model starts anew in every epoch",
    "the optimizer never steps",
    "one of the optimizers never steps",
    "accumulated gradients are not divided",
    "the scheduler steps before the optimizer",
    "the rate decays at every batch",
    "every step reads the first batch",
    "the loop runs a copy of the model",
    "the best weights are kept by reference",
    "the worse epoch is kept as the best",
    "the validation runs in training mode",
    "the batches are exhausted after the first epoch",
    "every epoch ends after its first batch",
    "the weights are never changed",
    "the weights climb the gradient",
    "the accuracy is taken over the wrong axis",
)
