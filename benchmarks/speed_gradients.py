"""gradient-check against torch.autograd.gradcheck(fast_mode=True) and a difference for each
parameter."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence

import torch
from torch.func import functional_call

from benchmarks.speed_models import Setup, make
from benchmarks.speed_timing import alternate, ratio, rounded, shown, table
from recipe_check.checks.gradient_check import GradientCheck
from recipe_check.lab import Lab
from recipe_check.runner import run_check
from recipe_check.subject import Parts, Subject

NAMES = ("MLP, 2 layers", "CNN at 8 px", "transformer encoder", "GPT, 0.4 M", "MLP, 4 layers",
         "ResNet-18 at 64 px")  # fmt: skip
SAMPLES = 4  # as the check takes


def check(setup: Setup) -> None:
    parts = Parts(setup.model, setup.loss, setup.optimizer)
    result = run_check(GradientCheck(), Lab(Subject("net", parts, setup.batches)))
    assert result.status.value == "pass", result.verdict.message


def loss_of(setup: Setup) -> tuple[Callable[..., torch.Tensor], list[torch.Tensor]]:
    """The loss as a function of all parameters in float64, without dropout."""
    model = copy.deepcopy(setup.model).double().eval()
    names = [name for name, _ in model.named_parameters()]
    x, y = (part[:SAMPLES] for part in setup.batches[0])
    x = x.double() if x.is_floating_point() else x

    def loss(*values: torch.Tensor) -> torch.Tensor:
        output = functional_call(model, dict(zip(names, values, strict=True)), (x,))
        return setup.loss(output, y)

    return loss, [p.detach().requires_grad_() for p in model.parameters()]


def compare(name: str, repeats: int) -> tuple[str, ...]:
    setup = make(name)
    loss, values = loss_of(setup)
    times = alternate({
        "check": lambda: check(setup),
        "gradcheck": lambda: torch.autograd.gradcheck(
            loss, values, fast_mode=True, raise_exception=False),
        "pass": lambda: loss(*values),
    }, repeats)  # fmt: skip
    each = 2 * setup.parameters * times["pass"]
    return (name, f"{setup.parameters:,}", shown(times["check"]), shown(times["gradcheck"]),
            f"~ {rounded(each)} s",
            ratio(times["gradcheck"], times["check"]), ratio(each, times["check"]))  # fmt: skip


def section(names: Sequence[str] = NAMES, repeats: int = 3) -> str:
    rows = []
    for name in names:
        rows.append(compare(name, repeats))
        print(name, file=sys.stderr)
    columns = ("model", "parameters", "gradient-check", "gradcheck, fast mode",
               "a difference each", "ratio to gradcheck", "ratio to differences")  # fmt: skip
    return "\n".join([
        "## gradient-check against torch.autograd.gradcheck and differences\n",
        f"All over the parameters, in float64, on {SAMPLES} samples. `gradcheck(fast_mode=True)` "
        "takes a difference for each tensor; a\ndifference for each parameter is two forward "
        "passes each, reckoned from the time of one.\n",
        table(columns, rows),
    ])  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(section())
