"""Rules on the order of a loop, on arguments of losses, and on games: planted, healthy, traps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from recipe_check import NotApplicable, Status
from recipe_check.checks._game import is_game
from recipe_check.checks._log_of_zero import strain
from recipe_check.checks.initial_loss import InitialLoss
from recipe_check.checks.loss_contract import LossContract
from recipe_check.checks.loss_terms import LossTerms
from recipe_check.checks.time_dependency import TimeDependency
from recipe_check.checks.train_step import TrainStep
from tests.nets import MLP, TokenNet, class_batches, made, token_batches, token_loss

LOOP = """
model = Net()
{before}
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(3):
    for x, y in {loader}:
{body}
"""
ZERO, FORWARD = "optimizer.zero_grad()", "loss = loss_fn(model(x), y)"
BACK, STEP = "loss.backward()", "optimizer.step()"
ANEW = "optimizer = torch.optim.Adam(model.parameters())"


def judged(check, lab):
    return check.judge(check.measure(lab))


def loop(tmp_path, *body: str, before: str = "", loader: str = "train_loader"):
    file = tmp_path / "train.py"
    lines = "\n".join(f"        {line}" for line in body)
    file.write_text(LOOP.format(before=before, loader=loader, body=lines))
    return file


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ((FORWARD, BACK, ZERO, STEP), Status.FAIL, "cleared before the step"),
        ((ZERO, FORWARD, STEP, BACK), Status.FAIL, "cleared before the step"),
        ((ZERO, FORWARD, BACK, STEP), Status.PASS, ""),
        ((FORWARD, ZERO, BACK, STEP), Status.PASS, ""),
        ((FORWARD, BACK, STEP, ZERO), Status.PASS, ""),
        ((ANEW, ZERO, FORWARD, BACK, STEP), Status.WARN, "made anew"),
    ],
)
def test_the_order_of_a_step(lab_for, tmp_path, body, status, word) -> None:
    lab = lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss(), file=loop(tmp_path, *body))
    verdict = judged(TrainStep(), lab)
    assert verdict.status is status
    assert word in verdict.measured


def test_a_model_that_is_in_eval_mode_from_the_start(lab_for, tmp_path) -> None:
    dropping = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Linear(8, 3))
    steps = (ZERO, FORWARD, BACK, STEP)
    for before, status in (
        ("model.eval()", Status.FAIL),
        ("model.eval()\nmodel.train()", Status.PASS),
    ):
        file = loop(tmp_path, *steps, before=before)
        lab = lab_for(dropping, class_batches(), nn.CrossEntropyLoss(), file=file)
        assert judged(TrainStep(), lab).status is status


def test_a_teacher_in_eval_mode_is_no_slip(lab_for, tmp_path) -> None:
    body = ("wanted = teacher(x)", ZERO, FORWARD, BACK, STEP)
    file = loop(tmp_path, *body, before="teacher = Net()\nteacher.eval()")
    lab = lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss(), file=file)
    assert judged(TrainStep(), lab).status is Status.PASS


def test_training_on_the_validation_loader(lab_for, tmp_path) -> None:
    for loader, status in (("val_loader", Status.WARN), ("train_loader", Status.PASS)):
        file = loop(tmp_path, ZERO, FORWARD, BACK, STEP, loader=loader)
        lab = lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss(), file=file,
                      val_loader=class_batches(2, seed=5))  # fmt: skip
        assert judged(TrainStep(), lab).status is status


def binary(count: int = 6):
    return [(x, (x[:, :1] > 1.3).float()) for x, _ in class_batches(count)]


def test_swapped_arguments_of_a_loss(lab_for) -> None:
    def right(p, y):
        return F.binary_cross_entropy(torch.sigmoid(p), y)

    def wrong(p, y):
        return F.binary_cross_entropy(y, torch.sigmoid(p))

    for loss, status in ((wrong, Status.FAIL), (right, Status.PASS)):
        verdict = judged(LossContract(), lab_for(made(MLP, classes=1), binary(), loss))
        assert verdict.status is status
        assert ("swapped" in verdict.message) == (status is Status.FAIL)


def test_float_targets_of_cross_entropy_sum_to_one(lab_for) -> None:
    for scale, status in ((1.0, Status.PASS), (3.0, Status.WARN)):
        batches = [(x, scale * F.one_hot(y, 3).float()) for x, y in class_batches()]
        lab = lab_for(made(MLP), batches, nn.CrossEntropyLoss())
        assert judged(LossContract(), lab).status is status


def test_a_pos_weight_that_makes_the_rare_class_lighter(lab_for) -> None:
    for weight, status in ((0.1, Status.WARN), (9.0, Status.PASS)):
        loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([weight]))
        lab = lab_for(made(MLP, classes=1), binary(), loss)
        assert judged(LossContract(), lab).status is status


def test_the_logarithm_of_zero(lab_for) -> None:
    def naive(logits, y):
        return -torch.log(torch.softmax(logits, 1)[torch.arange(len(y)), y]).mean()

    def guarded(logits, y):
        return -torch.log(torch.softmax(logits, 1)[torch.arange(len(y)), y] + 1e-8).mean()

    verdict = judged(LossContract(), lab_for(made(MLP), class_batches(), naive))
    assert verdict.status is Status.WARN
    assert "log" in verdict.location.source
    assert (
        judged(LossContract(), lab_for(made(MLP), class_batches(), guarded)).status is Status.PASS
    )


def test_a_causal_model_that_is_asked_to_copy(lab_for) -> None:
    same = [(x, x) for x, _ in token_batches()]
    assert judged(TimeDependency(), lab_for(made(TokenNet), same, token_loss)).status is Status.WARN
    shifted = lab_for(made(TokenNet), token_batches(), token_loss)
    assert judged(TimeDependency(), shifted).status is Status.PASS


class Game(nn.Module):
    """A generator and a discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Linear(4, 8)
        self.judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.judge(x)


