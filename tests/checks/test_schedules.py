"""Learning-rate schedules over the planned training: planted mistakes, sound twins, traps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from torch import nn
from torch.optim import SGD
from torch.optim import lr_scheduler as lr

from recipe_check import NotApplicable, Status
from recipe_check.checks.lr_schedule import LrSchedule, Plan
from recipe_check.probes.loops import read_training
from tests.nets import MLP, class_batches, made

BATCHES = 20
TRAIN = """
for epoch in range(EPOCHS):
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
"""
EPOCH = TRAIN + "    scheduler.step()\n"
BATCH = TRAIN + "        scheduler.step()\n"


def planned(lab_for, tmp_path, make, text: str | None, epochs: int = 10, optimizer=None):
    model = made(MLP)
    optimizer = optimizer(model) if optimizer else SGD(model.parameters(), 0.1)
    file = tmp_path / "fit.py"
    lab = lab_for(model, class_batches(BATCHES), nn.CrossEntropyLoss(), optimizer, make(optimizer))
    if text is not None:
        file.write_text(text.replace("EPOCHS", str(epochs)))
    lab.cached("loops", lambda: read_training([file] if text is not None else []))
    return LrSchedule().measure(lab)


def judged(*args, **kwargs):
    return LrSchedule().judge(planned(*args, **kwargs))


def step(size, gamma=0.1):
    return lambda o: lr.StepLR(o, size, gamma)


def once(total):
    return lambda o: lr.OneCycleLR(o, 0.1, total_steps=total)


def shaped(function):
    return lambda o: lr.LambdaLR(o, function)


def warm(steps):
    return shaped(lambda s: min(1.0, s / steps))


LEAVES = "    if bad > 5:\n        break\n"

BAD = {
    "step-every-batch": (step(3), BATCH, 10, Status.FAIL, "less than 1 % of the peak", True),
    "exponential-every-batch": (
        lambda o: lr.ExponentialLR(o, 0.8), BATCH, 10, Status.FAIL, "from epoch 1", True,
    ),
    "one-cycle-for-epochs": (once(10), BATCH, 10, Status.FAIL, "raises after 11 steps", True),
    "one-cycle-too-short": (once(5), EPOCH, 10, Status.FAIL, "raises after", True),
    "zero": (shaped(lambda s: 0.0), EPOCH, 10, Status.FAIL, "the rate is 0", True),
    "zero-unread": (shaped(lambda s: 0.0), None, 10, Status.FAIL, "the rate is 0", False),
    "too-short": (step(3), EPOCH, 14, Status.WARN, "let the rate fall more slowly", True),
    "endless-warm-up": (warm(1000), BATCH, 10, Status.WARN, "still rises after", True),
    "cosine-rises-again": (
        lambda o: lr.CosineAnnealingLR(o, 100), BATCH, 10, Status.WARN, "T_max is 100", True,
    ),
    "cosine-in-batches": (
        lambda o: lr.CosineAnnealingLR(o, 10 * BATCHES), EPOCH, 10, Status.WARN,
        "built for 200 steps and gets 10", True,
    ),
    "step-every-batch-and-early-stop": (
        step(3), BATCH + LEAVES, 10, Status.FAIL, "1 % of the peak", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_a_schedule_that_goes_wrong(lab_for, tmp_path, case) -> None:
    make, text, epochs, status, words, located = case
    verdict = judged(lab_for, tmp_path, make, text, epochs)
    assert verdict.status is status
    assert words in f"{verdict.message} {verdict.fix.text}"
    assert (verdict.location is not None) is located
    assert not located or "scheduler.step()" in verdict.location.source


def warm_cosine(o):
    first, then = lr.LinearLR(o, 0.01, total_iters=20), lr.CosineAnnealingLR(o, 180)
    return lr.SequentialLR(o, [first, then], [20])


SOUND = {
    "step-every-epoch": (step(4), EPOCH, 10),
    "imagenet": (step(30), EPOCH, 90),
    "cifar": (lambda o: lr.MultiStepLR(o, [100, 150], 0.1), EPOCH, 200),
    "mnist": (step(1, 0.7), EPOCH, 14),
    "one-cycle": (once(200), BATCH, 10),
    "one-cycle-over-steps": (
        once(50),
        "for step in range(50):\n    optimizer.zero_grad()\n    loss(model(x)).backward()\n"
        "    optimizer.step()\n    scheduler.step()\n",
        1,
    ),
    "cosine": (lambda o: lr.CosineAnnealingLR(o, 10), EPOCH, 10),
    "cosine-half-way": (lambda o: lr.CosineAnnealingLR(o, 20), EPOCH, 10),
    "cosine-by-batch": (lambda o: lr.CosineAnnealingLR(o, 200), BATCH, 10),
    "warm-restarts": (lambda o: lr.CosineAnnealingWarmRestarts(o, 10, 2), EPOCH, 70),
    "warm-up-from-zero": (warm(20), BATCH, 10),
    "warm-up-then-cosine": (warm_cosine, BATCH, 10),
    "noam": (shaped(lambda s: min((s + 1) ** -0.5, (s + 1) * 40**-1.5)), BATCH, 10),
    "polynomial": (lambda o: lr.PolynomialLR(o, 200, 2.0), BATCH, 10),
    "cyclic": (lambda o: lr.CyclicLR(o, 1e-4, 0.1, step_size_up=40), BATCH, 10),
    "unread": (step(1), None, 10),
}
ONCE_MORE = TRAIN.replace("optimizer", "second").replace("EPOCHS", "3")

UNCOUNTED = {
    "fractions-of-epochs": (
        lambda o: lr.CosineAnnealingLR(o, 10), BATCH.replace("step()\n", "step(epoch + i / n)\n"),
    ),
    "epoch-given": (step(3), TRAIN + "        scheduler.step(epoch)\n"),
    "most-steps": (
        once(50), BATCH + "        if i >= 50:\n            break\n" + LEAVES,
    ),
    "most-steps-in-a-function": (
        shaped(lambda s: 0.5 * (1 + math.cos(math.pi * min(s / 50, 1)))),
        "def fit():" + BATCH.replace("\n", "\n    ")
        + "        if i > 50:\n                return\nfit()\n",
    ),
    "early-stop": (
        lambda o: lr.ExponentialLR(o, 0.7), EPOCH + LEAVES,
    ),
    "part-of-the-loader": (
        once(50), BATCH.replace("enumerate(loader)", "enumerate(islice(loader, 5))"),
    ),
    "range-of-batches": (
        once(50), BATCH.replace("i, (x, y) in enumerate(loader)", "i in range(5)"),
    ),
    "accumulated": (
        once(50), TRAIN + "        if i % 4 == 3:\n            scheduler.step()\n",
    ),
    "accelerate": (
        once(50), BATCH.replace("loader):\n", "loader):\n        accelerator.accumulate(model)\n"),
    ),
    "another-scheduler": (
        step(4), TRAIN + "        beta_scheduler.step()\n    scheduler.step()\n",
    ),
    "pretraining-first": (
        once(200), ONCE_MORE + "        second_scheduler.step()\n" + BATCH,
    ),
    "endless-stream": (
        warm(100), "for i, x in enumerate(stream):\n    if i > 2000:\n        break\n"
        "    loss(model(x)).backward()\n    optimizer.step()\n    scheduler.step()\n",
    ),
    "two-phases": (once(260), ONCE_MORE + "        scheduler.step()\n" + BATCH),
}  # fmt: skip


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_sound_schedules_pass(lab_for, tmp_path, case) -> None:
    verdict = judged(lab_for, tmp_path, *case)
    assert verdict.status is Status.PASS, verdict.message


@pytest.mark.parametrize("case", UNCOUNTED.values(), ids=UNCOUNTED.keys())
def test_steps_that_cannot_be_counted_are_not_judged(lab_for, tmp_path, case) -> None:
    verdict = judged(lab_for, tmp_path, *case)
    assert verdict.status is Status.PASS, verdict.message


class ByLoss:
    def __init__(self, optimizer) -> None:
        self.optimizer = optimizer

    def step(self, loss):
        """Wants an argument, as timm's schedulers do."""


