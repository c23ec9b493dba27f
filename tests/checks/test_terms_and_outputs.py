"""Terms of the loss, outputs, repeated runs: planted mistakes, sound twins, traps."""

from __future__ import annotations

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
from recipe_check.checks.determinism import Determinism, Runs
from recipe_check.checks.loss_terms import LossTerms, Term, Terms
from recipe_check.checks.output_collapse import OutputCollapse, Outputs
from tests.nets import MLP, ConvNet, class_batches, image_batches, made

CE = nn.CrossEntropyLoss()
ADAM = torch.optim.Adam


def judged(check, lab):
    return check.judge(check.measure(lab))


class TwoHeads(MLP):
    def __init__(self) -> None:
        super().__init__()
        self.box = nn.Linear(32, 2)

    def forward(self, x):
        h = F.relu(self.body(x))
        return self.head(h), self.box(h)


def boxed():
    """Each sample with a class and two coordinates."""
    return [(x, y, torch.stack((y.float(), 2 - y.float()), 1)) for x, y in class_batches()]


def terms(weight: float = 1.0, scale: float = 1.0):
    def loss(outputs, target):
        y, boxes = target
        return F.cross_entropy(outputs[0], y) + weight * F.mse_loss(outputs[1], scale * boxes)

    return loss


def test_a_term_that_dwarfs_the_other_is_warned_of_at_its_line(lab_for) -> None:
    for loss in (terms(scale=300.0), terms(weight=1e4)):
        verdict = judged(LossTerms(), lab_for(made(TwoHeads), boxed(), loss))
        assert verdict.status is Status.WARN
        assert "mse_loss has" in verdict.message
        assert "cross_entropy(outputs[0], y)" in verdict.location.source
    for loss in (terms(), terms(weight=0.1), terms(weight=1 / 300, scale=10.0)):
        lab = lab_for(made(TwoHeads), boxed(), loss)
        assert judged(LossTerms(), lab).status is Status.PASS


def test_terms_that_say_nothing_are_left_out(lab_for) -> None:
    def satisfied(outputs, y):
        return terms()(outputs, y) + F.relu(F.l1_loss(outputs[1], outputs[1].detach()) - 1)

    def logged(outputs, y):
        F.mse_loss(outputs[1], 1e6 + outputs[1].detach())  # a metric, not in the loss
        return terms()(outputs, y)

    def sparse(outputs, y):
        return terms()(outputs, y) + 1e-5 * F.l1_loss(outputs[1], torch.zeros_like(outputs[1]))

    for loss in (satisfied, logged, sparse):
        lab = lab_for(made(TwoHeads), boxed(), loss)
        assert judged(LossTerms(), lab).status is Status.PASS
    with pytest.raises(NotApplicable, match="single term"):
        LossTerms().measure(lab_for(made(MLP), class_batches(), CE))


def test_the_shares_of_the_terms_are_those_of_separate_losses(lab_for) -> None:
    model = made(TwoHeads)
    seen = LossTerms().measure(lab_for(model, boxed(), terms(weight=0.5)))
    x, y, boxes = boxed()[0]
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


def test_a_sound_image_model_passes(lab_for) -> None:
    model = made(ConvNet)
    lab = lab_for(model, image_batches(), CE, ADAM(model.parameters(), 1e-3))
    for check in (OutputCollapse(), Determinism()):
        assert judged(check, lab).status is Status.PASS


PAIR = Terms((Term("a", 1.0, 1.0, 1.0, None), Term("b", 1.0, 1.0, 99.0, None)))
SPREAD = Outputs(1.0, 1e-4, 2.0, 3, 16, "", None)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (LossTerms(), PAIR, Status.PASS),
        (LossTerms(), Terms((*PAIR.terms, replace(PAIR.terms[0], gradient=100.0))), Status.WARN),
        (LossTerms(), Terms((*PAIR.terms, replace(PAIR.terms[0], gradient=0.0))), Status.PASS),
        (OutputCollapse(), SPREAD, Status.PASS),
        (OutputCollapse(), replace(SPREAD, after=0.99e-4), Status.FAIL),
        (OutputCollapse(), replace(SPREAD, before=0.0), Status.PASS),
        (Determinism(), Runs((1.0, 2.0), (1.0, 2.0), ()), Status.PASS),
        (Determinism(), Runs((1.0, 2.0), (1.0, 2.0 + 1e-15), ()), Status.WARN),
        (Determinism(), Runs((1.0, math.nan), (1.0, math.nan), ()), Status.PASS),
        (Determinism(), Runs((1.0, 2.0), (1.0, 2.001), (), rounding=1e-3), Status.PASS),
        (Determinism(), Runs((1.0, 2.0), (1.0, 2.003), (), rounding=1e-3), Status.WARN),
        (Determinism(), Runs((1.0, 2.0), (1.0, math.nan), (), rounding=1e-3), Status.WARN),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
