"""Sound programs that looked like slips, each beside the slip that it looked like."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from recipe_check import NotApplicable, Status
from recipe_check.checks.batch_contract import BatchContract
from recipe_check.checks.batch_dependency import BatchDependency
from recipe_check.checks.gradient_check import GradientCheck
from recipe_check.checks.initial_loss import InitialLoss
from recipe_check.checks.input_independent_baseline import InputIndependentBaseline
from recipe_check.checks.loss_contract import LossContract
from recipe_check.checks.overfit_one_batch import OverfitOneBatch
from recipe_check.checks.registration import Registration
from recipe_check.checks.weight_init import WeightInit
from recipe_check.lineage import lines_recorded
from recipe_check.probes.loops import read_training
from tests.checks.test_loop_slips import read
from tests.nets import MLP, class_batches, made


def judged(check, lab):
    return check.judge(check.measure(lab))


# -- registration: networks that a step calls, and layers that forward() makes -------------------


class MakesALayer(MLP):
    def forward(self, x):
        return super().forward(x) + nn.Linear(x.shape[1], 3)(x)


def test_a_network_of_the_step_is_not_made_in_forward(lab_for) -> None:
    with lines_recorded():
        actor = made(MLP)

    def step(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            wanted = actor(batch[0])
        return F.mse_loss(model(batch[0]), wanted)

    sound = lab_for(made(MLP), class_batches(), training_step=step)
    assert judged(Registration(), sound).status is Status.PASS
    planted = lab_for(made(MakesALayer), class_batches(), nn.CrossEntropyLoss())
    verdict = judged(Registration(), planted)
    assert verdict.status is Status.FAIL
    assert "anew at every call" in verdict.message


# -- batch-dependency: capacities, and outputs as long as the longest sequence -------------------


class Experts(nn.Module):
    """Sound (Switch Transformer): an expert takes the first that come, up to its capacity."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(8, 2), nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x):
        gate, index = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (index == number).nonzero().squeeze(1)[: len(x) // 3]
            out = out.index_add(0, rows, expert(x[rows]) * gate[rows, None])
        return self.head(x + out)


class RunningMean(nn.Module):
    """The slip: each sample is centred by those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        before = x.cumsum(0) / torch.arange(1, len(x) + 1).unsqueeze(1)
        return self.head(x - before)


@pytest.mark.parametrize(("kind", "status"), [(Experts, Status.WARN), (RunningMean, Status.FAIL)])
def test_a_capacity_is_told_from_a_leak(lab_for, kind, status) -> None:
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    batches = [(x, torch.zeros(len(x), dtype=torch.long)) for x in inputs.split(16)]
    verdict = judged(BatchDependency(), lab_for(made(kind), batches, nn.CrossEntropyLoss()))
    assert verdict.status is status
    assert ("by a choice" in verdict.message) is (kind is Experts)


class Tagger(nn.Module):
    """Sound: its output is as long as the longest sequence of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 6, padding_idx=0)
        self.rnn, self.head = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, ids, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.table(ids), lengths, batch_first=True, enforce_sorted=False
        )
        return self.head(nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], True)[0])


def test_outputs_of_another_length_are_compared_where_both_are(lab_for) -> None:
    batches = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(3, 6, (16,), generator=generator)
        lengths[3 - seed] = 9  # one longest, which a group takes away
        ids = torch.randint(1, 12, (16, 9), generator=generator)
        ids[torch.arange(9) >= lengths[:, None]] = 0
        batches.append(((ids, lengths), (ids % 3)))
    lab = lab_for(
        made(Tagger), batches,
        lambda out, y: F.cross_entropy(out.flatten(0, 1), y[:, : out.shape[1]].flatten()),
    )  # fmt: skip
    assert judged(BatchDependency(), lab).status is Status.PASS


# -- batch-contract: a sparse matrix among the inputs --------------------------------------------


class Neighbours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own, self.near = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x, adjacency):
        return self.own(x) + torch.sparse.mm(adjacency, self.near(x))


