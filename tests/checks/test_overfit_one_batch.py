"""Learning by heart: floors, signatures of mistakes, and what only looks like failing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Cause, CauseState, Status
from recipe_check.checks import _tested
from recipe_check.checks._batch_fit import progress
from recipe_check.checks._floor import attainable
from recipe_check.checks.overfit_one_batch import Attempt, BatchFit, OverfitOneBatch
from recipe_check.probes.watch import LossObserver, Watch
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


class DoubleSoftmax(MLP):
    def forward(self, x):
        return torch.softmax(super().forward(x), dim=1)


class Constant(MLP):
    def forward(self, x):
        return super().forward(torch.zeros_like(x))


class Listed(MLP):
    """The trunk is kept in a list, and the head is too small to do it alone."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 1)
        self.layers = [nn.Linear(1, 1)]
        self.head = nn.Linear(1, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.layers[0](torch.tanh(self.body(x)))))


def judged(lab_for, model, batches, loss):
    check = OverfitOneBatch()
    return check.judge(check.measure(lab_for(model, batches, loss)))


def matching(verdict) -> list[str]:
    return [cause.check for cause in verdict.causes if cause.state == "matches"]


def test_softmax_before_cross_entropy_fails_with_its_floor_and_line(lab_for) -> None:
    verdict = judged(lab_for, made(DoubleSoftmax), class_batches(), nn.CrossEntropyLoss())
    assert verdict.status in (Status.FAIL, Status.WARN)
    assert matching(verdict)[0] == "loss-contract"
    assert verdict.location.op == "softmax"
    floor = math.log(1 + 2 / math.e)
    assert any(f"{floor:.4g}" in cause.evidence for cause in verdict.causes)
    assert verdict.values["final"] > floor - 1e-3


def test_a_broadcast_regression_fails_at_the_variance_of_its_targets(lab_for) -> None:
    batches = [(torch.randn(16, 8), torch.randn(16)) for _ in range(3)]
    with pytest.warns(UserWarning, match="broadcasting"):
        verdict = judged(lab_for, made(MLP, classes=1), batches, nn.MSELoss())
    assert verdict.status is Status.FAIL
    assert "broadcast" in verdict.causes[0].title
    variance = float(batches[0][1].var(correction=0))
    assert verdict.values["final"] == pytest.approx(variance, rel=0.05)


def test_a_model_that_ignores_its_input_fails(lab_for) -> None:
    verdict = judged(lab_for, made(Constant), class_batches(), nn.CrossEntropyLoss())
    assert verdict.status is Status.FAIL
    assert "batch-dependency" in matching(verdict)


def test_layers_in_a_list_are_named(lab_for) -> None:
    verdict = judged(lab_for, made(Listed), class_batches(), nn.CrossEntropyLoss())
    assert verdict.status is not Status.PASS
    assert "registration" in matching(verdict)


SOUND = {
    "mlp": (MLP, class_batches(), nn.CrossEntropyLoss()),
    "batch-norm": (ConvNet, image_batches(), nn.CrossEntropyLoss()),
    "tokens": (TokenNet, token_batches(), token_loss),
    "label-smoothing": (MLP, class_batches(), nn.CrossEntropyLoss(label_smoothing=0.1)),
    "log-softmax-first": (MLP, class_batches(),
                          lambda o, y: F.cross_entropy(o.log_softmax(1), y)),
    "class-weights": (MLP, class_batches(), nn.CrossEntropyLoss(torch.tensor([1.0, 9.0, 0.1]))),
    "below-zero": (MLP, class_batches(), lambda o, y: F.cross_entropy(o, y) - 10),
}  # fmt: skip


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_sound_models_learn_their_batch(lab_for, case) -> None:
    kind, batches, loss = case
    verdict = judged(lab_for, made(kind), batches, loss)
    assert verdict.status is Status.PASS
    assert verdict.details


def test_heavy_dropout_is_switched_off(lab_for) -> None:
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
    assert judged(lab_for, model, class_batches(), nn.CrossEntropyLoss()).status is Status.PASS


def test_equal_inputs_with_different_labels_raise_the_floor(lab_for) -> None:
    x = torch.randn(16, 8)
    x[8:] = x[:8]
    y = torch.arange(16) % 2
    y[8:] = 1 - y[:8]
    lab = lab_for(made(MLP, classes=2), [(x, y)] * 3, nn.CrossEntropyLoss())
    seen = OverfitOneBatch().measure(lab)
    assert seen.floor == pytest.approx(math.log(2), rel=1e-3)
    assert OverfitOneBatch().judge(seen).status is Status.PASS


