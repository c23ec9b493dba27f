"""In the caller's own process: errors become results, an interrupt is theirs, nothing is left."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

import recipe_check
from recipe_check.errors import LoadError
from recipe_check.surroundings import SETTINGS
from recipe_check.values import Status
from tests.nets import MLP, class_batches, made
from tests.reliability import faulty as target

ONLY = ("batch-contract", "initial-loss", "overfit-one-batch")


class Late(MLP):
    """Does something from its thirteenth call on: some check, not the first step."""

    calls = 0

    def __init__(self, act) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        if type(self).calls > 12:
            self.act()
        return super().forward(x)


@pytest.fixture(autouse=True)
def _from_the_start() -> None:
    Late.calls = 0


def run(act):
    return recipe_check.run(made(Late, act=act), class_batches(), nn.CrossEntropyLoss(), only=ONLY)


@pytest.mark.parametrize("name", ["exit", "recurse"])
def test_what_ends_a_program_is_an_error_with_its_line(name: str) -> None:
    report = run(target.ACTS[name])
    broken = [r for r in report.results if r.status is Status.ERROR]
    assert broken
    assert all("your code raised at tests/reliability/" in r.verdict.message for r in broken)
    assert report.run.objects_unchanged


@pytest.mark.parametrize(("name", "kind"), [("interrupt", KeyboardInterrupt),
                                            ("ending", target.Ending)])  # fmt: skip
def test_an_interrupt_is_the_callers(name: str, kind: type[BaseException]) -> None:
    """Ctrl-C, and what pytest or asyncio raise to end a test or a task."""
    with pytest.raises(kind):
        run(target.ACTS[name])


@pytest.mark.parametrize("act", [target.meddle, target.meddle_and_raise])
def test_what_a_step_does_to_the_process_is_put_back(act) -> None:
    before = {setting.name: setting.read() for setting in SETTINGS}
    with contextlib.suppress(LoadError):
        run(act)
    after = {setting.name: setting.read() for setting in SETTINGS}
    assert {name for name in before if before[name] != after[name]} == set()
