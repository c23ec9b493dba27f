"""What the presets cost, in counted passes: no clock is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import recipe_check
from recipe_check.api import PRESETS
from recipe_check.checks._batch_fit import fit_batch, progress
from recipe_check.preset_costs import STEPS, in_steps, stated
from recipe_check.results import Cost
from recipe_check.run_report import Report
from tests.commands import command
from tests.nets import MLP, ConvNet, TokenNet, class_batches, image_batches, made, token_batches
from tests.nets import token_loss as loss_of_tokens

SETUPS = {
    "mlp": (MLP, class_batches(12), nn.CrossEntropyLoss()),
    "convolutions": (ConvNet, image_batches(12), nn.CrossEntropyLoss()),
    "tokens": (TokenNet, token_batches(12), loss_of_tokens),
}


def ran(setup: str, **options: object) -> Report:
    kind, batches, loss = SETUPS[setup]
    model = made(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return recipe_check.run(model, batches, loss, optimizer, budget=600, **options)


def costs(report: Report) -> dict[str, tuple[int, int, int]]:
    return {r.id: (r.cost.forward, r.cost.backward, r.cost.steps) for r in report.results}


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_keeps_to_what_it_says(preset: str, setup: str) -> None:
    report = ran(setup, preset=preset)
    spent = sum(in_steps(result.cost) for result in report.results)
    assert 5 < spent <= STEPS[preset]
    if preset == "quick":
        assert sum(result.cost.steps for result in report.results) <= 1


def test_the_checks_of_a_sound_model_take_no_pass_twice() -> None:
    ids = ["initial-loss", "gradient-norms", "dead-relu", "batch-dependency", "gradient-check",
           "overfit-one-batch", "output-collapse"]  # fmt: skip
    found = costs(ran("convolutions", only=ids))
    assert found["initial-loss"] == (4, 4, 0)  # the shared probe: four batches
    assert found["gradient-norms"] == found["dead-relu"] == (0, 0, 0)
    assert found["batch-dependency"] == (2 * 4 + 4, 0, 0)  # 13 rows have four bits
    assert found["gradient-check"] == (3, 1, 0)
    forward, backward, steps = found["overfit-one-batch"]
    assert backward == steps
    assert forward - steps <= 2 + steps // 10 + 4  # the start, the end, and looks on the way
    assert found["output-collapse"] == (2, 0, 0)  # before and after the fit that was made


def test_the_fit_of_one_batch_ends_at_the_step_that_is_enough(lab_for) -> None:
    lab = lab_for(made(ConvNet), image_batches(12), nn.CrossEntropyLoss())
    fit = fit_batch(lab, 300, 60.0, 0.95)
    (attempt,) = fit.attempts  # the first rate will do: no other is tried
    way = [progress(attempt.losses[0], sum(attempt.losses[:n][-5:]) / 5, fit.floor)
           for n in range(5, len(attempt.losses) + 1)]  # fmt: skip
    assert attempt.accuracy == 1.0 or way[-1] >= 0.95
    assert all(share < 0.95 for share in way[:-1])
    assert lab.meter.steps == len(attempt.losses)


def test_a_forward_pass_is_a_third_of_a_step() -> None:
    assert in_steps(Cost(forward=13, backward=10, steps=10)) == pytest.approx(11)
    assert in_steps(Cost(forward=1, backward=1)) == pytest.approx(1)


def test_the_help_says_it(tmp_path: Path) -> None:
    text = " ".join(command(tmp_path, "run", "--help").out.split())
    assert stated() in text
    assert stated() == "quick 30, default 600, thorough 1300"