def test_a_frozen_trunk_is_a_warning_at_most(lab_for) -> None:
    model = nn.Sequential(nn.Linear(8, 2), nn.Tanh(), nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
    for parameter in list(model.parameters())[:-2]:
        parameter.requires_grad_(False)
    verdict = judged(lab_for, model, class_batches(), nn.CrossEntropyLoss())
    assert verdict.status is not Status.FAIL


@pytest.mark.parametrize(
    ("loss", "floor"),
    [
        (lambda p, y: F.cross_entropy(p, y), 0.0),
        (lambda p, y: F.cross_entropy(p, y, label_smoothing=0.1), 0.5003),
        (lambda p, y: F.mse_loss(p, F.one_hot(y, 10).float()), 0.0),
        (lambda p, y: F.nll_loss(p.log_softmax(1), y), 0.0),
        (lambda p, y: F.binary_cross_entropy_with_logits(p, 0.5 * F.one_hot(y, 10)), 0.6931 / 10),
    ],
    ids=["cross-entropy", "smoothed", "squares", "nll", "soft-targets"],
)
def test_the_attainable_floor(loss, floor) -> None:
    observer = LossObserver()
    torch.manual_seed(0)
    with Watch(observer):
        loss(torch.randn(16, 10), torch.arange(16) % 10)
    assert attainable(observer.terms[0], None) == pytest.approx(floor, abs=2e-3)


@pytest.mark.parametrize(
    ("start", "now", "floor", "share"),
    [(2.0, 0.0, 0.0, 1.0), (2.0, 1.5, 1.0, 0.5), (2.0, 0.2, None, 0.9), (-1.0, -1.1, None, 0.909)],
)
def test_progress(start, now, floor, share) -> None:
    assert progress(start, now, floor) == pytest.approx(share, rel=1e-3)


def fitted(final: float, floor: float | None = 0.0, accuracy: float = 0.5, **changes) -> BatchFit:
    attempt = Attempt(1e-3, (2.0, final), final, accuracy, progress(2.0, final, floor))
    plain = {
        "kind": "cross_entropy",
        "floor": floor,
        "chance": 2.0,
        "attempts": (attempt,),
        "best": attempt,
        "head_trains": True,
        "frozen_share": 0.0,
        "labels": (),
        "causes": (),
    }
    return BatchFit(**{**plain, **changes})


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (fitted(0.1), Status.PASS),
        (fitted(0.11), Status.WARN),
        (fitted(0.9, accuracy=1.0), Status.PASS),
        (fitted(1.79, accuracy=1.0), Status.PASS),
        (fitted(1.81, accuracy=1.0), Status.FAIL),
        (fitted(0.99), Status.WARN),
        (fitted(1.01), Status.FAIL),
        (fitted(1.9, frozen_share=0.9), Status.WARN),
        (fitted(1.9, frozen_share=0.9, head_trains=False), Status.FAIL),
        (fitted(1.01, hurried=True), Status.WARN),
        (fitted(float("nan"), hurried=True), Status.FAIL),
        (fitted(1.51, floor=None), Status.WARN),
        (fitted(1.49, floor=None), Status.PASS),
        (fitted(float("nan")), Status.FAIL),
    ],
)
def test_judge_around_its_thresholds(seen, status) -> None:
    assert OverfitOneBatch().judge(seen).status is status


class Sharpen(nn.Module):
    """Sound: a small filter cannot know sixteen patches of noise by heart."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 1, 3, padding=1)
        )

    def forward(self, x):
        return self.net(x)


class BlindFilter(Sharpen):
    def forward(self, x):
        return self.net(torch.zeros_like(x))


def test_dense_regression_with_more_numbers_than_weights_has_no_known_floor(lab_for) -> None:
    images = [torch.randn(16, 1, 12, 12) for _ in range(3)]
    batches = [(F.avg_pool2d(x, 3, 1, 1), x) for x in images]
    for kind, status in ((Sharpen, Status.PASS), (BlindFilter, Status.WARN)):
        check = OverfitOneBatch()
        seen = check.measure(lab_for(made(kind), batches, nn.MSELoss()))
        assert seen.floor is None
        assert check.judge(seen).status is status, kind


def test_a_run_that_the_clock_ended_is_no_evidence(lab_for) -> None:
    lab = lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss())
    check = OverfitOneBatch(seconds=0.0)
    seen = check.measure(lab)
    verdict = check.judge(seen)
    assert seen.hurried
    assert verdict.status is Status.WARN
    assert "time was up" in verdict.message


@pytest.mark.parametrize(("slope", "status"), [(0.03, Status.SKIP), (0.001, Status.WARN)])
def test_a_run_that_still_fell_when_the_time_was_up_is_undecided(slope, status) -> None:
    seen = fitted(1.5, hurried=True)
    best = replace(seen.best, losses=tuple(2.0 - slope * step for step in range(16)))
    verdict = OverfitOneBatch().judge(replace(seen, best=best))
    assert verdict.status is status
    assert ("undecided" in verdict.message) == (status is Status.SKIP)
    known = _tested.TestedCause(Cause(title="a cause", state=CauseState.MATCHES))
    explained = OverfitOneBatch().judge(replace(seen, best=best, causes=(known,)))
    assert explained.status is not Status.SKIP


def test_a_flat_run_of_all_steps_is_evidence(lab_for) -> None:
    lab = lab_for(made(Constant), class_batches(), nn.CrossEntropyLoss())
    assert not OverfitOneBatch().measure(lab).hurried
