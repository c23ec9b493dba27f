"""batch-dependency against one backward pass for each sample, by the size of the batch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from unittest import mock

import torch
from torch import nn

from benchmarks.speed_models import convolutional, vectors
from benchmarks.speed_timing import alternate, ratio, shown, table
from recipe_check.checks import _rows
from recipe_check.checks.batch_dependency import BatchDependency
from recipe_check.lab import Lab
from recipe_check.runner import run_check
from recipe_check.subject import Parts, Subject

SIZES = (8, 16, 32, 64, 128, 256, 512)


def check(lab: Lab, rows: int) -> None:
    """The check on as many rows of the batch."""
    with mock.patch.object(_rows, "ROWS", rows):
        assert run_check(BatchDependency(), lab).status.value == "pass"


def naive(model: nn.Module, x: torch.Tensor) -> None:
    """Karpathy's recipe to the letter: the gradient of each sample's output with respect to all
    inputs must vanish on the others."""
    model.eval()
    x = x.clone().requires_grad_()
    output = model(x)
    for row in range(len(x)):
        (gradient,) = torch.autograd.grad(output[row].sum(), x, retain_graph=True)
        assert not gradient[torch.arange(len(x)) != row].any()


def section(sizes: Sequence[int] = SIZES, repeats: int = 3) -> str:
    rows = []
    for size in sizes:
        model, batches = convolutional(1, 16, 16), vectors(size, 1, 16, 16)
        lab = Lab(Subject(name="net", original=Parts(model, nn.CrossEntropyLoss()), loader=batches))
        times = alternate({
            "check": lambda lab=lab: check(lab, 13),
            "all": lambda lab=lab, size=size: check(lab, size),
            "naive": lambda model=model, x=batches[0][0]: naive(model, x),
        }, repeats, most=10)  # fmt: skip
        rows.append(
            (
                size,
                *(shown(t) for t in times.values()),
                ratio(times["naive"], times["check"]),
                ratio(times["naive"], times["all"]),
            )
        )
        print(size, file=sys.stderr)
    columns = ("B", "as it is: 13 rows", "all B rows", "one backward a sample", "ratio to 13 rows",
               "ratio to all rows")  # fmt: skip
    return "\n".join([
        "## batch-dependency against one backward pass a sample\n",
        "A convolutional network at 16 px. The check takes 2·⌈log2 B⌉ forward passes over 13 rows "
        "of any batch (here also over all\nrows), and as many again to find the batch axis, "
        "reverse the batch and run one sample alone.\n",
        table(columns, rows),
    ])  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(section())
