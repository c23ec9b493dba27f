"""Frozen parts: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch.nn.functional as F
from torch import nn

from recipe_check import Location, Status
from recipe_check.checks.freezing import Freeze, Freezing
from tests.nets import MLP, class_batches, made

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


class Tuned(nn.Module):
    """A frozen backbone with batch normalisation, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 3)
        self.backbone.requires_grad_(False)

    def forward(self, x):
        return self.head(self.backbone(x))


class Kept(Tuned):
    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self


class Thawing(Tuned):
    def train(self, mode=True):
        for p in self.parameters():
            p.requires_grad = mode
        return super().train(mode)


class EvalInInit(Tuned):
    def __init__(self) -> None:
        super().__init__()
        self.backbone.eval()


class Misspelt(MLP):
    def __init__(self) -> None:
        super().__init__()
        for p in self.body.parameters():
            p.require_grad = False


class OnTheModule(MLP):
    def __init__(self) -> None:
        super().__init__()
        self.body.requires_grad = False


class Layered(Tuned):
    """Without running statistics nothing drifts."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone[1] = nn.LayerNorm(8).requires_grad_(False)


class AffineFree(Tuned):
    """Batch normalisation without weights of its own cannot be frozen; statistics may adapt."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone[1] = nn.BatchNorm1d(8, affine=False)


class Lora(MLP):
    """A frozen layer with a trained pair beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 32, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.head(F.relu(self.body(x) + self.up(self.down(x))))


FROZEN = {
    "thawed-by-train": (Thawing, Status.FAIL, "makes 4 of 4 frozen tensors trainable"),
    "misspelt": (Misspelt, Status.FAIL, "body.weight.require_grad"),
    "set-on-the-module": (OnTheModule, Status.FAIL, "set on body, which freezes nothing"),
    "statistics-drift": (Tuned, Status.WARN, "backbone.1"),
    "eval-in-init": (EvalInInit, Status.WARN, "backbone.1"),
    "train-overridden": (Kept, Status.PASS, "4 tensors are frozen"),
    "layer-norm": (Layered, Status.PASS, "4 tensors are frozen"),
    "no-affine": (AffineFree, Status.PASS, "2 tensors are frozen"),
    "lora": (Lora, Status.PASS, "4 tensors are frozen"),
    "nothing": (MLP, Status.PASS, "nothing is frozen"),
}


@pytest.mark.parametrize("case", FROZEN.values(), ids=FROZEN.keys())
def test_what_is_frozen_stays_frozen(lab_for, case) -> None:
    kind, status, words = case
    line = Location(file="net.py", line=7, column=1, source="self.backbone = …")
    lab = lab_for(made(kind), class_batches(), CE, created={"backbone": line})
    verdict = judged(Freezing(), lab)
    assert verdict.status is status
    assert words in verdict.message
    if status is Status.WARN:
        assert verdict.location == line
    if kind is Thawing:
        assert "p.requires_grad = mode" in verdict.location.source


def test_a_wholly_frozen_model_has_nothing_to_lose(lab_for) -> None:
    model = made(Tuned)
    model.head.requires_grad_(False)
    assert judged(Freezing(), lab_for(model, class_batches(), CE)).status is Status.PASS


def test_a_loop_that_puts_the_backbone_back_is_sound(lab_for, tmp_path) -> None:
    file = tmp_path / "fit.py"
    file.write_text(
        "for epoch in range(3):\n"
        "    model.train()\n"
        "    model.backbone.eval()\n"
        "    for x, y in loader:\n"
        "        optimizer.zero_grad()\n"
        "        loss_fn(model(x), y).backward()\n"
        "        optimizer.step()\n"
    )
    lab = lab_for(made(Tuned), class_batches(), CE, file=file)
    assert judged(Freezing(), lab).status is Status.PASS


def test_the_user_s_model_keeps_its_mode(lab_for) -> None:
    model = made(Thawing).eval()
    Freezing().measure(lab_for(model, class_batches(), CE))
    assert not model.training
    assert not model.backbone[0].weight.requires_grad


CLEAN = Freeze(4, (), (), (), (), None)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (Freezing(), CLEAN, Status.PASS),
        (Freezing(), replace(CLEAN, thawed=("a",)), Status.FAIL),
        (Freezing(), replace(CLEAN, misspelt=("a.require_grad",)), Status.FAIL),
        (Freezing(), replace(CLEAN, ineffective=("a",)), Status.FAIL),
        (Freezing(), replace(CLEAN, drifting=("a",)), Status.WARN),
        (Freezing(), replace(CLEAN, drifting=("a",), misspelt=("b.x",)), Status.FAIL),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