@pytest.mark.parametrize("broken", [False, True], ids=["healthy", "not-a-number"])
def test_a_sparse_adjacency_is_read(lab_for, broken) -> None:
    x = torch.randn(20, 8)
    x[3, 3] = float("nan") if broken else 0.0
    graph = {"x": x, "adjacency": torch.eye(20).to_sparse(), "labels": torch.arange(20) % 3}
    lab = lab_for(
        made(Neighbours), [graph],
        training_step=lambda m, b: F.cross_entropy(m(b["x"], b["adjacency"]), b["labels"]),
    )  # fmt: skip
    wanted = Status.FAIL if broken else Status.PASS
    assert judged(BatchContract(), lab).status is wanted


# -- gradient-check: weights that a pass writes, floats within a custom Function -----------------


class Prototypes(MLP):
    """Sound (SwAV): prototypes are put on the unit sphere at the start of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        return self.prototypes(super().forward(x))


class Spike(torch.autograd.Function):
    """Sound: a step with a surrogate for its slope, in the precision that float() gives."""

    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return (value > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (1 + 10 * ctx.saved_tensors[0].abs()) ** 2


class Wrong(Spike):
    """The slip: twice its input, and a slope of one."""

    @staticmethod
    def forward(ctx, value):
        return 2 * value * value

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Spiking(nn.Module):
    kind: type[torch.autograd.Function] = Spike

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.outer(self.kind.apply(self.inner(x)))


class WronglySpiking(Spiking):
    kind = Wrong


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Prototypes, Status.PASS), (Spiking, Status.PASS), (WronglySpiking, Status.FAIL)],
)
def test_gradients_where_a_pass_writes_or_casts(lab_for, kind, status) -> None:
    lab = lab_for(made(kind), class_batches(), nn.CrossEntropyLoss())
    assert judged(GradientCheck(), lab).status is status


# -- input-independent-baseline: data that hold the place of real ones ---------------------------


def test_placeholders_are_told_from_labels_that_were_shuffled(lab_for) -> None:
    with lines_recorded():
        torch.manual_seed(0)
        inputs = torch.randn(256, 8)
        drawn = torch.randint(0, 3, (256,))
        shuffled = inputs[:, :3].argmax(1)[torch.randperm(256)]
    for labels, skips in ((drawn, True), (shuffled, False)):
        loader = DataLoader(TensorDataset(inputs, labels), batch_size=16)
        lab = lab_for(made(MLP), loader, nn.CrossEntropyLoss())
        if skips:
            with pytest.raises(NotApplicable, match="random numbers"):
                InputIndependentBaseline().measure(lab)
        else:
            assert judged(InputIndependentBaseline(), lab).status is not Status.PASS


# -- overfit-one-batch: a queue that fills with the batch ----------------------------------------


class Queue(nn.Module):
    """Sound (MoCo): the positive first, then a queue of keys, into which the batch's own go."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
        self.register_buffer("queue", F.normalize(torch.randn(64, 8), dim=1))

    def forward(self, x):
        query = F.normalize(self.encoder(x), dim=1)
        key = F.normalize(self.encoder(x + 0.1).detach(), dim=1)
        scores = torch.cat([(query * key).sum(1, keepdim=True), query @ self.queue.clone().T], 1)
        with torch.no_grad():
            self.queue = torch.cat([key, self.queue])[: len(self.queue)]
        return scores / 0.1


class DeafQueue(Queue):
    """The slip: the query has no gradient."""

    def forward(self, x):
        return super().forward(x).detach() + 0 * self.encoder(x).sum()


@pytest.mark.parametrize(("kind", "sound"), [(Queue, True), (DeafQueue, False)])
def test_a_queue_of_keys_is_held(lab_for, kind, sound) -> None:
    def step(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        scores = model(batch[0])
        return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))

    lab = lab_for(made(kind), class_batches(), training_step=step)
    assert (judged(OverfitOneBatch(), lab).status is Status.PASS) is sound


# -- initial-loss and weight-init: sizes that mean something else --------------------------------


