"""The range test of the learning rate: planted mistakes, sound twins, traps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import CauseState, NotApplicable, Status
from recipe_check.checks._sweep import _divergence, _smoothed, _steepest
from recipe_check.checks.lr_range import LrRange, Sweep
from recipe_check.checks.optimizer_learns import OptimizerLearns
from tests.nets import MLP, ConvNet, TokenNet, class_batches, image_batches, made, token_batches
from tests.nets import token_loss as next_token

CE = nn.CrossEntropyLoss()
SGD, ADAM = torch.optim.SGD, torch.optim.Adam


def swept(lab_for, make, batches=None, model=None, loss=CE):
    model = model or made(MLP)
    lab = lab_for(model, batches or class_batches(20), loss, make(model.parameters()))
    check = LrRange()
    return check.judge(check.measure(lab))


RATES = {
    "adam-1e-9": (lambda p: ADAM(p, 1e-9), Status.WARN, "below"),
    "sgd-1e-6": (lambda p: SGD(p, 1e-6), Status.WARN, "below"),
    "adam-1e-3": (lambda p: ADAM(p, 1e-3), Status.PASS, "falls fastest"),
    "adam-1e-4": (lambda p: ADAM(p, 1e-4), Status.PASS, "falls fastest"),
    "sgd-0.1": (lambda p: SGD(p, 0.1, momentum=0.9), Status.PASS, "falls fastest"),
    "sgd-1e-3": (lambda p: SGD(p, 1e-3), Status.PASS, "falls fastest"),
    "head-alone": (lambda p: SGD(list(p)[2:], 0.1), Status.PASS, "falls fastest"),
}


@pytest.mark.parametrize("case", RATES.values(), ids=RATES.keys())
def test_rates_of_a_classifier(lab_for, case) -> None:
    make, status, words = case
    verdict = swept(lab_for, make)
    assert verdict.status is status
    assert words in verdict.message
    if status is Status.WARN:
        matching = [c.title for c in verdict.causes if c.state is CauseState.MATCHES]
        assert matching == ["the learning rate is too low"]


def test_a_rate_far_above_divergence_fails(lab_for) -> None:
    batches = [(x, 3 * x[:, :1]) for x, _ in class_batches(20)]
    for rate, status in ((1e3, Status.FAIL), (0.01, Status.PASS)):
        verdict = swept(lab_for, lambda p, r=rate: SGD(p, r), batches, made(MLP, classes=1),
                        F.mse_loss)  # fmt: skip
        assert verdict.status is status
    assert "runs away" in verdict.message


SETUPS = {
    "images": (made(ConvNet), image_batches(20), CE),
    "tokens": (made(TokenNet), token_batches(20), next_token),
    "dropout": (nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3)),
                class_batches(20), CE),
    "small-batches": (made(MLP), class_batches(60, size=2), CE),
}  # fmt: skip


@pytest.mark.parametrize("case", SETUPS.values(), ids=SETUPS.keys())
@pytest.mark.parametrize("rate", [3e-4, 3e-3])
def test_usual_rates_of_adam_pass(lab_for, case, rate) -> None:
    model, batches, loss = case
    verdict = swept(lab_for, lambda p: ADAM(p, rate), batches, model, loss)
    assert verdict.status is Status.PASS, verdict.message


def test_groups_keep_their_proportions_and_zero_is_skipped(lab_for) -> None:
    def halves(parameters):
        body, *head = list(parameters)
        return SGD([{"params": [body], "lr": 0.0}, {"params": head}], 0.1)

    assert swept(lab_for, halves).status is Status.PASS
    with pytest.raises(NotApplicable, match="first rate is zero"):
        swept(lab_for, lambda p: SGD(p, 0.0))
    with pytest.raises(NotApplicable, match="searches for its own"):
        swept(lab_for, torch.optim.LBFGS)


def test_nothing_to_learn_gives_no_suggestion(lab_for) -> None:
    torch.manual_seed(0)
    noise = [(x, torch.randint(0, 3, (16,))) for x, _ in class_batches(60)]
    uniform = made(MLP)
    nn.init.zeros_(uniform.head.weight)
    nn.init.zeros_(uniform.head.bias)
    with pytest.raises(NotApplicable, match="no rate lowers"):
        swept(lab_for, lambda p: SGD(p, 1e-3), noise, uniform)


def test_the_curve_is_smoothed_and_read_as_numpy_does() -> None:
    rates = [10 ** (-6 + i / 10) for i in range(60)]
    raw = np.r_[np.full(20, 2.0), np.linspace(2, 1, 20), np.geomspace(1, 1e4, 20)]
    raw += 0.01 * np.sin(np.arange(60))
    smooth = _smoothed(raw.tolist())
    weights = 0.3 * 0.7 ** np.arange(60)
    for n in (1, 7, 60):
        recent = raw[:n][::-1]
        expected = (weights[:n] * recent).sum() / weights[:n].sum()
        assert smooth[n - 1] == pytest.approx(expected)
    assert 10**-4 < _steepest(rates, smooth) < 10**-2
    assert 10**-2 < _divergence(rates, smooth) < 1
    assert _smoothed([2.0, 1.0, math.nan, 5.0]) == pytest.approx([2.0, 0.72 / 0.51])
    assert _steepest(rates, [1.0] * 60) is None


SWEEP = Sweep("Adam", 1e-3, (1e-7, 10.0), (1.0, 0.5), 1e-2, 1.0)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (SWEEP, Status.PASS),
        (replace(SWEEP, rate=0.99), Status.PASS),
        (replace(SWEEP, rate=1.0), Status.WARN),
        (replace(SWEEP, rate=9.9), Status.WARN),
        (replace(SWEEP, rate=10.0), Status.FAIL),
        (replace(SWEEP, rate=10.0, diverges=None), Status.PASS),
        (replace(SWEEP, rate=3.01e-6), Status.PASS),
        (replace(SWEEP, rate=2.99e-6), Status.WARN),
    ],
)
def test_judge_around_its_thresholds(seen, status) -> None:
    assert LrRange().judge(seen).status is status


def test_a_rate_of_zero_without_a_schedule_and_a_momentum_of_one_fail(lab_for) -> None:
    for options, words in (({"lr": 0.0}, "rate is zero"), ({"lr": 0.1, "momentum": 1.0}, "fades")):
        model = made(MLP)
        optimizer = torch.optim.SGD(model.parameters(), **options)
        lab = lab_for(model, class_batches(), nn.CrossEntropyLoss(), optimizer)
        check = OptimizerLearns()
        verdict = check.judge(check.measure(lab))
        assert verdict.status is Status.FAIL
        assert words in verdict.message
