"""Slips in modules, modes, normalisation, optimizers and schedulers, with twins and traps."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from recipe_check import CauseState, NotApplicable, Status
from recipe_check.checks.dropout import Dropout
from recipe_check.checks.freezing import Freezing
from recipe_check.checks.lr_schedule import LrSchedule
from recipe_check.checks.normalization import Normalization
from recipe_check.checks.optimizer_coverage import OptimizerCoverage
from recipe_check.checks.optimizer_learns import OptimizerLearns
from recipe_check.checks.registration import Registration
from recipe_check.checks.weight_init import WeightInit
from recipe_check.lineage import lines_recorded
from recipe_check.probes.loops import read_training
from tests.nets import MLP, class_batches, made

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


def matched(verdict) -> list[str]:
    return [c.title for c in verdict.causes if c.state is CauseState.MATCHES]


def stack(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), *layers, nn.Linear(16, 3))


class InForward(MLP):
    def forward(self, x):
        return self.head(F.relu(nn.Linear(32, 32)(self.body(x))))


class Scaled(MLP):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3)) * 0.1

    def forward(self, x):
        return super().forward(x) * self.gain


class Remembering(MLP):
    """Keeps its last scores, as attention maps are kept for pictures."""

    def forward(self, x):
        self.last = super().forward(x)
        return self.last


def test_layers_made_in_forward_and_results_of_parameters_fail(lab_for) -> None:
    verdict = judged(Registration(), lab_for(made(InForward), class_batches(), CE))
    assert verdict.status is Status.FAIL
    assert "makes a Linear anew" in verdict.message
    verdict = judged(Registration(), lab_for(made(Scaled), class_batches(), CE))
    assert verdict.status is Status.FAIL
    assert "gain is computed from a parameter" in verdict.message


def test_one_layer_repeated_is_warned_of(lab_for) -> None:
    block = nn.Linear(16, 16)
    verdict = judged(Registration(), lab_for(stack(*[block] * 3), class_batches(), CE))
    assert verdict.status is Status.WARN
    assert "stands 3 times" in verdict.message


@pytest.mark.parametrize(
    "model",
    [
        made(MLP),
        made(Remembering),
        stack(*[nn.ReLU()] * 2),
        stack(*(nn.Linear(16, 16) for _ in range(3))),
    ],
    ids=["plain", "remembering", "one-relu-twice", "made-anew"],
)
def test_registered_models_pass(lab_for, model) -> None:
    model(torch.randn(2, 8))
    assert judged(Registration(), lab_for(model, class_batches(), CE)).status is Status.PASS


class Words(nn.Module):
    """A bag of words whose output layer may be tied to its table."""

    def __init__(self, tie: str = "") -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(11, 16), nn.Linear(16, 11, bias=False)
        if tie == "shared":
            self.head.weight = self.table.weight
        if tie == "copied":
            self.head.weight = nn.Parameter(self.table.weight.detach().clone())

    def forward(self, tokens):
        return self.head(self.table(tokens).mean(1))


@pytest.mark.parametrize(("tie", "tied"), [("", True), ("shared", True), ("copied", False)])
def test_a_tie_by_copy_is_none(lab_for, tie, tied) -> None:
    batches = [(torch.randint(0, 11, (16, 5)), torch.randint(0, 11, (16,)))] * 4
    verdict = judged(WeightInit(), lab_for(made(Words, tie=tie), batches, CE))
    assert verdict.status is (Status.PASS if tied else Status.WARN)
    assert tied or "a copy ties nothing" in verdict.message


class Forgets(nn.Module):
    """`train` without super(): only its own flag changes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = stack(nn.ReLU(), nn.Dropout(0.5))

    def train(self, mode: bool = True):
        self.training = mode
        return self

    def forward(self, x):
        return self.body(x)


class HalfAsleep(Forgets):
    def train(self, mode: bool = True):
        nn.Module.train(self, mode)
        self.body.eval()
        return self


class FrozenHalf(HalfAsleep):
    def __init__(self) -> None:
        super().__init__()
        self.body.requires_grad_(False)
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.body(x))