class Cosines(nn.Module):
    """Sound (ArcFace): cosines times a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 16))
        self.body = nn.Sequential(nn.Linear(8, 16), nn.PReLU(), nn.Linear(16, 16))

    def forward(self, x):
        return 30 * F.normalize(self.body(x), dim=1) @ F.normalize(self.centres, dim=1).T


class Loud(Cosines):
    """The slip: scores that are large because the weights are."""

    def forward(self, x):
        return 30 * self.body(x) @ self.centres.T


@pytest.mark.parametrize(("kind", "passes"), [(Cosines, True), (Loud, False)])
def test_a_factor_of_cosines_may_be_confident(lab_for, kind, passes) -> None:
    torch.manual_seed(0)
    verdict = judged(InitialLoss(), lab_for(kind(), class_batches(), nn.CrossEntropyLoss()))
    assert (verdict.status is Status.PASS) is passes


class SignLinear(nn.Linear):
    """Sound: only the sign of a weight is used."""

    def forward(self, x):
        return F.linear(x, self.weight + (self.weight.sign() - self.weight).detach(), self.bias)


@pytest.mark.parametrize(("kind", "passes"), [(SignLinear, True), (nn.Linear, False)])
def test_the_size_of_a_weight_whose_sign_is_used(lab_for, kind, passes) -> None:
    with lines_recorded():
        model = nn.Sequential(kind(8, 64), kind(64, 64), kind(64, 3))
        for layer in model:
            nn.init.uniform_(layer.weight, -4, 4)
    verdict = judged(WeightInit(), lab_for(model, class_batches(), nn.CrossEntropyLoss()))
    assert (verdict.status is Status.PASS) is passes


# -- the reader of loops: a method is no function of the same name -------------------------------

LOOPS = """
def train(model, epochs):
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()

def distill(student, epochs):
    optimizer = torch.optim.Adam(student.parameters())
    for epoch in range(epochs):
        {call}
        for x, y in loader:
            optimizer.zero_grad()
            loss_fn(student(x), y).backward()
            optimizer.step()

distill(student, 5)
"""


@pytest.mark.parametrize(
    ("call", "loops"),
    [("student.train()", 1), ("train(student, 1)", 2), ("tools.train(student, 1)", 2)],
)
def test_a_method_is_not_followed_as_a_function(tmp_path, call, loops) -> None:
    file = tmp_path / "distill.py"
    file.write_text("import tools\n" + LOOPS.format(call=call))
    assert len(read_training([file])) == loops


# -- rules on loops: sound spellings, each beside the slip ---------------------------------------

HEAD = "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
TRAIN = """for epoch in range(5):
    model.train()
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
"""
COUNT = """    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in val_loader:
            out = model(x)
            {count}
    print({share})
