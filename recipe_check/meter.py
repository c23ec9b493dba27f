"""What the rigs of a lab have spent, and what their steps have taught of the user's code."""

from __future__ import annotations

from dataclasses import dataclass

from recipe_check.results import Cost


@dataclass
class Meter:
    """Passes spent so far, over all rigs of a lab."""

    forward: int = 0
    backward: int = 0
    steps: int = 0
    needs_graph: bool = False  # the user's step takes gradients itself, also when only looked at
    needs_closure: bool = False  # the user's optimizer takes no step without one
    writes: bool = False  # the user's step writes into its batch (ReLU(inplace=True) first)

    def cost(self) -> Cost:
        return Cost(forward=self.forward, backward=self.backward, steps=self.steps)