MODES = {
    "forgets": (Forgets, Status.FAIL, "self.training = mode"),
    "half": (HalfAsleep, Status.WARN, "nn.Module.train(self, mode)"),
    "frozen": (FrozenHalf, Status.PASS, ""),
    "mlp": (MLP, Status.PASS, ""),
}


@pytest.mark.parametrize("case", MODES.values(), ids=MODES.keys())
def test_modes_reach_every_layer(lab_for, case) -> None:
    kind, status, source = case
    verdict = judged(Dropout(), lab_for(made(kind), class_batches(), CE))
    assert verdict.status is status
    assert not source or source in verdict.location.source


def padded(inverted: bool = False, axis: int = -1):
    """One attention layer over tokens that end in padding (0)."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.qkv = nn.Embedding(9, 12), nn.Linear(12, 36)
            self.head = nn.Linear(12, 3)

        def forward(self, tokens):
            q, k, v = self.qkv(self.table(tokens)).chunk(3, -1)
            out = (tokens == 0) != inverted
            scores = (q @ k.transpose(1, 2) / 12**0.5).masked_fill(out[:, None], -1e9)
            return self.head((scores.softmax(axis) @ v).mean(1))

    return made(Attention)


def library(inverted: bool):
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 12)
            self.layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True)
            self.head = nn.Linear(12, 3)

        def forward(self, tokens):
            mask = (tokens == 0) != inverted
            out = self.layer(self.table(tokens), src_key_padding_mask=mask)
            return self.head(out.nan_to_num().mean(1))

    return made(Encoder)


def sentences(count: int = 4):
    torch.manual_seed(0)
    found = []
    for _ in range(count):
        length = torch.randint(3, 9, (16, 1))
        tokens = torch.randint(1, 9, (16, 8)) * (torch.arange(8) < length)
        found.append((tokens, torch.randint(0, 3, (16,))))
    return found


@pytest.mark.parametrize("build", [padded, library], ids=["by-hand", "library"])
def test_an_inverted_padding_mask_fails(lab_for, build) -> None:
    verdict = judged(Normalization(), lab_for(build(inverted=True), sentences(), CE))
    assert verdict.status is Status.FAIL
    assert matched(verdict) == ["the padding mask is inverted"]
    with pytest.raises(NotApplicable):
        judged(Normalization(), lab_for(build(inverted=False), sentences(), CE))


def test_weights_that_are_summed_over_another_axis_are_warned_of(lab_for) -> None:
    verdict = judged(Normalization(), lab_for(padded(axis=1), sentences(), CE))
    assert verdict.status is Status.WARN
    assert "over another axis" in verdict.message
    assert ".softmax(axis)" in verdict.location.source


class Slots(nn.Module):
    """Softmax over slots, then each slot's weights are normalised: sound."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.slots = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = x[:, None] * torch.arange(1, 6)[:, None]
        scores = self.slots(tokens[:, :3]) @ self.keys(tokens).transpose(1, 2)
        weights = scores.softmax(1)
        weights = weights / weights.sum(-1, keepdim=True)
        return self.head((weights @ tokens).mean(1))


def test_weights_that_are_normalised_again_are_sound(lab_for) -> None:
    with pytest.raises(NotApplicable):
        judged(Normalization(), lab_for(made(Slots), class_batches(), CE))


SINGLE = nn.Sequential(nn.Unflatten(1, (16, 1)), nn.LayerNorm(1), nn.Flatten())
NORMS = {
    "one-value": (stack(SINGLE), Status.FAIL, "a layer normalises a single value"),
    "eps": (stack(nn.BatchNorm1d(16, eps=10.0)), Status.WARN, "eps drowns the variance"),
    "never": (stack(nn.BatchNorm1d(16, momentum=0.0)), Status.WARN, "statistics never move"),
    "softmax": (stack(nn.Softmax(-1)), Status.WARN, "softmax as a hidden activation"),
    "sound": (stack(nn.BatchNorm1d(16)), Status.PASS, ""),
    "output-norm": (nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3)), Status.PASS, ""),
}


