"""Real inputs against zeros and shuffled labels, on held-out data."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from recipe_check import CauseState, NotApplicable, Status
from recipe_check.checks._arm_values import Arm, Arms, Round, gain
from recipe_check.checks._culprits import Culprit
from recipe_check.checks.input_independent_baseline import InputIndependentBaseline
from tests.nets import (
    MLP,
    ConvNet,
    TokenNet,
    class_batches,
    image_batches,
    made,
    token_batches,
    token_loss,
)


class Deaf(MLP):
    def forward(self, x):
        return super().forward(x * 0)


def misaligned():
    batches = class_batches(8)
    generator = torch.Generator().manual_seed(1)
    labels = torch.cat([y for _, y in batches])
    labels = labels[torch.randperm(len(labels), generator=generator)].split(16)
    return [(x, y) for (x, _), y in zip(batches, labels, strict=True)]


def judged(lab_for, model, batches, loss=None, **subject):
    check = InputIndependentBaseline()
    lab = lab_for(model, batches, loss or nn.CrossEntropyLoss(), **subject)
    return check.judge(check.measure(lab))


def test_labels_shuffled_without_their_inputs_fail(lab_for) -> None:
    verdict = judged(lab_for, made(MLP, width=128), misaligned())
    assert verdict.status is Status.FAIL
    assert "do not belong together" in verdict.message


def test_a_deaf_model_fails(lab_for) -> None:
    verdict = judged(lab_for, made(Deaf), class_batches())
    assert verdict.status is Status.FAIL
    assert "no better than zeros" in verdict.message


def test_a_label_that_leaks_past_the_inputs_fails(lab_for) -> None:
    """The planted leak: the model reads the labels from a side channel, in order."""
    batches = class_batches(8)

    class Peeking(MLP):
        def forward(self, x):
            match = [y for _, y in batches if len(y) == len(x)]
            scores = super().forward(x)
            known = next((y for x0, y in batches if x0.shape == x.shape), match[0])
            return scores + 5 * nn.functional.one_hot(known, 3)

    same = [(x, batches[0][1]) for x, _ in batches]
    verdict = judged(lab_for, made(Peeking), same)
    assert verdict.status is Status.FAIL
    assert "something else carries the label" in verdict.message


SOUND = {
    "mlp": (MLP, class_batches(8), None),
    "batch-norm": (ConvNet, image_batches(8), None),
    "tokens": (TokenNet, token_batches(8), token_loss),
}


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_sound_models_pass(lab_for, case) -> None:
    kind, batches, loss = case
    verdict = judged(lab_for, made(kind), batches, loss)
    assert verdict.status is Status.PASS
    assert verdict.details


def test_half_of_the_labels_wrong_is_still_a_signal(lab_for) -> None:
    generator = torch.Generator().manual_seed(2)
    noisy = [
        (x, torch.where(torch.rand(len(y), generator=generator) < 0.5,
                        torch.randint(0, 3, y.shape, generator=generator), y))
        for x, y in class_batches(24)
    ]  # fmt: skip
    assert judged(lab_for, made(MLP), noisy).status is not Status.FAIL


def test_an_autoencoder_is_skipped(lab_for) -> None:
    batches = [(torch.randn(16, 8),) for _ in range(4)]
    lab = lab_for(nn.Linear(8, 8), batches, nn.MSELoss())
    with pytest.raises(NotApplicable, match="no target"):
        InputIndependentBaseline().measure(lab)


def test_labels_that_the_step_does_not_use_are_skipped(lab_for) -> None:
    def step(model, batch):
        return (model(batch[0]) - batch[0]).pow(2).mean()

    lab = lab_for(nn.Linear(8, 8), class_batches(), training_step=step)
    with pytest.raises(NotApplicable, match="does not use the targets"):
        InputIndependentBaseline().measure(lab)


def test_gain_is_the_paired_t_statistic() -> None:
    from scipy.stats import ttest_rel

    real, control = (1.0, 1.2, 0.9, 1.1), (1.5, 1.4, 1.6, 1.5)
    share, t = gain(Round(1, 0.0, real), Round(1, 0.0, control))
    assert t == pytest.approx(ttest_rel(control, real).statistic)
    assert share == pytest.approx((1.5 - 1.05) / 1.5)


def arms(
    real, zeros=2.0, permuted=2.0, train=1.0, progress=1.0, prior=None, shuffled=None, steps=400
):
    def arm(level, last):
        held = tuple(level + 0.01 * i for i in range(6))
        return Arm("arm", (Round(steps, last, held),))

    shifted = arm(real, train)
    noise = tuple(h + (-1) ** i * 0.001 for i, h in enumerate(shifted.rounds[0].held))
    shifted = Arm("real", (Round(steps, train, noise),))
    unrelated = arm(permuted, shuffled or train)
    return Arms(shifted, arm(zeros, 2.0), unrelated, progress, 1e-3, prior, True)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (arms(1.0), Status.PASS),
        (arms(2.1, train=1.9), Status.WARN),
        (arms(2.1, train=1.9, steps=200), Status.SKIP),
        (arms(2.1, train=1.0, steps=200), Status.FAIL),
        (arms(2.1, train=1.0), Status.FAIL),
        (arms(2.1, train=1.0, shuffled=1.19), Status.FAIL),
        (arms(2.1, train=1.0, shuffled=1.21), Status.PASS),
        (arms(2.1, train=2.0, progress=0.2), Status.FAIL),
        (arms(1.0, permuted=0.9, train=0.5), Status.FAIL),
        (arms(1.0, zeros=1.5, prior=2.0), Status.FAIL),
        (arms(1.0, zeros=1.9, prior=2.0), Status.PASS),
        (arms(2.1, zeros=math.nan, train=2.0, progress=0.2, prior=2.0), Status.FAIL),
    ],
    ids=[
        "learns",
        "undecided",
        "time-was-up",
        "by-heart-in-time",
        "by-heart",
        "hardly-faster",
        "learned-faster",
        "cannot-fit",
        "shuffled-as-good",
        "leak",
        "no-leak",
        "nan-on-zeros",
    ],
)
def test_judge(seen, status) -> None:
    assert InputIndependentBaseline().judge(seen).status is status


@pytest.mark.parametrize(
    ("early", "train", "status"),
    [(False, 1.0, Status.WARN), (False, 1.9, Status.WARN), (True, 1.9, Status.FAIL)],
    ids=["instead-of-labels", "undecided-anyway", "told-apart-early"],
)
def test_what_comes_before_the_labels_is_blamed_first(early, train, status) -> None:
    culprit = Culprit("inputs are not scaled", "scale first", "scale them", "input-scale",
                      Status.FAIL if early else Status.WARN, early)  # fmt: skip
    verdict = InputIndependentBaseline().judge(replace(arms(2.1, train=train), culprit=culprit))
    assert verdict.status is status
    named = [c.title for c in verdict.causes if c.state is CauseState.MATCHES]
    assert named == ([] if train == 1.9 and not early else ["inputs are not scaled"])
    sound = replace(arms(1.0), culprit=culprit)
    assert InputIndependentBaseline().judge(sound).status is Status.PASS
