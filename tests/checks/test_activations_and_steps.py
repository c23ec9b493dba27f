"""Activations over depth and the first step: planted mistakes, sound twins, traps."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.activation_scale import Activations, ActivationScale, Saturated
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


class TinyEmbedding(nn.Module):
    """Sound: rows of 1e-4 before a norm, and a head that starts as usual."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(11, 16), nn.LayerNorm(16), nn.Linear(16, 3)
        nn.init.uniform_(self.embed.weight, -1e-4, 1e-4)

    def forward(self, x):
        return self.head(self.norm(self.embed(x)).mean(1))


def test_a_tiny_embedding_is_no_verdict_on_the_rest(lab_for) -> None:
    model = made(TinyEmbedding)
    batches = [(torch.randint(0, 11, (16, 4)), torch.randint(0, 3, (16,))) for _ in range(3)]
    for rate, status in ((1e-3, Status.PASS), (10.0, Status.FAIL)):
        lab = lab_for(model, batches, CE, ADAM(model.parameters(), rate))
        assert judged(UpdateRatio(), lab).status is status


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


def test_a_sound_image_model_passes(lab_for) -> None:
    model = made(ConvNet)
    lab = lab_for(model, image_batches(), CE, ADAM(model.parameters(), 1e-3))
    for check in (ActivationScale(), UpdateRatio()):
        assert judged(check, lab).status is Status.PASS


LEVEL = Activations(("a", "b"), (1.0, 0.5), 0.0, 1.0, (), None)
HALF = Saturated("act", "tanh", 0.85, None)
STEP = Updates("Adam", 1e-3, "float32", (Move("w", 1e-3, False, 10),))


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
        (UpdateRatio(), moving(2.1), Status.WARN),
        (UpdateRatio(), moving(10.0), Status.WARN),
        (UpdateRatio(), moving(10.1), Status.FAIL),
        (UpdateRatio(), moving(1e-3, 1e-3, 100.0), Status.PASS),  # the median
        (UpdateRatio(), moving(1e-3, 1e-3, math.nan), Status.FAIL),
        (UpdateRatio(), moving(1e-7), Status.PASS),
        (UpdateRatio(), moving(0.9e-7), Status.WARN),
        (UpdateRatio(), moving(0.0, 1e-3, 1e-3, stuck=True), Status.PASS),
        (UpdateRatio(), moving(0.0, 1e-3, stuck=True), Status.WARN),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status


class Sharpness(torch.optim.SGD):
    """Looks at the loss a second time, at weights moved uphill; the first gradients are there."""

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "requires closure"
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        old = [p.clone() for p in held]
        for p in held:
            p.add_(p.grad, alpha=0.05)
        with torch.enable_grad():
            closure()
        for p, before in zip(held, old, strict=True):
            p.copy_(before)
        super().step()


class Unwilling(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("never")


def test_an_optimizer_that_insists_on_a_closure(lab_for) -> None:
    model = made(MLP)
    lab = lab_for(model, class_batches(), CE, Sharpness(model.parameters(), 0.1))
    assert judged(UpdateRatio(), lab).status is Status.PASS
    assert lab.meter.needs_closure
    lab = lab_for(model, class_batches(), CE, Unwilling(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="never"):
        UpdateRatio().measure(lab)