def test_schedulers_that_want_an_argument_are_left_out(lab_for, tmp_path) -> None:
    for make in (ByLoss, lr.ReduceLROnPlateau):
        with pytest.raises(NotApplicable):
            planned(lab_for, tmp_path, make, EPOCH.replace("step()\n", "step(loss)\n"))


def test_a_group_with_a_rate_of_zero_is_no_rate_of_zero(lab_for, tmp_path) -> None:
    def halves(model):
        body = {"params": model.body.parameters(), "lr": 0.0}
        return SGD([body, {"params": model.head.parameters()}], 0.1)

    verdict = judged(lab_for, tmp_path, step(4), EPOCH, optimizer=halves)
    assert verdict.status is Status.PASS


def test_two_decays_by_ten_end_at_a_hundredth_whatever_the_rounding(lab_for, tmp_path) -> None:
    for rate in (0.1, 0.3, 3e-4, 7e-4, 6e-5):
        seen = planned(lab_for, tmp_path, step(30), EPOCH, 90,
                       lambda m, r=rate: SGD(m.parameters(), r))  # fmt: skip
        assert seen.tiny == 0


def test_the_rates_are_those_of_the_formula(lab_for, tmp_path) -> None:
    seen = planned(lab_for, tmp_path, lambda o: lr.CosineAnnealingLR(o, 200), BATCH)
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(200) / 200))
    np.testing.assert_allclose(seen.rates, expected, rtol=1e-6)
    assert seen.tiny == pytest.approx((expected < 1e-3).mean())
    assert (seen.per_batch, seen.epochs, seen.known, seen.batches) == (True, 10, True, BATCHES)


def plan(*rates: float, **changes):
    known = Plan("StepLR", tuple(rates), True, 10, True, 10, "", 0, None)
    return replace(known, **changes)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (plan(*[1.0] * 5, *[0.0099] * 5), Status.WARN),
        (plan(*[1.0] * 4, *[0.0099] * 6), Status.FAIL),
        (plan(*[1.0] * 4, *[0.01] * 6), Status.PASS),
        (plan(*[1.0] * 6, *[0.0] * 2), Status.PASS),
        (plan(*[1.0] * 5, *[0.0] * 2), Status.WARN),
        (plan(*[1.0] * 4, *[0.0] * 6, known=False), Status.PASS),
        (plan(*[1.0] * 10, *[0.0] * 90, early=True), Status.PASS),
        (plan(*[1.0] * 4, *[0.0] * 96, early=True), Status.FAIL),
        (plan(0.0, 0.0), Status.FAIL),
        (plan(math.inf), Status.FAIL),
        (plan(0.1, 0.5, 1.0, 1.0), Status.PASS),  # half of the steps
        (plan(0.1, 0.5, 0.7, 1.0), Status.WARN),
        (plan(0.5, 0.6, 0.7, 1.0), Status.PASS),
        (plan(1.0, error="ValueError"), Status.FAIL),
        (plan(1.0, error="ValueError", known=False), Status.WARN),
        (plan(*[1.0] * 11, error="ValueError", early=True), Status.PASS),
        (plan(1.0, 0.1, 0.21, period=2), Status.WARN),
        (plan(1.0, 0.1, 0.2, period=2), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(seen, status) -> None:
    assert LrSchedule().judge(seen).status is status
