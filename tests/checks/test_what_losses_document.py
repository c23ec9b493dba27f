"""Targets, axes and parts that a loss does not mean: planted, sound twins, traps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Status
from recipe_check.checks.loss_contract import LossContract
from tests.nets import MLP, class_batches, made

FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS


def judged(lab):
    check = LossContract()
    return check.judge(check.measure(lab))


def labels(low: float = 0.0):
    """One of two labels for each sample."""
    return [(x, torch.where(x[:, 0] > 0, 1.0, low)) for x, _ in class_batches(size=32)]


def soft():
    """Probabilities of three classes."""
    return [(x, (2 * x[:, :3]).softmax(1)) for x, _ in class_batches()]


class Ends(nn.Module):
    def __init__(self, end, classes: int = 3) -> None:
        super().__init__()
        self.body, self.end = MLP(classes=classes), end

    def forward(self, x):
        return self.end(self.body(x))


@pytest.mark.parametrize(
    ("batches", "loss", "status"),
    [
        (labels(), lambda o, y: F.soft_margin_loss(o.flatten(), y), FAIL),
        (labels(-1), lambda o, y: F.soft_margin_loss(o.flatten(), y), PASS),
        (labels(), lambda o, y: F.hinge_embedding_loss(o.flatten(), y), FAIL),
        (labels(), lambda o, y: F.relu(1 - y * o.flatten()).mean(), WARN),
        (labels(-1), lambda o, y: F.relu(1 - y * o.flatten()).mean(), PASS),
        (labels(-1), lambda o, y: F.binary_cross_entropy_with_logits(o.flatten(), y), FAIL),
        (labels(0.1), lambda o, y: F.binary_cross_entropy_with_logits(o.flatten(), y), PASS),
    ],
)
def test_labels_of_zero_and_one_or_of_two_signs(lab_for, batches, loss, status) -> None:
    assert judged(lab_for(made(MLP, classes=1), batches, loss)).status is status


def pairs():
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(4):
        same = torch.rand(32, generator=generator) < 0.5
        a, c = torch.randn(2, 32, 8, generator=generator)
        near = a + 0.2 * torch.randn(32, 8, generator=generator)
        found.append((a, torch.where(same[:, None], near, c), same.float()))
    return found


class Apart(nn.Module):
    """The distance between two embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 8)

    def forward(self, a, b):
        return F.pairwise_distance(self.net(a), self.net(b))


@pytest.mark.parametrize(("inverted", "status"), [(True, WARN), (False, PASS)])
def test_a_contrastive_loss_that_takes_labels_the_other_way(lab_for, inverted, status) -> None:
    def loss(distance, y):
        same = 1 - y if inverted else y
        return (same * distance**2 + (1 - same) * F.relu(2 - distance) ** 2).mean()

    verdict = judged(lab_for(made(Apart), pairs(), loss))
    assert verdict.status is status
    assert ("pushed apart" in verdict.message) == inverted


@pytest.mark.parametrize(("low", "status"), [(0.0, FAIL), (-1.0, PASS)])
def test_a_cosine_embedding_loss_wants_two_signs(lab_for, low, status) -> None:
    def step(model, batch):
        a, b, same = batch
        y = torch.where(same > 0, 1.0, low)
        return F.cosine_embedding_loss(model(a), model(b), y)

    lab = lab_for(made(MLP), pairs(), training_step=step)
    assert judged(lab).status is status


@pytest.mark.parametrize(("order", "status"), [((0, 2, 1), WARN), ((0, 1, 2), PASS)])
def test_triplets_whose_positive_is_the_farther_one(lab_for, order, status) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(4):
        a, c = torch.randn(2, 32, 8, generator=generator)
        batches.append((a, a + 0.3 * torch.randn(32, 8, generator=generator), c))

    def step(model, batch):
        parts = [model(x) for x in batch]
        return F.triplet_margin_loss(*(parts[i] for i in order))

    assert judged(lab_for(made(MLP), batches, training_step=step)).status is status


def test_mined_triplets_are_the_hard_ones_on_purpose(lab_for) -> None:
    def step(model, batch):
        out, y = model(batch[0]), batch[1]
        far = torch.cdist(out, out)
        same = y[:, None] == y[None]
        hard = torch.where(same, far, -1.0).argmax(1), torch.where(same, 1e9, far).argmin(1)
        return F.triplet_margin_loss(out, out[hard[0]], out[hard[1]])

    lab = lab_for(made(MLP), class_batches(size=64), training_step=step)
    assert judged(lab).status is PASS


