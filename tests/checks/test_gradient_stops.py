"""The operation at which the gradient stops, or stops being finite, is named with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import CauseState, Status
from recipe_check.checks.gradient_norms import GradientNorms
from recipe_check.checks.initial_loss import InitialLoss
from recipe_check.checks.overfit_one_batch import OverfitOneBatch
from tests.nets import class_batches


def judged(lab, check=None):
    check = check or GradientNorms()
    return check.judge(check.measure(lab))


def matching(verdict) -> str:
    return " ".join(
        f"{c.title} {c.evidence}" for c in verdict.causes if c.state is CauseState.MATCHES
    )


class Between(nn.Module):
    """Two layers with an operation between them."""

    def __init__(self, middle) -> None:
        super().__init__()
        self.body, self.head, self.middle = nn.Linear(8, 16), nn.Linear(16, 3), middle

    def forward(self, x):
        return self.head(self.middle(self.body(x)))


def by_numpy(h):
    return torch.from_numpy(np.tanh(h.detach().numpy()))


def without_gradient(h):
    with torch.no_grad():
        return h * 2


def rebuilt(h):
    return torch.tensor(h.tolist())


@pytest.mark.parametrize(
    ("middle", "word", "line"),
    [
        (torch.round, "round is piecewise constant", ""),
        (lambda h: (h > 0).float(), "> leaves the autograd graph|gt leaves", "h > 0"),
        (lambda h: h.detach(), "detach leaves", "h.detach()"),
        (lambda h: h.data, "data leaves", "h.data"),
        (by_numpy, "leaves|outside torch", "numpy()"),
        (rebuilt, "tolist turns", "tolist()"),
        (without_gradient, "runs without autograd", "torch.no_grad()"),
        (lambda h: h * 0, "multiplies by zero", "h * 0"),
        (lambda h: F.dropout(h, 1.0), "drops everything", "F.dropout(h, 1.0)"),
        (lambda h: torch.sigmoid(h * 1e5), "saturated", "torch.sigmoid(h * 1e5)"),
        (lambda h: h.clamp(50, 60), "saturated", "h.clamp(50, 60)"),
    ],
)
def test_what_stops_the_gradient_is_named(lab_for, middle, word, line) -> None:
    torch.manual_seed(0)
    here = Path(__file__)
    lab = lab_for(Between(middle), class_batches(), nn.CrossEntropyLoss(), file=here)
    verdict = judged(lab)
    assert verdict.status in (Status.FAIL, Status.WARN)
    assert any(w in matching(verdict) for w in word.split("|"))
    if line:
        assert verdict.location is not None
        assert line in verdict.location.source


@pytest.mark.parametrize(
    "middle",
    [
        torch.relu,
        lambda h: h + (torch.round(h) - h).detach(),  # straight through
        lambda h: h - h.max(1, keepdim=True).values.detach(),
        lambda h: h * (h > 0).float(),
    ],
)
def test_what_only_looks_like_a_stop(lab_for, middle) -> None:
    torch.manual_seed(0)
    verdict = judged(lab_for(Between(middle), class_batches(), nn.CrossEntropyLoss()))
    assert verdict.status is Status.PASS


def test_softmax_over_a_single_output(lab_for) -> None:
    def step(model, batch):
        one = model(batch[0])[:, :1].softmax(1)
        return ((one - batch[1][:, None]) ** 2).mean()

    verdict = judged(lab_for(Between(torch.relu), class_batches(), training_step=step))
    assert verdict.status is Status.FAIL
    assert "always 1" in matching(verdict)
    assert "softmax(1)" in verdict.location.source


def test_a_loss_that_has_nothing_of_the_model(lab_for) -> None:
    def itself(model, batch):
        model(batch[0])
        return F.mse_loss(batch[0], batch[0])

    def rewrapped(model, batch):
        return torch.tensor(F.cross_entropy(model(batch[0]), batch[1]).item(), requires_grad=True)

    for step, line in ((itself, "F.mse_loss"), (rewrapped, ".item()")):
        verdict = judged(lab_for(Between(torch.relu), class_batches(), training_step=step))
        assert verdict.status is Status.FAIL
        assert line in verdict.location.source


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.one(x), self.two(x)


def test_a_head_whose_scores_are_not_used(lab_for) -> None:
    def step(model, batch):
        one, _ = model(batch[0])
        return F.cross_entropy(one, batch[1]) + F.cross_entropy(one, batch[1].flip(0))

    verdict = judged(lab_for(Heads(), class_batches(), training_step=step))
    assert verdict.status is not Status.PASS
    assert "judge the same prediction" in matching(verdict)


@pytest.mark.parametrize(
    ("middle", "word", "line"),
    [
        (lambda h: (h - h).pow(2).sum(1, keepdim=True).sqrt() * h, "root", "sqrt()"),
        (lambda h: torch.log(h), "logarithm", "torch.log(h)"),
        (lambda h: h / (h * 0).sum(1, keepdim=True), "division by zero", "h / (h * 0)"),
    ],
)
def test_what_makes_nan_is_named(lab_for, middle, word, line) -> None:
    torch.manual_seed(0)
    lab = lab_for(Between(middle), class_batches(), nn.CrossEntropyLoss())
    for check in (GradientNorms(), OverfitOneBatch()):
        verdict = judged(lab, check)
        assert verdict.status is Status.FAIL
        assert word in matching(verdict)
        assert line in verdict.location.source


def test_no_scale_is_blamed_for_a_loss_of_nan(lab_for) -> None:
    torch.manual_seed(0)
    batches = [(x, 1000 + x[:, :3]) for x, _ in class_batches()]
    verdict = judged(lab_for(Between(torch.log), batches, nn.MSELoss()), InitialLoss())
    assert verdict.status is Status.FAIL
    assert "logarithm" in matching(verdict)
    assert "targets" not in matching(verdict)


def test_a_part_of_the_gradient_that_is_lost(lab_for) -> None:
    def normed(h):
        h = h.relu()
        return h.data / (h.norm(dim=1, keepdim=True) + 1e-6) * 0.1

    torch.manual_seed(0)
    noisy = [(x.round(), y) for x, y in class_batches(2)]
    model = Between(normed)
    model.head.requires_grad_(False)
    verdict = judged(lab_for(model, noisy, nn.CrossEntropyLoss()), OverfitOneBatch())
    assert verdict.status is not Status.PASS
    assert "takes a part of the gradient along" in matching(verdict)
