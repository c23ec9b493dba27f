"""Missing, broken and vanishing gradients, and what only looks like them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from recipe_check import Status
from recipe_check.checks._depth import decay_over_depth
from recipe_check.checks.gradient_norms import GradientNorms
from tests.nets import MLP, class_batches, made


class Detached(MLP):
    def forward(self, x):
        features = torch.relu(self.body(x)).detach()
        return self.head(features)


class Argmax(MLP):
    def forward(self, x):
        scores = super().forward(x)
        return nn.functional.one_hot(scores.argmax(1), 3).float()


class LogOfNegative(MLP):
    def forward(self, x):
        return self.head(torch.log(self.body(x)))


class DeepSigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [layer for _ in range(14) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
        self.net = nn.Sequential(*layers, nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)


class ZeroHead(MLP):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)


class UnusedHead(MLP):
    def __init__(self):
        super().__init__(width=64)
        self.auxiliary = nn.Linear(8, 2)


def judged(lab_for, model, **subject):
    check = GradientNorms()
    lab = lab_for(model, class_batches(), nn.CrossEntropyLoss(), **subject)
    return check.judge(check.measure(lab))


def test_a_detached_trunk_fails_at_its_line(lab_for) -> None:
    verdict = judged(lab_for, made(Detached, width=64))
    assert verdict.status is Status.FAIL
    assert verdict.location.op == "detach"
    assert ".detach()" in verdict.location.source


def test_a_loss_without_gradient_fails_at_the_argmax(lab_for) -> None:
    verdict = judged(lab_for, made(Argmax))
    assert verdict.status is Status.FAIL
    assert verdict.location.op == "argmax"


def test_nan_fails_at_the_operation_that_made_it(lab_for) -> None:
    verdict = judged(lab_for, made(LogOfNegative))
    assert verdict.status is Status.FAIL
    assert verdict.location.op == "log"


def test_everything_frozen_fails(lab_for) -> None:
    model = made(MLP).requires_grad_(False)
    verdict = judged(lab_for, model)
    assert verdict.status is Status.FAIL
    assert "requires_grad=False" in verdict.message


def test_gradients_that_vanish_over_depth_are_found(lab_for) -> None:
    assert judged(lab_for, made(DeepSigmoid)).status in (Status.FAIL, Status.WARN)


@pytest.mark.parametrize("kind", [MLP, ZeroHead], ids=["healthy", "zero-initialised-head"])
def test_sound_models_pass(lab_for, kind) -> None:
    verdict = judged(lab_for, made(kind))
    assert verdict.status is Status.PASS
    assert verdict.details


def test_an_unused_head_is_warned_of_by_name(lab_for) -> None:
    verdict = judged(lab_for, made(UnusedHead))
    assert verdict.status is Status.WARN
    assert "auxiliary.weight" in verdict.message


def test_weights_that_the_optimizer_does_not_hold_are_not_its_business(lab_for) -> None:
    model = made(UnusedHead)
    held = [*model.body.parameters(), *model.head.parameters()]
    assert judged(lab_for, model, optimizer=torch.optim.SGD(held, 0.1)).status is Status.PASS


def test_norms_agree_with_plain_autograd(lab_for) -> None:
    model = made(MLP)
    lab = lab_for(model, class_batches(), nn.CrossEntropyLoss())
    x, y = lab.train_batches[0]
    nn.functional.cross_entropy(model(x), y).backward()
    found = lab.trace.gradient("body.weight")
    assert found.norms[0] == pytest.approx(float(model.body.weight.grad.norm()), rel=1e-5)


def test_sparse_gradients_have_norms(lab_for) -> None:
    model = nn.Sequential(nn.EmbeddingBag(20, 8, sparse=True), nn.Linear(8, 3))
    batches = [(torch.randint(0, 20, (16, 5)), torch.randint(0, 3, (16,))) for _ in range(3)]
    check = GradientNorms()
    verdict = check.judge(check.measure(lab_for(model, batches, nn.CrossEntropyLoss())))
    assert verdict.status is Status.PASS


@pytest.mark.parametrize(
    ("norms", "weight", "factor"),
    [
        ([1e-12, 1e-9, 1e-6, 1e-3, 1.0], 1.0, 1e-12),
        ([1e-12, 1e-9, 1e-6], 1.0, None),  # three layers fit any line
        ([1e-12, 1.0, 1e-12, 1.0, 1e-12], 1.0, None),  # no line
        ([1e-12, 1e-9, 1e-6, 1e-3, 1.0], 1e-12, None),  # small weights (layer scale) still move
    ],
)
def test_decay_over_depth(norms, weight, factor) -> None:
    decay = decay_over_depth(norms, [weight] * len(norms))
    if factor is None:
        assert decay is None
    else:
        assert math.isclose(decay.factor, factor, rel_tol=1e-6)
