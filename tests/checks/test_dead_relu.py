"""Dead units in modules and functional calls; sparse and small batches are no evidence."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.dead_relu import DeadRelu, DeadUnits
from tests.nets import MLP, ConvNet, class_batches, image_batches, made


class Dead(MLP):
    def __init__(self, rectify=F.relu):
        super().__init__()
        nn.init.constant_(self.body.bias, -20.0)
        self.rectify = rectify

    def forward(self, x):
        return self.head(self.rectify(self.body(x)))


RECTIFIERS = {
    "functional": F.relu,
    "module": nn.ReLU(),
    "in-place": lambda x: F.relu(x, inplace=True),
    "method": torch.Tensor.relu,
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0.0),
    "relu6": nn.ReLU6(),
}


def judged(lab_for, model, batches=None):
    check = DeadRelu()
    lab = lab_for(model, batches or class_batches(20), nn.CrossEntropyLoss())
    return check.judge(check.measure(lab))


@pytest.mark.parametrize("rectify", RECTIFIERS.values(), ids=RECTIFIERS.keys())
def test_a_dead_layer_fails_however_it_is_rectified(lab_for, rectify) -> None:
    verdict = judged(lab_for, made(Dead, rectify=rectify))
    assert verdict.status is Status.FAIL
    assert verdict.values["worst_share"] == 1.0
    assert verdict.location is not None
    assert verdict.causes[0].state == "matches"  # the bias


@pytest.mark.parametrize(
    ("kind", "batches"), [(MLP, None), (ConvNet, image_batches())], ids=["mlp", "conv"]
)
def test_healthy_models_pass(lab_for, kind, batches) -> None:
    assert judged(lab_for, made(kind), batches).status is Status.PASS


@pytest.mark.parametrize("silent", [0, 1])
def test_the_share_is_that_of_a_plain_count(lab_for, silent: int) -> None:
    model, batches = made(MLP), class_batches(20)
    with torch.no_grad():
        model.body.bias[:silent] = -20.0
    lab = lab_for(model, batches, nn.CrossEntropyLoss())
    seen = DeadRelu().measure(lab)[0]
    rows = torch.cat([x for x, _ in lab.train_batches])
    with torch.no_grad():
        fired = (model.body(rows[: seen.positions]) > 0).sum(0)
    assert seen.dead == int((fired == 0).sum()) == silent
    # more is read only where a unit did not fire: the four batches of the probe are 64 samples
    assert seen.positions == (256 if silent else 64)


def test_a_model_without_rectifiers_is_skipped(lab_for) -> None:
    with pytest.raises(NotApplicable, match="no ReLU"):
        DeadRelu().measure(lab_for(nn.Linear(8, 3), class_batches(), nn.CrossEntropyLoss()))


@pytest.mark.parametrize(
    ("dead", "positions", "status"),
    [
        (50, 256, Status.PASS),
        (51, 256, Status.WARN),
        (90, 256, Status.WARN),
        (91, 256, Status.FAIL),
        (100, 255, Status.SKIP),
        (1, 255, Status.SKIP),
        (0, 64, Status.PASS),
    ],
)
def test_judge_around_its_thresholds(dead, positions, status) -> None:
    seen = (DeadUnits("relu", None, dead, 100, positions, 0.0, None),)
    assert DeadRelu().judge(seen).status is status