def play(model, batch):
    fake = model.maker(torch.randn(len(batch[0]), 4))
    real, seen = model(batch[0]), model(fake.detach())
    fixed = {k: p.detach() for k, p in model.judge.named_parameters()}
    fooled = torch.func.functional_call(model.judge, fixed, (fake,))
    bce = F.binary_cross_entropy_with_logits
    return (
        bce(real, torch.ones_like(real))
        + bce(seen, torch.zeros_like(seen))
        + bce(fooled, torch.ones_like(fooled))
    )


def test_a_two_sided_game_has_no_level_to_reach(lab_for) -> None:
    lab = lab_for(made(Game), class_batches(), training_step=play)
    rig = lab.rig().quiet()
    assert is_game(rig, lab.train_batches[0])
    plain = lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss())
    assert not is_game(plain.rig().quiet(), plain.train_batches[0])


def test_targets_that_the_model_makes_have_no_chance_level(lab_for) -> None:
    def follows(model, batch):
        return F.mse_loss(model(batch[0]), 100 + model(batch[0].flip(0)).detach())

    with pytest.raises(NotApplicable):
        InitialLoss().measure(lab_for(made(MLP), class_batches(), training_step=follows))


class Spread(nn.Module):
    """A mean and a variance; the variance has a floor, or none."""

    def __init__(self, floor: float = 0.0) -> None:
        super().__init__()
        self.floor = floor
        self.mean, self.variance = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x):
        return self.mean(x), F.softplus(self.variance(x)) + self.floor


def test_only_outputs_that_the_model_can_give_are_tried(lab_for) -> None:
    def gaussian(output, y):
        mean, variance = output
        return (torch.log(variance) + (y - mean) ** 2 / variance.clamp(min=1e-6)).mean()

    regression = [(x, x[:, :1]) for x, _ in class_batches()]
    found = strain(lab_for(made(Spread), regression, gaussian))
    assert found is not None
    assert "logarithm" in found.title
    assert strain(lab_for(made(Spread, floor=1e-6), regression, gaussian)) is None


class Reentrant(nn.Module):
    """Two heads on a trunk that `autograd.grad` does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x):
        x = x.clone().requires_grad_()
        h = torch.relu(checkpoint(self.trunk, x, use_reentrant=True))
        return self.one(h), self.two(h)


def test_checkpointing_that_refuses_gradients_of_terms(lab_for) -> None:
    def step(model, batch):
        scores, value = model(batch[0])
        return F.cross_entropy(scores, batch[1]) + F.mse_loss(value, batch[0][:, :1])

    lab = lab_for(made(Reentrant), class_batches(), training_step=step)
    assert not is_game(lab.rig().quiet(), lab.train_batches[0])
    with pytest.raises(NotApplicable, match="checkpointing"):
        LossTerms().measure(lab)
    assert judged(LossContract(), lab).status is Status.PASS
