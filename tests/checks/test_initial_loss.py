"""Chance by the user's own loss, over tasks; too high, too low and summed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks._uninformative import LossLevel, LossSample
from recipe_check.checks.initial_loss import InitialLoss
from tests.nets import MLP, class_batches, made


def judged(lab_for, model, batches, loss, **subject):
    check = InitialLoss()
    return check.judge(check.measure(lab_for(model, batches, loss, **subject)))


def small(outputs: int):
    model = made(MLP, classes=outputs)
    with torch.no_grad():
        model.head.weight.mul_(0.01)
        model.head.bias.zero_()
    return model


def floats(outputs: int, make):
    return [(torch.randn(32, 8), make(32, outputs)) for _ in range(4)]


WEIGHTS = torch.tensor([1.0, 5.0, 0.2])
TASKS = {
    "classes": (3, class_batches(), nn.CrossEntropyLoss(), math.log(3)),
    "class-weights": (3, class_batches(), nn.CrossEntropyLoss(weight=WEIGHTS), math.log(3)),
    "label-smoothing": (3, class_batches(), nn.CrossEntropyLoss(label_smoothing=0.1),
                        math.log(3)),
    "ignored-labels": (3, [(x, torch.where(y == 0, -100, y)) for x, y in class_batches()],
                       nn.CrossEntropyLoss(), math.log(3)),
    "multi-label": (4, floats(4, lambda b, c: (torch.rand(b, c) > 0.5).float()),
                    nn.BCEWithLogitsLoss(), math.log(2)),
    "nll": (3, class_batches(), lambda out, y: F.nll_loss(out.log_softmax(1), y), math.log(3)),
    "regression": (1, floats(1, torch.randn), nn.MSELoss(), None),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_model_that_knows_nothing_starts_at_chance(lab_for, task) -> None:
    outputs, batches, loss, chance = task
    verdict = judged(lab_for, small(outputs), batches, loss)
    assert verdict.status is Status.PASS
    if chance is not None:
        assert float(verdict.expected.split()[0]) == pytest.approx(chance, rel=1e-3)
    assert verdict.details


def test_unscaled_inputs_fail_and_are_named(lab_for) -> None:
    batches = [(x * 1000, y) for x, y in class_batches()]
    verdict = judged(lab_for, made(MLP), batches, nn.CrossEntropyLoss())
    assert verdict.status is Status.FAIL
    matching = [cause.check for cause in verdict.causes if cause.state == "matches"]
    assert "input-scale" in matching


def test_a_sum_over_the_batch_is_warned_of(lab_for) -> None:
    verdict = judged(lab_for, small(3), class_batches(), nn.CrossEntropyLoss(reduction="sum"))
    assert verdict.status is Status.WARN
    assert "sum" in verdict.message


def test_targets_far_from_zero_are_warned_of_and_a_fitted_bias_is_not(lab_for) -> None:
    batches = floats(1, lambda b, c: 50 + torch.randn(b, c))
    verdict = judged(lab_for, small(1), batches, nn.MSELoss())
    assert verdict.status is Status.WARN
    assert "50" in verdict.fix.text
    fitted = small(1)
    nn.init.constant_(fitted.head.bias, 50.0)
    assert judged(lab_for, fitted, batches, nn.MSELoss()).status is Status.PASS


def test_a_bias_set_to_the_prior_passes(lab_for) -> None:
    rare = [(x, (torch.arange(len(x)) % 16 == 0).long()) for x, _ in class_batches()]
    model = small(2)
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([15 / 16, 1 / 16]).log())
    assert judged(lab_for, model, rare, nn.CrossEntropyLoss()).status is Status.PASS


def test_several_losses_are_judged_term_by_term(lab_for) -> None:
    """A regression far from its targets must not count as a classification 20 times off."""

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classes, self.boxes = nn.Linear(8, 3), nn.Linear(8, 4)

        def forward(self, x):
            return self.classes(x), self.boxes(x)

    def loss(output, target):
        return nn.functional.cross_entropy(output[0], target[0]) + nn.functional.mse_loss(
            output[1], target[1]
        )

    boxes = 200 + torch.randn(16, 4)
    batches = [(x, (y, boxes)) for x, y in class_batches()]
    verdict = judged(lab_for, made(Detector), batches, loss)
    assert verdict.status is Status.WARN
    assert verdict.message.startswith("mse_loss (term 2 of 2)")
    table = next(d for d in verdict.details if d.title == "Terms of the loss")
    assert [row[0] for row in table.rows] == ["cross_entropy", "mse_loss"]
    assert table.rows[0][2] == pytest.approx(math.log(3), rel=1e-3)


def test_a_factory_is_asked_for_three_initialisations(lab_for) -> None:
    lab = lab_for(small(3), class_batches(), nn.CrossEntropyLoss(), build_model=lambda: small(3))
    (seen,) = InitialLoss().measure(lab)
    assert len(seen.samples) == 12
    assert lab.meter.forward == 12


def test_a_loss_of_ones_own_is_skipped(lab_for) -> None:
    with pytest.raises(NotApplicable, match="known loss"):
        InitialLoss().measure(lab_for(made(MLP), class_batches(), lambda o, y: o.pow(2).mean()))


def level(measured: float, expected: float = 1.0, **changes) -> LossLevel:
    samples = tuple(LossSample(measured, expected, expected) for _ in range(4))
    plain = {
        "kind": "cross_entropy",
        "samples": samples,
        "classifying": True,
        "spread": 0.1,
        "input_std": 1.0,
        "input_mean": 0.0,
        "target_mean": 0.0,
        "target_std": 1.0,
        "classes": 10,
        "complete": True,
        "summed": False,
        "batch": 32,
        "location": None,
    }
    return LossLevel(**{**plain, **changes})


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (level(1.0), Status.PASS),
        (level(1.59), Status.PASS),
        (level(1.61), Status.WARN),
        (level(19.9), Status.WARN),
        (level(20.1), Status.FAIL),
        (level(0.71), Status.PASS),
        (level(0.69), Status.WARN),
        (level(float("nan")), Status.FAIL),
        (level(3.9, classifying=False), Status.PASS),
        (level(100.0, classifying=False), Status.WARN),
        (level(1.0, summed=True), Status.WARN),
    ],
)
def test_judge_around_its_thresholds(seen, status) -> None:
    assert InitialLoss().judge((seen,)).status is status


class Masked(nn.Module):
    """Nine scores, of which six are ruled out."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 9)

    def forward(self, x):
        return self.head(x * 0.01).index_fill(1, torch.arange(3, 9), -1e9)


