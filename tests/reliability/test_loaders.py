"""Loaders without an end, ones that can be read once, slow and failing ones."""

from __future__ import annotations

from pathlib import Path

from recipe_check.results import Status
from tests.reliability.running import checked
from tests.test_cli import GOOD

STAGES = ("batch-contract", "shuffling", "duplicates", "class-balance", "initial-loss",
          "overfit-one-batch", "batch-size", "lr-schedule", "optimizer-learns")  # fmt: skip
BATCHES = "train_loader = ["
ENDLESS = """
class Endless:
    def __iter__(self):
        while True:
            i = int(torch.randint(0, 176, ()))
            yield X[i:i + 16], Y[i:i + 16]
train_loader = Endless()
"""
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


def results(folder: Path, text: str, *ids: str):
    file = folder / "target.py"
    file.write_text(text)
    found, broken = checked(file, *ids)
    assert broken is None
    return found


def test_an_endless_loader_is_read_for_a_while(tmp_path: Path) -> None:
    found = results(tmp_path, GOOD + ENDLESS, *STAGES)
    assert {r.status for r in found.values()} <= {Status.PASS, Status.SKIP, Status.WARN}
    assert found["initial-loss"].status is Status.PASS


def test_a_generator_that_can_be_read_once_serves_every_check(tmp_path: Path) -> None:
    text = GOOD + "train_loader = (batch for batch in train_loader)\n"
    found = results(tmp_path, text, *STAGES, "input-independent-baseline", "capacity")
    assert {r.status for r in found.values()} <= {Status.PASS, Status.SKIP, Status.WARN}
    assert found["optimizer-learns"].status is Status.PASS


def test_a_loader_that_breaks_later_names_its_line(tmp_path: Path) -> None:
    found = results(tmp_path, GOOD + BREAKS, "batch-contract", "initial-loss")
    said = found["batch-contract"].verdict
    assert said.status is Status.ERROR
    assert "KeyboardInterrupt: enough" in said.message
    assert said.location is not None
    assert said.location.source.strip() == 'raise KeyboardInterrupt("enough")'
    assert found["initial-loss"].status is Status.PASS
