"""Are all layers and parameters known to the model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Unregistered:
    """Dotted names of what is not registered, and the line of the first; likewise layers that are
    made anew in forward(), results of operations on parameters, layers that stand several times in
    one container, tensors that are called weights and are none, and results that are dropped."""

    names: tuple[str, ...]
    location: Location | None
    anew: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


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
    hangs on the model; a layer with weights that forward() itself makes; an attribute that is the
    result of an operation on a parameter (`nn.Parameter(w) * 0.1`). warn: one layer stands several
    times in a ModuleList or Sequential (`[Block()] * 4`): it is one layer, not four; a tensor drawn
    at random that is called weight or bias and is no parameter; forward() computes a layer's
    result that it overwrites or never reads.

    Cost
    ----
    One forward pass.

    Known limits
    ------------
    Weights that are shared on purpose by repeating a layer in a container are warned of.

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
        found = _problems(seen)
        if not found:
            return Verdict(
                status=Status.PASS,
                message="every layer and parameter is registered",
                measured="0 unregistered",
                expected="0",
            )
        status, title, message, fix = found[0]
        return Verdict(
            status=status,
            message=message,
            measured=f"{len(seen.names) or len(found)} unregistered" if seen.names else title,
            expected="0",
            causes=tuple(Cause(title=f[1], state=CauseState.MATCHES, evidence=f[2]) for f in found),
            location=seen.location,
            fix=Fix(text=fix),
        )


def _problems(seen: Unregistered) -> list[tuple[Status, str, str, str]]:
    """Status, title, text and fix of what was found, the worst first."""
    kinds = (
        (
            seen.names, Status.FAIL, "layers or parameters in a plain container",
            "{} hold trainable weights that model.parameters() does not list: they stay at their "
            "initial values",
            "use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter",
        ),
        (
            seen.anew, Status.FAIL, "layers made in forward()",
            "forward() makes {} anew at every call: the weights are random each time and never "
            "trained",
            "make the layer in __init__ and only call it in forward()",
        ),
        (
            seen.derived, Status.FAIL, "the result of an operation on a parameter",
            "{} is computed from a parameter and is none itself: no optimizer holds it",
            "put the operation inside: nn.Parameter(torch.randn(n) * 0.1)",
        ),
        (
            seen.repeated, Status.WARN, "one layer repeated in a container",
            "{}: one layer with one set of weights, not several",
            "make each layer anew: [Block() for _ in range(n)]",
        ),
        (
            seen.constant, Status.WARN, "a weight that is a plain tensor",
            "{} is a random tensor and no parameter: it is never trained",
            "wrap it in nn.Parameter, or register_buffer where it is meant to stay",
        ),
        (
            seen.dropped, Status.WARN, "the result of a layer is never used",
            "forward() computes `{}` and never reads it: the layer has no part in the output",
            "use the result (a residual is added: x = x + block(x)), or leave the layer out",
        ),
    )  # fmt: skip
    return [
        (status, title, text.format(", ".join(names[:4])), fix)
        for names, status, title, text, fix in kinds if names
    ]  # fmt: skip
