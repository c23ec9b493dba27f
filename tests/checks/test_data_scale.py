"""Scale of inputs and targets, order of pixels: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from recipe_check import CauseState, NotApplicable, Status
from recipe_check.checks._moments import Moments
from recipe_check.checks.image_layout import ImageLayout, Layout
from recipe_check.checks.input_scale import Channel, Inputs, InputScale
from recipe_check.checks.target_scale import Targets, TargetScale
from recipe_check.probes.entry import EntryObserver
from recipe_check.probes.watch import Watch
from tests.nets import MLP, ConvNet, TokenNet, class_batches, image_batches, made, token_batches
from tests.nets import token_loss as next_token

CE, MSE = nn.CrossEntropyLoss(), nn.MSELoss()


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
    "scaled-twice": (made(ConvNet), [(x / 255**2, y) for x, y in pixels()], "scale the inputs once"),
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


def regression(mean: float, std: float):
    return [(x, mean + std * x[:, :1]) for x, _ in class_batches()]


def shifted(mean: float):
    model = made(MLP, classes=1)
    nn.init.constant_(model.head.bias, mean)
    return model


class Rescaling(MLP):
    def forward(self, x):
        return 5e4 + 2e4 * super().forward(x)


TARGETS = {
    "house-prices": (made(MLP, classes=1), regression(2e5, 5e4), Status.WARN),
    "wide-around-zero": (made(MLP, classes=1), regression(0, 40), Status.WARN),
    "standardised": (made(MLP, classes=1), regression(0, 1), Status.PASS),
    "years-of-age": (made(MLP, classes=1), regression(5, 3), Status.PASS),
    "bias-at-the-mean": (shifted(2e3), regression(2e3, 50), Status.PASS),
    "rescaled-inside": (made(Rescaling, classes=1), regression(6e4, 2e4), Status.PASS),
}


@pytest.mark.parametrize("case", TARGETS.values(), ids=TARGETS.keys())
def test_targets_against_untrained_outputs(lab_for, case) -> None:
    verdict = judged(TargetScale(), lab_for(case[0], case[1], MSE))
    assert verdict.status is case[2]
    assert ("times their size away" in verdict.message) is (case[2] is Status.WARN)


def test_a_classifier_has_no_target_scale(lab_for) -> None:
    with pytest.raises(NotApplicable, match="no regression loss"):
        TargetScale().measure(lab_for(made(MLP), class_batches(), CE))


class Colour(nn.Module):
    def __init__(self, change) -> None:
        super().__init__()
        self.change = change
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(self.change(x)).mean((2, 3)))


def pictures(noise: bool = False):
    """Smooth HWC pictures whose channels differ, as photographs do."""
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 16)
    found = []
    for _ in range(3):
        turn, y = torch.rand(16, 1, 1, 3), torch.randint(0, 3, (16,))
        x = torch.sin(6 * (turn * ramp[:, None, None] + (1 - turn) * ramp[None, :, None]) + y[:, None, None, None])
        found.append((torch.rand_like(x) if noise else x + 0.05 * torch.randn_like(x), y))
    return found


LAYOUTS = {
    "view": (lambda x: x.view(-1, 3, 16, 16), Status.FAIL),
    "reshape": (lambda x: x.reshape(len(x), 3, 16, 16), Status.FAIL),
    "permute": (lambda x: x.permute(0, 3, 1, 2), Status.PASS),
    "transposed-sides": (lambda x: x.permute(0, 3, 2, 1), Status.PASS),
    "channels-reversed": (lambda x: x.permute(0, 3, 1, 2).flip(1), Status.PASS),
    "channels-last-memory": (
        lambda x: x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), Status.PASS
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_order_of_pixels(lab_for, case) -> None:
    verdict = judged(ImageLayout(), lab_for(Colour(case[0]), pictures(), CE))
    assert verdict.status is case[1]
    if case[1] is Status.FAIL:
        assert "scrambled" in verdict.message
        assert "self.conv" in verdict.location.source


def test_noise_and_single_channels_have_no_order(lab_for) -> None:
    noise = lab_for(Colour(lambda x: x.permute(0, 3, 1, 2)), pictures(noise=True), CE)
    assert judged(ImageLayout(), noise).status is Status.PASS
    with pytest.raises(NotApplicable, match="two to four channels"):
        ImageLayout().measure(lab_for(made(ConvNet), image_batches(), CE))


SOUND = Inputs(0.0, 1.0, 0.0, 1.0, -3.0, 3.0, False, (Channel("a", 0, 1, -3, 3),), 1.0, None, None)
AIMED = Targets(0.0, 1.0, -2.0, 2.0, 0.0, 0.5, None)


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
        (TargetScale(), AIMED, Status.PASS),
        (TargetScale(), replace(AIMED, mean=10.0), Status.PASS),
        (TargetScale(), replace(AIMED, mean=-10.1), Status.WARN),
        (TargetScale(), replace(AIMED, std=10.1), Status.WARN),
        (TargetScale(), replace(AIMED, mean=100.0, output_mean=91.0), Status.PASS),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.049, None), Status.FAIL),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.051, None), Status.WARN),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.079, None), Status.WARN),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.081, None), Status.PASS),
    ],
)  # fmt: skip
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
