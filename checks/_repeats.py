"""The measurement of `determinism`: the same few steps again."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.lab import seed_everything

from .determinism import Runs

if TYPE_CHECKING:
    from recipe_check import Lab

STEPS = 3


def see_runs(lab: Lab) -> Runs:
    """Two runs; a third with torch's own diagnosis where they differ."""
    if not lab.trace.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    runs = Runs(_run(lab), _run(lab), ())
    if runs.differing is None:
        return runs
    return Runs(runs.first, runs.second, _diagnosis(lab))


def _run(lab: Lab) -> tuple[float, ...]:
    with lab.seeded():
        rig = lab.rig().train()
        optimizer = rig.own_optimizer()
        seed_everything(lab.seed)
        batches = [rig.put(b) for b in lab.train_batches[:STEPS]]
        losses = [rig.update(optimizer, batches[i % len(batches)]) for i in range(STEPS)]
    return tuple(torch.stack(losses).double().tolist())


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