@pytest.mark.parametrize(
    ("target", "named", "status"),
    [
        (lambda y: y.log(), {}, FAIL),
        (lambda y: y, {}, PASS),
        (lambda y: y.log(), {"log_target": True}, PASS),
        (lambda y: y, {"log_target": True}, FAIL),
    ],
)
def test_kl_div_wants_probabilities_or_says_so(lab_for, target, named, status) -> None:
    def loss(o, y):
        return F.kl_div(o.log_softmax(1), target(y), reduction="batchmean", **named)

    assert judged(lab_for(made(MLP), soft(), loss)).status is status


@pytest.mark.parametrize(
    ("end", "loss", "status"),
    [
        (torch.exp, nn.PoissonNLLLoss(), FAIL),
        (lambda x: x, nn.PoissonNLLLoss(), PASS),
        (torch.exp, nn.PoissonNLLLoss(log_input=False), PASS),
        (lambda x: x, nn.PoissonNLLLoss(log_input=False), FAIL),
    ],
)
def test_the_exponential_of_poisson_is_taken_once(lab_for, end, loss, status) -> None:
    batches = [(x, x[:, :1].exp().round()) for x, _ in class_batches()]
    assert judged(lab_for(Ends(end, classes=1), batches, loss)).status is status


class Reader(nn.Module):
    """Ten frames of eight numbers to scores of five letters."""

    def __init__(self, last: bool = True) -> None:
        super().__init__()
        self.fc, self.last = nn.Linear(8, 5), last

    def forward(self, x):
        scores = self.fc(x)
        return scores.log_softmax(-1) if self.last else scores


@pytest.mark.parametrize(
    ("last", "first", "word"),
    [(True, 1, ""), (False, 1, "last axis"), (True, 0, "the blank")],
)
def test_ctc_wants_log_probabilities_and_no_blank_in_targets(lab_for, last, first, word) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(8, 10, 8, generator=generator),
         torch.randint(first, 5, (8, 3), generator=generator))
        for _ in range(3)
    ]  # fmt: skip

    def loss(o, y):
        n = len(o)
        return F.ctc_loss(o.transpose(0, 1), y, torch.full((n,), 10), torch.full((n,), 3))

    verdict = judged(lab_for(Reader(last), batches, loss))
    assert verdict.status is (FAIL if word else PASS)
    assert word in verdict.message


@pytest.mark.parametrize("turned", [False, True])
def test_classes_on_the_axis_that_cross_entropy_does_not_read(lab_for, turned) -> None:
    class Tags(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 6)

        def forward(self, x):
            return self.fc(x).transpose(1, 2) if turned else self.fc(x)

    batches = [(torch.randn(8, 6, 8), torch.randint(0, 6, (8, 6))) for _ in range(3)]
    verdict = judged(lab_for(made(Tags), batches, nn.CrossEntropyLoss()))
    assert verdict.status is (PASS if turned else FAIL)


@pytest.mark.parametrize(
    ("match", "status"),
    [(torch.arange, PASS), (lambda n: torch.zeros(n, dtype=torch.long), WARN)],
)
def test_the_match_of_each_row_of_a_table_of_similarities(lab_for, match, status) -> None:
    def step(model, batch):
        one, two = F.normalize(model(batch[0])), F.normalize(model(batch[0] + 0.1))
        return F.cross_entropy(one @ two.T / 0.5, match(len(one)))

    assert judged(lab_for(made(MLP), class_batches(), training_step=step)).status is status


def dice(scores, y):
    p, y = scores.flatten(1), y.flatten(1)
    return (1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)).mean()


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (dice, FAIL),
        (lambda o, y: dice(o.sigmoid(), y), PASS),
        (lambda o, y: -((2 * y - 1) * o).mean(), PASS),  # a critic
        (lambda o, y: ((o - y) ** 2).mean(), PASS),
    ],
)
def test_a_quotient_of_raw_scores(lab_for, loss, status) -> None:
    batches = [(x, (x[:, :3] > 0.5).float()) for x, _ in class_batches()]
    assert judged(lab_for(made(MLP), batches, loss)).status is status


