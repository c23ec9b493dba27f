"""Activations, steps, loss terms, outputs, repeats: planted mistakes, sound twins, traps."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks._outputs import _effective_rank, _spread
from recipe_check.checks.activation_scale import Activations, ActivationScale, Saturated
from recipe_check.checks.determinism import Determinism, Runs
from recipe_check.checks.loss_terms import LossTerms, Term, Terms
from recipe_check.checks.output_collapse import OutputCollapse, Outputs
from recipe_check.checks.update_ratio import Move, UpdateRatio, Updates
from recipe_check.probes.saturation import SaturationObserver
from recipe_check.probes.watch import ModuleStack, Watch
from tests.nets import MLP, ConvNet, class_batches, image_batches, made

CE = nn.CrossEntropyLoss()
SGD, ADAM = torch.optim.SGD, torch.optim.Adam


def judged(check, lab):
    return check.judge(check.measure(lab))


def deep(std: float | None = None, activation=nn.ReLU, depth: int = 8, norm=nn.Identity):
    """Eight hidden layers of 32 units; `std` of their weights, else He initialisation."""
    torch.manual_seed(0)
    layers = [nn.Linear(8, 32), activation()]
    for _ in range(depth):
        layers += [nn.Linear(32, 32), norm(32), activation()]
    net = nn.Sequential(*layers, nn.Linear(32, 3))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std or math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
    return net


class Residual(nn.Module):
    """Twelve blocks whose last layers start at zero (as with LayerScale, ReZero or FixUp)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 32), nn.Linear(32, 3)
        self.up = nn.ModuleList(nn.Linear(32, 32) for _ in range(12))
        self.down = nn.ModuleList(nn.Linear(32, 32) for _ in range(12))
        for layer in (*self.down, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(F.relu(up(x)))
        return self.head(x)


def default():
    return nn.Sequential(*(layer for n in range(8) for layer in (nn.Linear(8, 8), nn.ReLU())),
                         nn.Linear(8, 3))  # fmt: skip


ACTIVATIONS = {
    "shrinking": (deep(0.02), Status.WARN, "activations shrink"),
    "growing": (deep(2.0), Status.WARN, "activations grow"),
    "saturated-tanh": (deep(2.0, nn.Tanh, 2), Status.WARN, "(tanh) are saturated"),
    "saturated-sigmoid": (deep(20.0, nn.Sigmoid, 1), Status.WARN, "(sigmoid) are saturated"),
    "he": (deep(), Status.PASS, "9 layers"),
    "torch-s-own": (made(default), Status.PASS, "8 layers"),
    "normalised": (deep(0.02, norm=nn.LayerNorm), Status.PASS, "9 layers"),
    "glorot-tanh": (deep(0.18, nn.Tanh), Status.PASS, "9 layers"),
    "zero-branches": (made(Residual), Status.PASS, "layers"),
    "few-layers": (deep(0.001, depth=2), Status.PASS, "3 layers"),
}


@pytest.mark.parametrize("case", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_activations_over_depth(lab_for, case) -> None:
    model, status, words = case
    verdict = judged(ActivationScale(), lab_for(model, class_batches(), CE))
    assert verdict.status is status
    assert words in verdict.message


class Prior(MLP):
    """A probability of 1 % to start with, as focal loss wants it."""

    def __init__(self, squash=lambda s: s) -> None:
        super().__init__(classes=1)
        self.squash = squash
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, -math.log(99))

    def forward(self, x):
        return self.squash(super().forward(x))


def focal(scores, y):
    p = torch.sigmoid(scores)
    p = torch.where(y > 0, p, 1 - p)
    return (-((1 - p) ** 2) * p.clamp_min(1e-8).log()).mean()


@pytest.mark.parametrize("squash", [None, torch.sigmoid, nn.Sigmoid()])
def test_a_prior_in_the_last_bias_is_no_saturation(lab_for, squash) -> None:
    batches = [(x, (y == 0).float()[:, None]) for x, y in class_batches()]
    model = made(Prior) if squash is None else made(Prior, squash=squash)
    lab = lab_for(model, batches, focal if squash is None else F.binary_cross_entropy)
    assert judged(ActivationScale(), lab).status is Status.PASS


def test_probabilities_at_both_ends_are_saturated(lab_for) -> None:
    batches = [(200 * x, (y == 0).float()[:, None]) for x, y in class_batches()]
    model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    verdict = judged(ActivationScale(), lab_for(model, batches, F.binary_cross_entropy))
    assert verdict.status is Status.WARN


def test_the_saturated_share_is_that_of_numpy() -> None:
    x, model = torch.linspace(-6, 6, 1001), nn.Tanh()
    observer = SaturationObserver(ModuleStack(model))
    with Watch(observer):
        model(x)
        torch.sigmoid(x)
    tanh, sigmoid = (seen.share for seen in observer.records())
    y = x.double().numpy()
    assert tanh == pytest.approx((np.abs(np.tanh(y)) > 0.96).mean(), abs=2e-3)
    assert sigmoid == pytest.approx((np.abs(1 / (1 + np.exp(-y)) - 0.5) > 0.48).mean(), abs=2e-3)


UPDATES = {
    "adam-10": (made(MLP), ADAM, 10.0, Status.FAIL, "times their size"),
    "adam-0.3": (made(MLP), ADAM, 0.3, Status.WARN, "times their size"),
    "sgd-1e12": (made(MLP), SGD, 1e12, Status.FAIL, "times their size"),
    "adam-1e-9": (made(MLP), ADAM, 1e-9, Status.WARN, "of their size"),
    "adam-1e-3": (made(MLP), ADAM, 1e-3, Status.PASS, "0.00"),
    "sgd-0.1": (made(MLP), SGD, 0.1, Status.PASS, "the first step of SGD"),
    "warm-up-1e-6": (made(MLP), ADAM, 1e-6, Status.PASS, "the first step of Adam"),
}


@pytest.mark.parametrize("case", UPDATES.values(), ids=UPDATES.keys())
def test_the_size_of_the_first_step(lab_for, case) -> None:
    model, kind, rate, status, words = case
    optimizer = kind(model.parameters(), rate)
    verdict = judged(UpdateRatio(), lab_for(model, class_batches(), CE, optimizer))
    assert verdict.status is status
    assert words in verdict.message


def test_a_step_that_bfloat16_rounds_away(lab_for) -> None:
    batches = [(x.bfloat16(), y) for x, y in class_batches()]
    for rate, status in ((1e-6, Status.WARN), (1e-2, Status.PASS)):
        model = made(MLP).bfloat16()
        lab = lab_for(model, batches, CE, SGD(model.parameters(), rate))
        verdict = judged(UpdateRatio(), lab)
        assert verdict.status is status
        assert ("rounding of bfloat16" in verdict.message) is (status is Status.WARN)


def test_zero_weights_and_a_rate_of_zero(lab_for) -> None:
    for model, rate, words in (
        (made(Residual), 1e-3, "size and a gradient"), (made(MLP), 0.0, "learning rate above zero"),
    ):  # fmt: skip
        lab = lab_for(model, class_batches(), CE, SGD(model.parameters(), rate))
        with pytest.raises(NotApplicable, match=words):
            UpdateRatio().measure(lab)


def test_the_update_ratio_is_that_of_a_step_by_hand(lab_for) -> None:
    model = made(MLP)
    lab = lab_for(model, class_batches(), CE, SGD(model.parameters(), 0.1))
    moves = {m.name: m.ratio for m in UpdateRatio().measure(lab).moves}
    net = copy.deepcopy(model)
    x, y = class_batches()[0]
    CE(net(x), y).backward()
    for name in ("body.weight", "head.weight"):
        p = net.get_parameter(name)
        expected = 0.1 * np.linalg.norm(p.grad.numpy()) / np.linalg.norm(p.detach().numpy())
        assert moves[name] == pytest.approx(expected, rel=1e-4)


class TwoHeads(MLP):
    def __init__(self) -> None:
        super().__init__()
        self.box = nn.Linear(32, 2)

    def forward(self, x):
        h = F.relu(self.body(x))
        return self.head(h), self.box(h)


def terms(weight: float = 1.0, scale: float = 1.0):
    def loss(outputs, y):
        boxes = scale * torch.stack((y.float(), 2 - y.float()), 1)
        return F.cross_entropy(outputs[0], y) + weight * F.mse_loss(outputs[1], boxes)

    return loss


def test_a_term_that_dwarfs_the_other_is_warned_of_at_its_line(lab_for) -> None:
    for loss in (terms(scale=300.0), terms(weight=1e4)):
        verdict = judged(LossTerms(), lab_for(made(TwoHeads), class_batches(), loss))
        assert verdict.status is Status.WARN
        assert "mse_loss has" in verdict.message
        assert "cross_entropy(outputs[0], y)" in verdict.location.source
    for loss in (terms(), terms(weight=0.1), terms(weight=1 / 300, scale=10.0)):
        lab = lab_for(made(TwoHeads), class_batches(), loss)
        assert judged(LossTerms(), lab).status is Status.PASS


def test_terms_that_say_nothing_are_left_out(lab_for) -> None:
    def satisfied(outputs, y):
        return terms()(outputs, y) + F.relu(F.l1_loss(outputs[1], outputs[1].detach()) - 1)

    def logged(outputs, y):
        F.mse_loss(outputs[1], 1e6 + outputs[1].detach())  # a metric, not in the loss
        return terms()(outputs, y)

    for loss in (satisfied, logged):
        lab = lab_for(made(TwoHeads), class_batches(), loss)
        assert judged(LossTerms(), lab).status is Status.PASS
    with pytest.raises(NotApplicable, match="single term"):
        LossTerms().measure(lab_for(made(MLP), class_batches(), CE))


def test_the_shares_of_the_terms_are_those_of_separate_losses(lab_for) -> None:
    model = made(TwoHeads)
    seen = LossTerms().measure(lab_for(model, class_batches(), terms(weight=0.5)))
    x, y = class_batches()[0]
    boxes = torch.stack((y.float(), 2 - y.float()), 1)
    losses = (lambda o: F.cross_entropy(o[0], y), lambda o: 0.5 * F.mse_loss(o[1], boxes))
    for term, loss in zip(seen.terms, losses, strict=True):
        grads = torch.autograd.grad(loss(model(x)), list(model.parameters()), allow_unused=True)
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in grads if g is not None))
        assert term.gradient == pytest.approx(norm, rel=1e-4)


