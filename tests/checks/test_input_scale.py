"""Scale of the inputs: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from recipe_check import CauseState, NotApplicable, Status
from recipe_check.checks._moments import Moments
from recipe_check.checks.input_scale import Channel, Inputs, InputScale
from recipe_check.probes.entry import EntryObserver
from recipe_check.probes.watch import Watch
from tests.nets import MLP, ConvNet, TokenNet, class_batches, image_batches, made, token_batches
from tests.nets import token_loss as next_token

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


def pixels(count: int = 6):
    """Raw pixels in 0..255, as floats."""
    return [((x - x.min()) / (x.max() - x.min()) * 255, y) for x, y in image_batches(count)]


def columns(scale, count: int = 6):
    return [(x * torch.tensor(scale), y) for x, y in class_batches(count)]


class Dividing(ConvNet):
    def forward(self, x):
        return super().forward(x / 255 - 0.5)


class NormedFirst(MLP):
    """Batch normalisation stands before the first weights."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return super().forward(self.norm(x))


def test_raw_pixels_are_warned_of_at_the_first_layer(lab_for) -> None:
    verdict = judged(InputScale(), lab_for(made(ConvNet), pixels(), CE))
    assert verdict.status is Status.WARN
    assert "the inputs are not scaled" in verdict.message
    assert "divide the pixels by 255" in verdict.fix.text
    assert "self.conv(x)" in verdict.location.source
    matching = {c.title for c in verdict.causes if c.state is CauseState.MATCHES}
    assert matching == {"pixels were left in 0..255"}


UNSCALED = {
    "constants-for-0-to-1": (made(ConvNet), [((x - 0.485) / 0.229, y) for x, y in pixels()],
                             "divide by 255 before"),
    "a-column-of-thousands": (made(MLP), columns([1.0] * 7 + [1e3]), "subtract each feature's"),
    "scaled-twice": (made(ConvNet), [(x / 255**2, y) for x, y in pixels()], "inputs once"),
    "a-mean-of-a-thousand": (made(MLP), [(x + 1e3, y) for x, y in class_batches()],
                             "subtract each feature's"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSCALED.values(), ids=UNSCALED.keys())
def test_inputs_that_are_not_scaled(lab_for, case) -> None:
    verdict = judged(InputScale(), lab_for(case[0], case[1], CE))
    assert verdict.status is Status.WARN
    assert case[2] in verdict.fix.text


SCALED = {
    "standardised": (made(MLP), class_batches()),
    "divided-inside": (made(Dividing), pixels()),
    "divided-in-the-loader": (made(ConvNet), [(x / 255, y) for x, y in pixels()]),
    "norm-layer-first": (made(NormedFirst), columns([300.0] * 8)),
    "norm-layer-before-uneven-columns": (made(NormedFirst), columns([1e-2, 1e3] * 4)),
    "digits-of-0-to-16": (made(ConvNet), [(x / 255 * 16, y) for x, y in pixels()]),
    "unit-norm-columns": (made(MLP), [(x * 0.048, y) for x, y in class_batches()]),
    "constant-column": (made(MLP), columns([1.0] * 7 + [0.0])),
    "rare-one-hot": (made(MLP), [(torch.cat([x[:, :7], (torch.arange(16) == 3)[:, None] * (n == 0)],
                                             1).float(), y)
                                  for n, (x, y) in enumerate(class_batches(40))]),
}  # fmt: skip


@pytest.mark.parametrize("case", SCALED.values(), ids=SCALED.keys())
def test_scaled_inputs_pass(lab_for, case) -> None:
    assert judged(InputScale(), lab_for(case[0], case[1], CE)).status is Status.PASS


def test_validation_data_with_another_preprocessing_fails(lab_for) -> None:
    held = [(x * 100 + 30, y) for x, y in class_batches(4, seed=5)]
    cases = ((held, Status.FAIL), ([(x * 3, y) for x, y in class_batches(4, seed=5)], Status.WARN),
             (class_batches(4, seed=5), Status.PASS), (held[:1], Status.PASS))  # fmt: skip
    for batches, status in cases:
        lab = lab_for(made(MLP), class_batches(), CE, val_loader=batches)
        verdict = judged(InputScale(), lab)
        assert verdict.status is status
        assert ("scaled differently" in verdict.message) is (status is not Status.PASS)


def test_outliers_may_be_missing_from_the_validation_data(lab_for) -> None:
    incomes = np.random.default_rng(3).pareto(1.5, (2000, 8)).astype(np.float32)
    batches = [(torch.from_numpy(x), torch.arange(50) % 3) for x in np.split(incomes, 40)]
    for held, status in ((1.0, Status.PASS), (255.0, Status.FAIL)):
        validation = [(x * held, y) for x, y in batches[36:]]
        lab = lab_for(made(MLP), batches[:36], CE, val_loader=validation)
        assert judged(InputScale(), lab).status is status


def test_tokens_have_no_scale(lab_for) -> None:
    with pytest.raises(NotApplicable, match="no floats"):
        InputScale().measure(lab_for(made(TokenNet), token_batches(), next_token))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5, 3, 6, 6), (0, 2, 3)), ((7, 4), (0,)), ((3, 10, 4), (0, 1)), ((4, 6, 6, 3), (0, 1, 2))],
)
def test_moments_over_batches_are_those_of_numpy(shape, axes) -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (4, *shape)).astype(np.float32)
    seen = Moments()
    for batch in values:
        seen.add(torch.from_numpy(batch))
    whole = np.concatenate(list(values)).astype(np.float64)
    np.testing.assert_allclose(seen.mean.numpy(), whole.mean(axes), rtol=1e-9)
    np.testing.assert_allclose(seen.std.numpy(), whole.std(axes), rtol=1e-9)
    np.testing.assert_allclose(seen.low.numpy(), whole.min(axes))
    np.testing.assert_allclose(seen.overall, (whole.mean(), whole.std()), rtol=1e-9)