@pytest.mark.parametrize("case", NORMS.values(), ids=NORMS.keys())
def test_layers_that_normalise_wrong_values(lab_for, case) -> None:
    model, status, title = case
    verdict = judged(Normalization(), lab_for(copy.deepcopy(model), class_batches(), CE))
    assert verdict.status is status
    assert not title or title in " ".join(matched(verdict))


def test_a_regression_is_not_normalised_over_its_batch(lab_for) -> None:
    batches = [(x, x[:, :1]) for x, _ in class_batches()]
    model = nn.Sequential(nn.Linear(8, 1), nn.BatchNorm1d(1, affine=False))
    verdict = judged(Normalization(), lab_for(model, batches, nn.MSELoss()))
    assert matched(verdict) == ["batch normalisation of the predictions"]


def learns(lab_for, build):
    model = made(MLP)
    return judged(OptimizerLearns(), lab_for(model, class_batches(), CE, build(model.parameters())))


ODD = {
    "betas": (lambda p: optim.Adam(p, 1e-2, betas=(0.999, 0.9)), "the betas are swapped"),
    "one-minus": (lambda p: optim.Adam(p, 1e-2, betas=(0.1, 0.001)), "betas are 1 minus"),
    "momentum": (lambda p: optim.SGD(p, 0.05, momentum=0.999), "the momentum is too high"),
    "decay": (lambda p: optim.AdamW(p, 1e-2, weight_decay=10), "weight decay shrinks"),
    "eps": (lambda p: optim.Adam(p, 1e-3, eps=10.0), "eps drowns the gradients"),
    "climbs": (lambda p: optim.SGD(p, 0.1, maximize=True), "the optimizer climbs"),
    "slow": (lambda p: optim.SGD(p, 1e-8), "the learning rate is too low"),
    "fades": (lambda p: optim.Adagrad(p, 0.1, lr_decay=10.0), "the rate decays at once"),
}


@pytest.mark.parametrize("case", ODD.values(), ids=ODD.keys())
def test_a_hyper_parameter_that_stands_out_is_named(lab_for, case) -> None:
    build, title = case
    verdict = learns(lab_for, build)
    assert verdict.status in (Status.WARN, Status.FAIL)
    assert title in " ".join(matched(verdict))


USUAL = {
    "gan": lambda p: optim.Adam(p, 1e-2, betas=(0.5, 0.9)),
    "half": lambda p: optim.Adam(p, 1e-2, betas=(0.5, 0.5)),
    "lm": lambda p: optim.AdamW(p, 1e-2, betas=(0.9, 0.95), weight_decay=0.1),
    "sgd": lambda p: optim.SGD(p, 0.1, momentum=0.99, weight_decay=5e-5),
    "rmsprop": lambda p: optim.RMSprop(p, 1e-2, eps=1e-3),
    "adafactor": lambda p: optim.Adafactor(p, 1e-1),
}


@pytest.mark.parametrize("build", USUAL.values(), ids=USUAL.keys())
def test_published_hyper_parameters_pass(lab_for, build) -> None:
    assert learns(lab_for, build).status is Status.PASS


def test_a_swap_of_betas_needs_no_more_seeds(lab_for) -> None:
    model = made(MLP)
    lab = lab_for(model, class_batches(), CE, optim.Adam(model.parameters(), 0.02, (0.999, 0.9)))
    assert not OptimizerLearns().borderline(OptimizerLearns().measure(lab))


def grouped(rate: float, *, twice: bool = False):
    model = made(MLP)
    head = list(model.head.parameters())
    groups = [{"params": list(model.body.parameters()), "lr": rate}, {"params": head}]
    if twice:
        groups[1]["params"] = [*head, head[0]]
    with pytest.warns(UserWarning, match="duplicate") if twice else _nothing():
        return model, optim.SGD(groups, lr=0.1)


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        return None


@pytest.mark.parametrize(
    ("rate", "twice", "title"),
    [(0.01, False, ""), (0.0, False, "a group's rate is zero"), (0.01, True, "is given twice")],
)
def test_groups_hold_each_parameter_once_with_a_rate(lab_for, rate, twice, title) -> None:
    model, optimizer = grouped(rate, twice=twice)
    verdict = judged(OptimizerCoverage(), lab_for(model, class_batches(), CE, optimizer))
    assert verdict.status is (Status.WARN if title else Status.PASS)
    assert title in " ".join(matched(verdict))


