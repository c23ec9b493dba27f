"""Loaders without an end, ones that can be read once, slow and failing ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from recipe_check.plugins import build, check_classes
from recipe_check.results import Result
from recipe_check.runner import run_check
from recipe_check.values import Status
from tests.nets import MLP, class_batches, made
from tests.reliability.running import checked
from tests.test_cli import GOOD

BREAKS = """
passes = []
class Breaks:
    def __iter__(self):
        passes.append(0)
        for i in range(0, 192, 16):
            if len(passes) > 1 and i > 64:
                raise KeyboardInterrupt("enough")
            yield X[i:i + 16], Y[i:i + 16]
train_loader = Breaks()
"""


class Endless:
    """Yields the same twelve batches in any order, for ever."""

    def __iter__(self):
        batches = class_batches(12)
        while True:
            yield batches[int(torch.randint(0, 12, ()))]


def all_checks(lab, repeat: int = 1) -> dict[str, Result]:
    """Every check but the slowest, on one lab."""
    assert lab.broken is None
    kinds = check_classes()
    chosen = [id for id in kinds if id not in ("capacity", "input-independent-baseline")]
    return {id: run_check(build(kinds[id], {}), lab, repeat) for id in chosen}


def lab_around(lab_for, loader):
    model = made(MLP)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return lab_for(model, loader, nn.CrossEntropyLoss(), optimizer, build_model=MLP)


@pytest.mark.parametrize("make", [Endless, lambda: (b for b in class_batches(12))],
                         ids=["endless", "read once"])  # fmt: skip
def test_loaders_without_an_end_or_a_second_time_serve_every_check(lab_for, make) -> None:
    found = all_checks(lab_around(lab_for, make()), repeat=2)
    assert {r.status for r in found.values()} <= {Status.PASS, Status.SKIP, Status.WARN}
    for id in ("batch-contract", "initial-loss", "overfit-one-batch", "optimizer-learns"):
        assert found[id].status is Status.PASS


def test_a_loader_that_breaks_later_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "target.py"
    file.write_text(GOOD + BREAKS)
    found, broken = checked(file, "batch-contract", "initial-loss")
    assert broken is None
    said = found["batch-contract"].verdict
    assert said.status is Status.FAIL
    assert "the data loader raises: KeyboardInterrupt: enough" in said.message
    assert said.location is not None
    assert said.location.source.strip() == 'raise KeyboardInterrupt("enough")'
    assert found["initial-loss"].status is Status.PASS
