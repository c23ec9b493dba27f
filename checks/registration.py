"""Are all layers and parameters known to the model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Unregistered:
    """Dotted names of what is not registered, and the line of the first."""

    names: tuple[str, ...]
    location: Location | None


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Are all layers and parameters known to the model?

    What it measures
    ----------------
    Every attribute of every module is searched for layers and parameters inside plain lists,
    tuples and dicts, and the leaves of the loss's autograd graph are compared with the parameters
    of model and loss.

    Why it matters
    --------------
    What is not registered is not trained, not moved to the GPU and not saved; the rest trains
    around it.

    How it decides
    --------------
    fail: a layer or parameter with trainable weights in a plain container, or a tensor of the
    graph that requires a gradient and belongs neither to the model nor to the loss although it
    hangs on the model.

    Cost
    ----
    One forward pass.

    Known limits
    ------------
    Modules created anew inside forward() are not seen.

    Example
    -------
    `self.layers = [nn.Linear(8, 8), nn.Linear(8, 8)]`.

    Fix
    ---
    Use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter.

    Sources
    -------
    PyTorch documentation of nn.ModuleList; pytorch/pytorch issues 666 and 715.
    """

    meta: ClassVar[Meta] = Meta(
        id="registration",
        stage="model",
        title="All layers are registered",
        fail_title="Layers are not registered",
        cost="1 F",
        preset="quick",
    )

    def measure(self, lab: Lab) -> Unregistered:
        from ._unregistered import see_unregistered

        return see_unregistered(lab)

    def judge(self, seen: Unregistered) -> Verdict:
        if not seen.names:
            return Verdict(
                status=Status.PASS,
                message="every layer and parameter is registered",
                measured="0 unregistered",
                expected="0",
            )
        names = ", ".join(seen.names[:4])
        return Verdict(
            status=Status.FAIL,
            message=f"{names} hold trainable weights that model.parameters() does not list: they "
            "stay at their initial values",
            measured=f"{len(seen.names)} unregistered",
            expected="0",
            location=seen.location,
            fix=Fix(text="use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter"),
        )