@pytest.mark.parametrize(
    ("pick", "status"), [(torch.min, FAIL), (torch.max, PASS)], ids=["min", "max"]
)
def test_a_quantile_loss_that_rewards_errors(lab_for, pick, status) -> None:
    def loss(o, y):
        errors = y - o
        return sum(pick((q - 1) * errors[:, i], q * errors[:, i]).mean()
                   for i, q in enumerate((0.1, 0.5, 0.9)))  # fmt: skip

    batches = [(x, x[:, :1]) for x, _ in class_batches()]
    assert judged(lab_for(made(MLP), batches, loss)).status is status


def padded():
    """Rows of 3 to 8 numbers in a table of twenty."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(3):
        y = torch.randint(0, 5, (16, 20), generator=generator)
        ends = torch.randint(3, 9, (16, 1), generator=generator)
        y = y.masked_fill(torch.arange(20) >= ends, -100)
        found.append((F.one_hot(y.clamp_min(0), 8).float(), y))
    return found


def test_a_mean_over_positions_that_are_masked(lab_for) -> None:
    def each(o, y):
        return F.cross_entropy(o.transpose(1, 2), y.clamp_min(0), reduction="none")

    def diluted(o, y):
        return (each(o, y) * (y >= 0)).mean()

    def right(o, y):
        return (each(o, y) * (y >= 0)).sum() / (y >= 0).sum()

    for loss, word in ((diluted, "counted"), (right, "")):
        verdict = judged(lab_for(nn.Linear(8, 5), padded(), loss))
        assert verdict.status is (WARN if word else PASS)
        assert word in verdict.message


def test_a_mask_the_wrong_way_round(lab_for) -> None:
    batches = [(x, y, y.clamp_min(0).float()) for x, y in padded()]

    def step(keep):
        def training_step(model, batch):
            x, y, value = batch
            mask = keep(y)
            return ((model(x).squeeze(-1) - value) ** 2 * mask).sum() / mask.sum()

        return training_step

    for keep, status in ((lambda y: y < 0, FAIL), (lambda y: y >= 0, PASS)):
        lab = lab_for(nn.Linear(8, 1), batches, training_step=step(keep))
        assert judged(lab).status is status


class Coded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.width, self.back = nn.Linear(8, 2), nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x):
        mean, width = self.mean(x), self.width(x)
        return self.back(mean + torch.randn_like(mean) * (width / 2).exp()), mean, width


@pytest.mark.parametrize(
    ("reduction", "status"), [("mean", WARN), ("sum", PASS)], ids=["mixed", "sums"]
)
def test_one_part_summed_and_another_averaged(lab_for, reduction, status) -> None:
    def step(model, batch):
        back, mean, width = model(batch[0])
        kl = -0.5 * torch.sum(1 + width - mean**2 - width.exp())
        return F.mse_loss(back, batch[0], reduction=reduction) + kl

    assert judged(lab_for(made(Coded), class_batches(), training_step=step)).status is status


def test_weights_in_the_loss_are_no_part_of_the_batch(lab_for) -> None:
    def step(model, batch):
        decay = sum(p.square().sum() for p in model.parameters())
        return F.cross_entropy(model(batch[0]), batch[1], reduction="sum") + 0.1 * decay

    verdict = judged(lab_for(made(MLP), class_batches(), training_step=step))
    assert "averaged" not in verdict.message


LOOP = """
import torch
from torch import nn

train_loader = [(torch.randn(8, 5, 4), torch.randint(0, 3, (8, 5))) for _ in range(4)]
model = nn.Linear(4, 3)
criterion = nn.CrossEntropyLoss()


def training_step(model, batch):
    x, y = batch
    out = model(x)
    loss = 0
    for t in range(5):
        {turn}
    return loss
"""


@pytest.mark.parametrize(
    ("turn", "word"),
    [
        ("loss = criterion(out[:, t], y[:, t])", "overwrites"),
        ("loss = loss + criterion(out[:, t], y[:, t])", ""),
        ("loss += criterion(out[:, t], y[:, t])", ""),
    ],
)
def test_a_loop_that_keeps_its_last_loss_alone(tmp_path, monkeypatch, turn, word) -> None:
    from recipe_check.lab import Lab
    from recipe_check.loading import load
    from recipe_check.request import LoadRequest

    file = tmp_path / "loss_of_steps.py"
    file.write_text(LOOP.format(turn=turn))
    monkeypatch.chdir(tmp_path)
    verdict = judged(Lab(load(LoadRequest(target=str(file))), device="cpu"))
    assert verdict.status is (WARN if word else PASS)
    assert word in verdict.message
    assert not word or (verdict.location is not None and "criterion(" in verdict.location.source)