class Dropping(MLP):
    """The input is lost on the way."""

    def forward(self, x):
        return super().forward(0 * x)


class Dead(MLP):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.body.bias, -50.0)


def test_outputs_that_are_the_same_for_all_samples_fail(lab_for) -> None:
    for kind in (Dropping, Dead):
        verdict = judged(OutputCollapse(), lab_for(made(kind), class_batches(30), CE))
        assert verdict.status is Status.FAIL
        assert "get the same output" in verdict.message
    assert "F.relu(self.body(x))" in verdict.location.source


def test_outputs_that_differ_after_the_fit_pass(lab_for) -> None:
    zero = made(MLP)
    nn.init.zeros_(zero.head.weight)
    for model in (made(MLP), zero):
        assert judged(OutputCollapse(), lab_for(model, class_batches(), CE)).status is Status.PASS
    same = [(x, torch.zeros_like(y)) for x, y in class_batches()]
    with pytest.raises(NotApplicable, match="same target"):
        OutputCollapse().measure(lab_for(made(MLP), same, CE))


def test_effective_rank_and_spread_are_those_of_numpy() -> None:
    values = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    values = values * torch.tensor([1, 2, 3, 0.5, 0.0]) + 4
    x = values.numpy() - values.numpy().mean(0)
    share = np.linalg.eigvalsh(np.cov(x.T))
    share = share[share > 1e-12] / share[share > 1e-12].sum()
    assert _effective_rank(values) == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    whole = values.numpy()
    assert _spread(values) == pytest.approx(whole.std(0).max() / np.abs(whole).max())
    assert _effective_rank(torch.ones(4, 3, dtype=torch.double)) == 0.0


