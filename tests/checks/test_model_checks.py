"""Planted mistakes in model, loss and optimizer, their sound twins, and traps."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.dropout import Dropout
from recipe_check.checks.linearity import Linearity
from recipe_check.checks.loss_contract import LossContract
from recipe_check.checks.optimizer_coverage import OptimizerCoverage
from recipe_check.checks.optimizer_learns import OptimizerLearns
from recipe_check.checks.registration import Registration
from recipe_check.checks.time_dependency import TimeDependency
from recipe_check.checks.weight_init import WeightInit
from tests.nets import MLP, TokenNet, class_batches, made, token_batches, token_loss

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


def after(change):
    class Net(MLP):
        def forward(self, x):
            return change(super().forward(x))

    return made(Net)


CONTRACT = {
    "softmax": (after(lambda s: s.softmax(1)), CE, "softmax stands"),
    "softmax-then-view": (after(lambda s: s.softmax(1).view(-1, 3)), CE, "softmax stands"),
    "sigmoid": (after(torch.sigmoid), CE, "sigmoid stands"),
    "relu": (after(F.relu), CE, "relu stands"),
    "nll-on-scores": (made(MLP), nn.NLLLoss(), "log-probabilities are at most 0"),
    "flipped": (made(MLP), lambda o, y: -F.cross_entropy(o, y), "sign of the loss"),
    "over-the-batch": (after(lambda s: s.log_softmax(0)), nn.NLLLoss(), "batch axis"),
}


@pytest.mark.parametrize("case", CONTRACT.values(), ids=CONTRACT.keys())
def test_a_loss_that_does_not_get_what_it_documents_fails(lab_for, case) -> None:
    model, loss, words = case
    verdict = judged(LossContract(), lab_for(model, class_batches(), loss))
    assert verdict.status is Status.FAIL
    assert words in verdict.message


KEPT = {
    "scores": (made(MLP), CE),
    "log-softmax-first": (after(lambda s: s.log_softmax(1)), CE),
    "nll": (after(lambda s: s.log_softmax(1)), nn.NLLLoss()),
    "tanh-scaled": (after(lambda s: 5 * torch.tanh(s)), CE),
    "softmax-inside": (after(lambda s: s * s.softmax(1)), CE),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_sound_losses_pass(lab_for, case) -> None:
    assert judged(LossContract(), lab_for(case[0], class_batches(), case[1])).status is Status.PASS


def test_class_weights_that_grow_with_frequency_are_warned_of(lab_for) -> None:
    rare = [(x, (torch.arange(16) % 8 == 0).long()) for x, _ in class_batches()]
    verdicts = [
        judged(LossContract(), lab_for(made(MLP, classes=2), rare,
                                       nn.CrossEntropyLoss(torch.tensor(weights))))
        for weights in ([7.0, 1.0], [1.0, 7.0])
    ]  # fmt: skip
    assert [v.status for v in verdicts] == [Status.WARN, Status.PASS]


class Listed(MLP):
    def __init__(self, container=list):
        super().__init__()
        self.extra = container([nn.Linear(8, 8)])

    def forward(self, x):
        return super().forward(self.extra[0](x))


class Nested(MLP):
    def __init__(self):
        super().__init__()
        self.extra = {"a": [nn.Linear(8, 8)]}


class Plain(MLP):
    """Traps: a tied weight, a list of numbers, a frozen teacher kept on purpose."""

    def __init__(self):
        super().__init__()
        self.sizes = [8, 32]
        self.tied = [self.body]
        self.teacher = [nn.Linear(2, 2).requires_grad_(False)]


def test_layers_in_plain_containers_fail(lab_for) -> None:
    check = Registration()
    for model in (made(Listed), made(Nested)):
        verdict = judged(check, lab_for(model, class_batches(), CE))
        assert verdict.status is Status.FAIL
        assert "extra" in verdict.message
    for model in (made(Listed, container=nn.ModuleList), made(Plain)):
        assert judged(check, lab_for(model, class_batches(), CE)).status is Status.PASS


def test_what_the_optimizer_holds(lab_for) -> None:
    model = made(MLP)
    frozen = made(MLP)
    frozen.body.requires_grad_(False)
    cases = {
        "all": (model, model.parameters(), Status.PASS),
        "head-only": (model, model.head.parameters(), Status.FAIL),
        "body-only": (model, model.body.parameters(), Status.WARN),
        "another-model": (model, made(MLP, seed=1).parameters(), Status.FAIL),
        "frozen-rest": (frozen, frozen.head.parameters(), Status.PASS),
    }
    for name, (net, held, status) in cases.items():
        lab = lab_for(net, class_batches(), CE, torch.optim.SGD(list(held), 0.1))
        assert judged(OptimizerCoverage(), lab).status is status, name


def start(change):
    model = made(MLP)
    change(model)
    return model


class Gated(nn.Module):
    """Sound: a gate and an output of zeros start a branch that the signal passes by."""

    def __init__(self):
        super().__init__()
        self.gate, self.out = nn.Linear(8, 8), nn.Linear(8, 8)
        self.value, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        return self.head(x + self.out(self.gate(x).sigmoid() * self.value(x)))


def test_symmetric_and_copied_weights(lab_for) -> None:
    layer = nn.Linear(8, 8)
    twins = nn.Sequential(layer, nn.ReLU(), copy.deepcopy(layer), nn.ReLU(), nn.Linear(8, 3))
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 2)
    cases = {
        "constant": (start(lambda m: nn.init.constant_(m.body.weight, 0.1)), Status.FAIL),
        "zero": (start(lambda m: nn.init.zeros_(m.body.weight)), Status.FAIL),
        "zero-branch": (made(Gated), Status.PASS),
        "zero-head": (start(lambda m: nn.init.zeros_(m.head.weight)), Status.PASS),
        "default": (made(MLP), Status.PASS),
        "copies": (twins, Status.WARN),
        "torch-clones": (nn.Sequential(encoder, nn.Linear(8, 3)), Status.PASS),
    }
    for name, (model, status) in cases.items():
        assert judged(WeightInit(), lab_for(model, class_batches(), CE)).status is status, name


def test_layers_without_an_activation_are_one_linear_function(lab_for) -> None:
    linear = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1), nn.Linear(8, 3))
    assert judged(Linearity(), lab_for(linear, class_batches(), CE)).status is Status.FAIL
    zero = start(lambda m: nn.init.zeros_(m.head.weight))
    for model in (made(MLP), zero):
        assert judged(Linearity(), lab_for(model, class_batches(), CE)).status is Status.PASS
    with pytest.raises(NotApplicable, match="fewer than two"):
        Linearity().measure(lab_for(nn.Linear(8, 3), class_batches(), CE))


def test_dropout_in_evaluation_and_keep_probability(lab_for) -> None:
    forgotten = after(lambda s: F.dropout(s, 0.3))
    strong = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.9), nn.Linear(8, 3))
    moderate = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    sampling = after(lambda s: s + torch.randn_like(s))
    for model, status in (
        (forgotten, Status.FAIL), (strong, Status.WARN), (moderate, Status.PASS),
        (sampling, Status.PASS),
    ):  # fmt: skip
        assert judged(Dropout(), lab_for(model, class_batches(), CE)).status is status


class Attending(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.head = nn.Linear(16, 11)
        self.causal = causal

    def forward(self, x):
        x = self.embed(x)
        x = F.scaled_dot_product_attention(x, x, x, is_causal=self.causal)
        return self.head(x)


def test_a_missing_causal_mask_fails_at_its_line(lab_for) -> None:
    check = TimeDependency()
    verdict = judged(check, lab_for(made(Attending, causal=False), token_batches(), token_loss))
    assert verdict.status is Status.FAIL
    assert "is_causal" in verdict.location.source
    for model in (made(Attending, causal=True), made(TokenNet)):
        assert judged(check, lab_for(model, token_batches(), token_loss)).status is Status.PASS


def test_a_masked_model_may_see_the_future(lab_for) -> None:
    same = [(x, x) for x, _ in token_batches()]
    with pytest.raises(NotApplicable, match="next-token"):
        TimeDependency().measure(lab_for(made(Attending, causal=False), same, token_loss))


RATES = {
    "adam": (lambda p: torch.optim.Adam(p, 1e-3), Status.PASS),
    "sgd": (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), Status.PASS),
    "rate-too-high": (lambda p: torch.optim.SGD(p, 1e6), Status.FAIL),
    "weight-decay-one": (lambda p: torch.optim.SGD(p, 0.3, weight_decay=1.0), Status.FAIL),
    "rate-of-nothing": (lambda p: torch.optim.SGD(p, 1e-9), Status.WARN),
}


@pytest.mark.parametrize("case", RATES.values(), ids=RATES.keys())
def test_the_users_own_optimizer(lab_for, case) -> None:
    model = made(MLP)
    lab = lab_for(model, class_batches(20), CE, case[0](model.parameters()))
    assert judged(OptimizerLearns(), lab).status is case[1]