def test_moments_leave_out_what_is_not_finite_and_constants() -> None:
    seen = Moments()
    seen.add(torch.tensor([[1.0, float("nan")], [3.0, 1e6]]))
    seen.add(torch.tensor([[5.0, 1e6], [7.0, float("inf")]]))
    assert seen.mean.tolist() == [4.0, 1e6]
    assert seen.std[1] == 0.0


def test_the_entry_is_what_the_first_weights_receive() -> None:
    x, net, observer = 255 * torch.rand(9, 8), made(MLP), EntryObserver()
    with Watch(observer):
        net(x.div(255).sub(0.5))
        net(x)
    seen = x.numpy() / 255 - 0.5
    assert observer.entry.op == "linear"
    np.testing.assert_allclose((observer.entry.mean, observer.entry.std),
                               (seen.mean(), seen.std()), rtol=1e-4)  # fmt: skip


SOUND = Inputs(0.0, 1.0, 0.0, 1.0, -3.0, 3.0, False, (Channel("a", 0, 1, -3, 3),), 1.0, None, None)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (InputScale(), SOUND, Status.PASS),
        (InputScale(), replace(SOUND, std=10.0), Status.PASS),
        (InputScale(), replace(SOUND, std=10.1), Status.WARN),
        (InputScale(), replace(SOUND, mean=-10.1), Status.WARN),
        (InputScale(), replace(SOUND, std=0.01), Status.PASS),
        (InputScale(), replace(SOUND, std=0.0099), Status.WARN),
        (InputScale(), replace(SOUND, spread=1e4), Status.PASS),
        (InputScale(), replace(SOUND, spread=1.1e4), Status.WARN),
        (InputScale(), replace(SOUND, spread=20.0, images=True), Status.PASS),
        (InputScale(), replace(SOUND, spread=21.0, images=True), Status.WARN),
        (InputScale(), replace(SOUND, validation=(1.0, 2.0)), Status.PASS),
        (InputScale(), replace(SOUND, validation=(0.0, 2.1)), Status.WARN),
        (InputScale(), replace(SOUND, validation=(0.0, 5.1)), Status.FAIL),
        (InputScale(), replace(SOUND, validation=(0.0, 0.49)), Status.WARN),
        (InputScale(), replace(SOUND, validation=(0.0, 0.19)), Status.FAIL),
        (InputScale(), replace(SOUND, validation=(1.1, 1.0)), Status.WARN),
        (InputScale(), replace(SOUND, validation=(-3.1, 1.0)), Status.FAIL),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status


class FixedPoint(nn.Module):
    """Sound: the first weights read a state that starts at zero, the input comes after them."""

    def __init__(self):
        super().__init__()
        self.state, self.input, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        z = torch.zeros_like(x)
        for _ in range(3):
            z = torch.tanh(self.state(z) + self.input(x))
        return self.head(z)


def test_a_state_of_zeros_is_not_the_input(lab_for) -> None:
    check = InputScale()
    for factor, status in ((1.0, Status.PASS), (1e-5, Status.WARN)):
        batches = [(factor * x, y) for x, y in class_batches()]
        lab = lab_for(made(FixedPoint), batches, nn.CrossEntropyLoss())
        assert check.judge(check.measure(lab)).status is status


class DrawnWeights(MLP):
    """Sound: Gaussian weights, so that the first operation on a weight adds noise to it."""

    def forward(self, x):
        weight = self.body.weight + 1e-3 * torch.randn_like(self.body.weight)
        return self.head(torch.relu(nn.functional.linear(x, weight, self.body.bias)))


def test_noise_on_a_weight_is_not_the_input(lab_for) -> None:
    lab = lab_for(made(DrawnWeights), class_batches(), nn.CrossEntropyLoss())
    check = InputScale()
    assert check.judge(check.measure(lab)).status is Status.PASS