class Noisy(MLP):
    def __init__(self, noise) -> None:
        super().__init__()
        self.noise, self.count = noise, 0
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        self.count += 1
        return super().forward(self.drop(x) + 0.1 * self.noise(x))


def from_the_system(x):
    return torch.tensor(list(os.urandom(x.numel()))).view_as(x) / 255


CLOCK = torch.Generator()
CLOCK.manual_seed(1)


def from_an_own_generator(x):
    return torch.randn(x.shape, generator=CLOCK)


NOISES = {
    "system": (from_the_system, Status.WARN),
    "a-generator-that-goes-on": (from_an_own_generator, Status.WARN),
    "dropout": (torch.zeros_like, Status.PASS),
    "torch": (torch.randn_like, Status.PASS),
    "numpy": (lambda x: torch.from_numpy(np.random.rand(*x.shape)).float(), Status.PASS),
}


@pytest.mark.parametrize("case", NOISES.values(), ids=NOISES.keys())
def test_two_runs_with_one_seed(lab_for, case) -> None:
    model = made(Noisy, noise=case[0])
    lab = lab_for(model, class_batches(), CE, ADAM(model.parameters(), 1e-3))
    verdict = judged(Determinism(), lab)
    assert verdict.status is case[1]
    if case[1] is Status.WARN:
        assert "two runs with the same seed differ from step 0" in verdict.message


