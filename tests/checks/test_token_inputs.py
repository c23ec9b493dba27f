"""Integer inputs with float labels: what is no input must not be taken for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.class_balance import ClassBalance
from recipe_check.checks.image_layout import ImageLayout
from recipe_check.checks.input_scale import InputScale
from recipe_check.checks.label_noise import LabelNoise
from recipe_check.checks.linearity import Linearity
from recipe_check.checks.loss_terms import LossTerms
from recipe_check.checks.target_scale import TargetScale
from tests.nets import made

BCE = nn.BCEWithLogitsLoss()


class Sentiment(nn.Module):
    """Embeddings as small as those of neural collaborative filtering, and two layers."""

    def __init__(self, activation=nn.ReLU) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        nn.init.normal_(self.embed.weight, std=0.001)
        self.body = nn.Sequential(nn.Linear(8, 16), activation(), nn.Linear(16, 1))

    def forward(self, x):
        return self.body(self.embed(x).mean(1)).squeeze(1)


def reviews(count: int = 8):
    torch.manual_seed(0)
    codes = [torch.randint(0, 50, (64, 12)) for _ in range(count)]
    return [(x, (x[:, 0] < 25).float()) for x in codes]


@pytest.mark.parametrize(
    "check", [Linearity(), InputScale(), TargetScale(), LabelNoise(), ImageLayout(), LossTerms()]
)
def test_checks_of_floats_leave_tokens_out(lab_for, check) -> None:
    with pytest.raises(NotApplicable):
        check.measure(lab_for(made(Sentiment), reviews(), BCE))


def test_float_labels_are_counted_as_classes(lab_for) -> None:
    check = ClassBalance()
    verdict = check.judge(check.measure(lab_for(made(Sentiment), reviews(), BCE)))
    assert verdict.status is Status.PASS
    skewed = [(x, (torch.arange(64) == 0).float()) for x, _ in reviews()]
    verdict = check.judge(check.measure(lab_for(made(Sentiment), skewed, BCE)))
    assert verdict.status is Status.WARN
    assert verdict.values["ratio"] == 63


def test_a_linear_model_of_floats_is_still_found(lab_for) -> None:
    batches = [(torch.randn(16, 8), torch.rand(16, 1)) for _ in range(6)]
    linear = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    check = Linearity()
    verdict = check.judge(check.measure(lab_for(linear, batches, BCE)))
    assert verdict.status is Status.FAIL