LOOP = """
for epoch in range(10):
    for x, y in loader:
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    {last}
"""


def scheduled(lab_for, tmp_path, build, last: str):
    file = tmp_path / "fit.py"
    file.write_text(LOOP.format(last=last))
    model = made(MLP)
    optimizer = optim.SGD(model.parameters(), 0.1)
    lab = lab_for(model, class_batches(), CE, optimizer, build(optimizer, model), file=file)
    lab.cached("loops", lambda: read_training([file]))
    return judged(LrSchedule(), lab)


def cosine(optimizer, model):
    return optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)


def of_another(optimizer, model):
    return cosine(optim.SGD(model.parameters(), 0.1), model)


def upwards(optimizer, model):
    return optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max")


def downwards(optimizer, model):
    return optim.lr_scheduler.ReduceLROnPlateau(optimizer)


def absolute(optimizer, model):
    return optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1e-4 * 0.9**epoch)


SCHEDULES = {
    "absolute": (absolute, "scheduler.step()", "the rate never exceeds"),
    "never": (cosine, "print(epoch)", "no line of the training loop"),
    "another": (of_another, "scheduler.step()", "another optimizer"),
    "upwards": (upwards, "scheduler.step(val_loss)", "mode is 'max'"),
    "downwards": (downwards, "scheduler.step(val_acc)", "mode is 'min'"),
}


@pytest.mark.parametrize("case", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_a_scheduler_that_does_not_do_its_work_is_warned_of(lab_for, tmp_path, case) -> None:
    build, last, words = case
    verdict = scheduled(lab_for, tmp_path, build, last)
    assert verdict.status is Status.WARN
    assert words in verdict.message


@pytest.mark.parametrize("last", ["scheduler.step()", "run(scheduler)", "adjust.step()"])
def test_a_scheduler_that_may_be_stepped_passes(lab_for, tmp_path, last) -> None:
    assert scheduled(lab_for, tmp_path, cosine, last).status is Status.PASS


@pytest.mark.parametrize(
    ("build", "last"),
    [(upwards, "scheduler.step(val_acc)"), (downwards, "scheduler.step(val_loss)"),
     (upwards, "scheduler.step(-val_loss)"), (downwards, "scheduler.step(1 - accuracy)")],
)  # fmt: skip
def test_a_plateau_that_looks_the_right_way_is_left_alone(lab_for, tmp_path, build, last) -> None:
    with pytest.raises(NotApplicable):
        scheduled(lab_for, tmp_path, build, last)


def test_padding_idx_is_the_padding(lab_for) -> None:
    class Sentence(nn.Module):
        def __init__(self, kept: int) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 8, padding_idx=kept), nn.Linear(8, 3)

        def forward(self, tokens):
            return self.head(self.table(tokens).mean(1))

    verdict = judged(Freezing(), lab_for(made(Sentence, kept=1), sentences(), CE))
    assert verdict.status is Status.WARN
    assert "padded with 0" in verdict.message
    sound = judged(Freezing(), lab_for(made(Sentence, kept=0), sentences(), CE))
    assert sound.status is Status.PASS


def test_thawing_a_module_by_attribute_does_nothing(lab_for) -> None:
    model = made(MLP)
    model.head.requires_grad_(False)
    model.head.requires_grad = True
    verdict = judged(Freezing(), lab_for(model, class_batches(), CE))
    assert verdict.status is Status.FAIL
    assert "thaws nothing" in verdict.message


def test_a_second_optimizer_may_hold_the_rest(lab_for) -> None:
    model = made(MLP)
    with lines_recorded():
        first = optim.SGD(model.body.parameters(), lr=0.1)
        second = optim.SGD(model.head.parameters(), lr=0.1)
    lab = lab_for(model, class_batches(), CE, first)
    assert judged(OptimizerCoverage(), lab).status is Status.PASS
    second.param_groups.clear()
    assert judged(OptimizerCoverage(), lab).status is Status.WARN