"""
RIGHT = "correct += (out.argmax(1) == y).sum().item()"
OVER_ROWS = "correct += sum(int(row.argmax(0) == label) for row, label in zip(out, y))"
ALL = "correct / len(val_loader.dataset)"
GROUPED = TRAIN.replace("        optimizer.zero_grad()\n", "").replace(
    "loss_fn(model(x), y)", "{factor} * loss_fn(model(x), y)"
).replace(
    "        optimizer.step()\n",
    "        if (i + 1) % 4 == 0:\n            optimizer.step()\n"
    "            optimizer.zero_grad()\n",
)  # fmt: skip
CALIBRATE = (
    "def calibrate(model, val_loader):\n    temperature = torch.nn.Parameter(torch.ones(1))\n"
    "    optimizer = torch.optim.SGD({given}, lr=0.01)\n    model.eval()\n"
    "    for x, y in val_loader:\n        optimizer.zero_grad()\n"
    "        loss = loss_fn(model(x) / temperature, y)\n        loss.backward()\n"
    "        optimizer.step()\ncalibrate(model, val_loader)\n"
)
BETTER = "    if {value} > {best}:\n        {best} = {value}\n"
FIRST = ("        optimizer.step()\n", "        {name}.step()\n        optimizer.step()\n")
CUT = ("        loss.backward()\n", "        loss = {made}\n        loss.backward()\n")
PAIRS = {
    "batches-times-size": (
        TRAIN + COUNT.format(count=RIGHT, share="correct / (len(val_loader) * 16)"),
        TRAIN + COUNT.format(count=RIGHT, share="correct / len(val_loader)"),
    ),
    "batches-then-size": (
        TRAIN + COUNT.format(count=RIGHT, share="correct / len(val_loader) / 16"),
        TRAIN + COUNT.format(count=RIGHT, share="correct / len(val_loader)"),
    ),
    "row-by-row": (
        TRAIN + COUNT.format(count=OVER_ROWS, share=ALL),
        TRAIN + COUNT.format(count=RIGHT.replace("(1)", "(0)"), share=ALL),
    ),
    "improvement": (
        TRAIN + BETTER.format(value="loss_improvement", best="best_improvement"),
        TRAIN + BETTER.format(value="val_loss", best="best_loss"),
    ),
    "trainval": (
        TRAIN + "    val_loss = evaluate(model, trainval_loader)\n",
        TRAIN + "    val_loss = evaluate(model, train_loader)\n",
    ),
    "pretrained": (
        TRAIN + "    test_acc = evaluate(model, pretrained_loader)\n",
        TRAIN + "    test_acc = evaluate(model, train_loader)\n",
    ),
    "weight-of-a-term": (
        TRAIN.replace(FIRST[0], FIRST[1].format(name="kl_scheduler")),
        TRAIN.replace(FIRST[0], FIRST[1].format(name="scheduler")),
    ),
    "factor": (
        "share = 1 / 4\n" + GROUPED.format(factor="share"), GROUPED.format(factor="1.0"),
    ),
    "still-a-tensor": (
        TRAIN.replace(CUT[0], CUT[1].format(made="torch.as_tensor(loss)")),
        TRAIN.replace(CUT[0], CUT[1].format(made="torch.as_tensor(loss.item())")),
    ),
    "asks-for-a-gradient": (
        TRAIN.replace(CUT[0], CUT[1].format(made="loss.requires_grad_()")),
        TRAIN.replace(CUT[0], CUT[1].format(made="loss.detach().requires_grad_()")),
    ),
    "temperature": (
        TRAIN + CALIBRATE.format(given="[temperature]"),
        TRAIN + CALIBRATE.format(given="model.parameters()"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_spelling_is_told_from_the_slip(lab_for, tmp_path, name) -> None:
    for text, passes in zip(PAIRS[name], (True, False), strict=True):
        verdict = read(lab_for, tmp_path, "import torch\n" + HEAD + text)
        assert (verdict.status is Status.PASS) is passes, verdict.message


class Biased(nn.Module):
    """Sound: looks its biases up once in evaluation mode and keeps them, as LeViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.biases, self.kept = nn.Parameter(torch.randn(8)), None
        self.fc = nn.Linear(4, 8)

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.kept = None if mode else self.biases[torch.arange(8)]
        return self

    def forward(self, x):
        return self.fc(x) + (self.biases[torch.arange(8)] if self.training else self.kept)


def test_weights_that_are_kept_in_evaluation_mode_still_learn(lab_for) -> None:
    model = nn.Sequential(Biased(), nn.Dropout(0.9), nn.Linear(8, 3))
    batches = [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(2)]
    rig = lab_for(model, batches, nn.CrossEntropyLoss()).rig().quiet()
    for _ in range(2):
        rig.model.zero_grad()
        rig.backward(rig.step(batches[0]).loss)
    assert rig.model[0].biases.grad.abs().min() > 0
    assert not rig.model[1].training


# -- loss-contract: what stands in the place of the target is no target of the step -------------


class Echo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Embedding(9, 16), nn.Linear(16, 9))

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize(("place", "sign", "status"), [
    (0, 1.0, Status.PASS), (1, 1.0, Status.PASS), (1, -1.0, Status.FAIL),
])  # fmt: skip
def test_a_step_may_learn_its_inputs_beside_other_labels(lab_for, place, sign, status) -> None:
    def step(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
        return sign * F.cross_entropy(model(batch[0]).flatten(0, 1), batch[place].flatten())

    x = torch.randint(9, (4, 16, 6))
    batches = [(one, (one + 1) % 9) for one in x]
    lab = lab_for(made(Echo), batches, training_step=step)
    assert judged(LossContract(), lab).status is status