def test_classes_that_are_masked_out_are_not_counted(lab_for) -> None:
    for loss in (
        nn.CrossEntropyLoss(),
        lambda out, y: F.nll_loss(out.log_softmax(1), y),
        nn.CrossEntropyLoss(reduction="none"),
    ):
        verdict = judged(
            lab_for, made(Masked), class_batches(), lambda o, y, f=loss: f(o, y).mean()
        )
        assert verdict.status is Status.PASS
        assert float(verdict.expected.split()[0]) == pytest.approx(math.log(3), rel=1e-3)


def test_a_bias_set_to_the_rate_of_a_rare_label_passes(lab_for) -> None:
    rare = [(x, (torch.arange(len(x)) % 16 == 0).float()[:, None]) for x, _ in class_batches()]
    for bias, status in ((-2.7, Status.PASS), (0.0, Status.PASS)):
        model = small(1)
        nn.init.constant_(model.head.bias, bias)
        for loss in (
            nn.BCEWithLogitsLoss(),
            lambda out, y: F.binary_cross_entropy(out.sigmoid(), y),
            lambda out, y: F.binary_cross_entropy_with_logits(out, y, reduction="none").mean(),
        ):
            assert judged(lab_for, model, rare, loss).status is status


def test_a_label_among_the_inputs_is_far_below_chance(lab_for) -> None:
    model = small(1)
    nn.init.zeros_(model.head.weight)
    even = [(x, (x[:, :1] > 0).float()) for x, _ in class_batches()]

    def forward(x):
        return 20 * x[:, :1].sign() + 0 * model.head(model.body(x))

    model.forward = forward
    verdict = judged(lab_for, model, even, nn.BCEWithLogitsLoss())
    assert verdict.status is Status.WARN
    assert "far below chance" in verdict.message