def test_a_sound_image_model_passes_all(lab_for) -> None:
    model = made(ConvNet)
    lab = lab_for(model, image_batches(), CE, ADAM(model.parameters(), 1e-3))
    for check in (ActivationScale(), UpdateRatio(), OutputCollapse(), Determinism()):
        assert judged(check, lab).status is Status.PASS


LEVEL = Activations(("a", "b"), (1.0, 0.5), 0.0, 1.0, (), None)
HALF = Saturated("act", "tanh", 0.85, None)
STEP = Updates("Adam", 1e-3, "float32", (Move("w", 1e-3, False, 10),))
PAIR = Terms((Term("a", 1.0, 1.0, 1.0, None), Term("b", 1.0, 1.0, 99.0, None)))
SPREAD = Outputs(1.0, 1e-4, 2.0, 3, 16, "", None)


def moving(*ratios: float, stuck: bool = False):
    moves = tuple(Move(str(i), r, stuck and r == 0, 10) for i, r in enumerate(ratios))
    return replace(STEP, moves=moves)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (ActivationScale(), replace(LEVEL, correlation=-0.91, factor=1e-3), Status.WARN),
        (ActivationScale(), replace(LEVEL, correlation=-0.91, factor=1.1e-3), Status.PASS),
        (ActivationScale(), replace(LEVEL, correlation=-0.9, factor=1e-9), Status.PASS),
        (ActivationScale(), replace(LEVEL, correlation=0.91, factor=1e3), Status.WARN),
        (ActivationScale(), replace(LEVEL, correlation=1.0, factor=999.0), Status.PASS),
        (ActivationScale(), replace(LEVEL, saturated=(HALF,)), Status.PASS),
        (ActivationScale(), replace(LEVEL, saturated=(replace(HALF, share=0.86),)), Status.WARN),
        (UpdateRatio(), STEP, Status.PASS),
        (UpdateRatio(), moving(0.5), Status.PASS),
        (UpdateRatio(), moving(0.51), Status.WARN),
        (UpdateRatio(), moving(10.0), Status.WARN),
        (UpdateRatio(), moving(10.1), Status.FAIL),
        (UpdateRatio(), moving(1e-3, 1e-3, 100.0), Status.PASS),  # the median
        (UpdateRatio(), moving(1e-3, 1e-3, math.nan), Status.FAIL),
        (UpdateRatio(), moving(1e-7), Status.PASS),
        (UpdateRatio(), moving(0.9e-7), Status.WARN),
        (UpdateRatio(), moving(0.0, 1e-3, 1e-3, stuck=True), Status.PASS),
        (UpdateRatio(), moving(0.0, 1e-3, stuck=True), Status.WARN),
        (LossTerms(), PAIR, Status.PASS),
        (LossTerms(), Terms((*PAIR.terms, replace(PAIR.terms[0], gradient=100.0))), Status.WARN),
        (LossTerms(), Terms((*PAIR.terms, replace(PAIR.terms[0], gradient=0.0))), Status.PASS),
        (OutputCollapse(), SPREAD, Status.PASS),
        (OutputCollapse(), replace(SPREAD, after=0.99e-4), Status.FAIL),
        (OutputCollapse(), replace(SPREAD, before=0.0), Status.PASS),
        (Determinism(), Runs((1.0, 2.0), (1.0, 2.0), ()), Status.PASS),
        (Determinism(), Runs((1.0, 2.0), (1.0, 2.0 + 1e-15), ()), Status.WARN),
        (Determinism(), Runs((1.0, math.nan), (1.0, math.nan), ()), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
