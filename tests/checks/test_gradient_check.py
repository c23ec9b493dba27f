"""Wrong backwards are found and named; what is meant is not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks._differences import compare, relative_error
from recipe_check.checks.gradient_check import GradientCheck, Slopes
from tests.nets import MLP, ConvNet, class_batches, image_batches, made


class WrongSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return 2 * x


class RightSquare(WrongSquare):
    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return 2 * x * grad_output


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return -grad_output


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output


def using(change):
    class Net(MLP):
        def forward(self, x):
            return self.head(change(F.relu(self.body(x))))

    return made(Net)


def no_grad_scale(x):
    with torch.no_grad():
        scale = x.std()
    return x / scale


def verdict_of(lab_for, model, batches=None):
    check = GradientCheck()
    lab = lab_for(model, batches or class_batches(), nn.CrossEntropyLoss())
    return check.judge(check.measure(lab)), lab


def test_a_wrong_backward_fails_and_is_named_with_its_line(lab_for) -> None:
    verdict, _ = verdict_of(lab_for, using(WrongSquare.apply))
    assert verdict.status is Status.FAIL
    assert "WrongSquare.backward" in verdict.message
    assert verdict.location.source.strip() == "return 2 * x"


SOUND = {
    "right-backward": RightSquare.apply,
    "gradient-reversal": Reversal.apply,
    "straight-through-function": Rounding.apply,
    "straight-through-detach": lambda x: x + (x.round() - x).detach(),
    "statistics-without-gradient": no_grad_scale,
    "dropout": nn.Dropout(0.5),
    "leaky-kinks": lambda x: F.leaky_relu(x - 0.5).abs(),
}


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND.keys())
def test_sound_and_meant_gradients_pass(lab_for, change) -> None:
    verdict, _ = verdict_of(lab_for, using(change))
    assert verdict.status is Status.PASS


def test_complex_and_batch_normalised_models_pass(lab_for) -> None:
    class Complex(MLP):
        def __init__(self):
            super().__init__()
            self.turn = nn.Parameter(torch.randn(32, dtype=torch.complex64))

        def forward(self, x):
            return self.head((self.body(x) * self.turn).abs())

    assert verdict_of(lab_for, made(Complex))[0].status is Status.PASS
    assert verdict_of(lab_for, made(ConvNet), image_batches())[0].status is Status.PASS


def test_a_clean_model_costs_at_most_twelve_forward_passes_whatever_its_size(lab_for) -> None:
    for width in (8, 256):
        _, lab = verdict_of(lab_for, made(MLP, width=width))
        assert lab.meter.forward <= 12
        assert lab.meter.backward == 1


def test_a_cast_to_float32_is_meant_to_raise_the_precision(lab_for) -> None:
    for cast in (lambda x: x.float(), lambda x: x.to(torch.float32)):
        assert verdict_of(lab_for, using(cast))[0].status is Status.PASS


def test_hard_coded_half_precision_is_skipped_with_the_reason(lab_for) -> None:
    model = using(lambda x: x.half().double() if x.dtype == torch.float64 else x)
    with pytest.raises(NotApplicable, match="float32"):
        GradientCheck().measure(lab_for(model, class_batches(), nn.CrossEntropyLoss()))


def test_the_slope_is_that_of_an_independent_computation(lab_for) -> None:
    """For f(w) = sum(w²) the slope along d is 2·w·d, exactly."""

    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

        def forward(self, x):
            return x[:, :1] * 0 + (self.w**2).sum()

    lab = lab_for(Quadratic(), class_batches(), lambda out, _: out.mean())
    rig = lab.rig().double()
    batch = tuple(t.double() if t.is_floating_point() else t for t in lab.train_batches[0])
    torch.manual_seed(3)
    found = compare(rig, batch, 1e-9)
    assert found.numeric == pytest.approx(found.analytic, rel=1e-8)
    assert found.error < 1e-8


@pytest.mark.parametrize(
    ("analytic", "numeric", "error"),
    [(1.0, 1.0, 0.0), (1.0, 2.0, 0.5), (0.0, 0.0, 0.0), (float("nan"), 1.0, float("inf"))],
)
def test_relative_error(analytic, numeric, error) -> None:
    assert relative_error(analytic, numeric) == error


@pytest.mark.parametrize(
    ("error", "nature", "status"),
    [
        (9e-7, "", Status.PASS),
        (2e-6, "wrong", Status.FAIL),
        (2e-1, "identity", Status.PASS),
        (2e-1, "step", Status.PASS),
        (9e-3, "", Status.PASS),
        (2e-2, "", Status.WARN),
    ],
)
def test_judge_around_its_thresholds(error, nature, status) -> None:
    seen = Slopes(1.0, 1.0, error, 1e-6, "F" if nature else "", error, nature, None)
    assert GradientCheck().judge(seen).status is status
