"""The measurement of `determinism`: the same few steps again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, NotApplicable
from recipe_check.lab import seed_everything
from recipe_check.probes.watch import Watch, op_name
from recipe_check.userframes import caller_location

from .determinism import Runs

if TYPE_CHECKING:
    from recipe_check import Lab

STEPS = 3
MOST_OPERATIONS = 20_000
ROUNDING = 1e-3  # torch.testing.assert_close's for float16; autocast is common on GPUs


def see_runs(lab: Lab) -> Runs:
    """Two runs; a third with torch's own diagnosis where they differ."""
    if not lab.trace.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    rounding = 0.0 if lab.device.type == "cpu" else ROUNDING
    runs = Runs(_run(lab), _run(lab), (), rounding=rounding)
    if runs.differing is None:
        return runs
    return replace(runs, warnings=_diagnosis(lab), location=_first_difference(lab))


def _run(lab: Lab) -> tuple[float, ...]:
    with lab.seeded():
        rig = lab.rig().train()
        optimizer = rig.own_optimizer()
        seed_everything(lab.seed)
        batches = [rig.put(b) for b in lab.train_batches[:STEPS]]
        losses = [rig.update(optimizer, batches[i % len(batches)]) for i in range(STEPS)]
    return tuple(torch.stack(losses).double().tolist())


class _Sums:
    """The line of every operation with a number that tells its result."""

    def __init__(self) -> None:
        self.lines: list[Location | None] = []
        self.sums: list[torch.Tensor] = []

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        plain = isinstance(out, torch.Tensor) and out.layout is torch.strided
        if plain and out.is_floating_point() and len(self.lines) < MOST_OPERATIONS:
            with torch.no_grad():
                self.sums.append(out.detach().double().sum())
            self.lines.append(caller_location(op_name(func)))


def _first_difference(lab: Lab) -> Location | None:
    """The first operation of a step whose result differs between two runs."""
    found = []
    for _ in range(2):
        rig, sums = lab.rig().train(), _Sums()
        seed_everything(lab.seed)
        with rig.stack().following(), Watch(sums):
            rig.step(rig.put(lab.train_batches[0]))
        found.append((sums.lines, torch.stack(sums.sums).tolist() if sums.sums else []))
    (lines, one), (_, other) = found
    pairs = enumerate(zip(one, other, strict=False))
    return next((lines[i] for i, (a, b) in pairs if repr(a) != repr(b)), None)


def _diagnosis(lab: Lab) -> tuple[str, ...]:
    """What torch says of operations without a deterministic form."""
    before = torch.are_deterministic_algorithms_enabled()
    mild = torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            _run(lab)
        finally:
            torch.use_deterministic_algorithms(before, warn_only=mild)
    texts = [str(w.message).split(". ")[0] for w in caught]
    return tuple(dict.fromkeys(text for text in texts if "determinis" in text))
