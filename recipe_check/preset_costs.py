"""What a preset costs at most on a sound model, in plain training steps of the same setup."""

from __future__ import annotations

from recipe_check.results import Cost

STEPS = {"quick": 30, "default": 600, "thorough": 1300}
FORWARD = 1 / 3  # of a step's time: a backward pass takes twice as long as a forward pass


def in_steps(cost: Cost) -> float:
    """The passes as training steps; one over a part of the batch counts as one over all of it."""
    forward, backward = cost.forward - cost.steps, cost.backward - cost.steps
    return cost.steps + forward * FORWARD + backward * (1 - FORWARD)


def stated() -> str:
    """For `--help`: what each preset costs."""
    return ", ".join(f"{name} {steps}" for name, steps in STEPS.items())
