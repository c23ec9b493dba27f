"""Training loops that are out of order, and sound ones, as people write them."""

from __future__ import annotations

import textwrap

import pytest
from torch import nn, optim

from recipe_check import CauseState, NotApplicable, Status
from recipe_check.checks.train_step import Loops, Slip, TrainStep
from recipe_check.probes.loops import read_training
from tests.checks.sound import SOUND
from tests.nets import MLP, class_batches, made

LOOP = """
for epoch in range(5):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    scheduler.step()
"""


class Net(MLP):
    def __init__(self, classes: int = 3) -> None:
        super().__init__(classes=classes)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return super().forward(self.drop(x))


def read(lab_for, tmp_path, text: str, model=None, kind=optim.SGD):
    file = tmp_path / "fit.py"
    file.write_text(textwrap.dedent(text))
    model = model or made(Net)
    optimizer = kind(model.parameters(), 0.1)
    lab = lab_for(model, class_batches(), nn.CrossEntropyLoss(), optimizer, file=file)
    lab.cached("loops", lambda: read_training([file]))  # without a look at all loaded modules
    check = TrainStep()
    return check.judge(check.measure(lab))


def without(line: str) -> str:
    return "".join(row for row in LOOP.splitlines(keepends=True) if line not in row)


CLIP = "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
STEP = "        optimizer.step()\n"
CLEAR = "        optimizer.zero_grad()\n"
EVALUATE = "    model.eval()\n    score = [model(x) for x, _ in held]\n"

BAD = {
    "never-cleared": (without("zero_grad"), "never, and every step adds", "loss.backward()"),
    "cleared-once-an-epoch": (
        LOOP.replace(CLEAR, "").replace("    model.train()", "    optimizer.zero_grad()"),
        "only once an epoch", "optimizer.zero_grad()",
    ),
    "clipped-after": (LOOP.replace(CLIP + STEP, STEP + CLIP), "clipped after", "clip_grad_norm_"),
    "clipped-first": (
        LOOP.replace(CLIP, "").replace(CLEAR, CLIP + CLEAR), "clipped after", "clip_grad_norm_",
    ),
    "clipped-in-a-function": (
        "def limit():\n    nn.utils.clip_grad_value_(model.parameters(), 1.0)\n"
        + LOOP.replace(CLIP + STEP, STEP + "        limit()\n"),
        "clipped after", "clip_grad_value_",
    ),
    "stays-in-eval": (without("train()") + EVALUATE, "`model` is switched to eval", "model.eval()"),
    "stays-in-eval-by-a-function": (
        "def test(net):\n    net.train(False)\n    return net(x)\n"
        + without("train()") + "    test(model)\n", "`model` is switched to eval", "train(False)",
    ),
    "built-in-every-epoch": (
        LOOP.replace("    model.train()", "    model = Net()\n    model.train()"),
        "`model` is built again", "model = Net()",
    ),
    "reset-in-every-epoch": (
        LOOP.replace("    model.train()", "    model.apply(init_weights)"),
        "`model` is initialised again", "init_weights",
    ),
    "never-steps": (without("optimizer.step"), "no optimizer.step()", "loss.backward()"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_a_loop_out_of_order_fails_at_its_line(lab_for, tmp_path, case) -> None:
    text, words, source = case
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is Status.FAIL
    assert words in verdict.message
    assert source in verdict.location.source
    assert verdict.causes[0].state is CauseState.MATCHES


ACCUMULATING = """
for epoch in range(5):
    for i, (x, y) in enumerate(loader):
        loss = loss_fn(model(x), y)
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
"""
MICRO = """
for step in range(100):
    optimizer.zero_grad()
    for x, y in split(next(batches)):
        loss_fn(model(x), y).backward()
    optimizer.step()
"""
METRIC = "    accuracy = (model(x).argmax(0) == y).float().mean()\n"

DOUBTFUL = {
    "accumulated": (ACCUMULATING, "not divided by their number", "loss.backward()"),
    "micro-batches": (MICRO, "not divided by their number", "loss_fn(model(x), y).backward()"),
    "scheduler-first": (
        LOOP.replace(CLEAR, CLEAR + "        scheduler.step()\n"), "before the first", "scheduler",
    ),
    "argmax-over-the-batch": (LOOP + METRIC, "chooses a sample of the batch", "argmax(0)"),
    "argmax-by-name": (
        LOOP + "    out = model(x)\n    _, pred = torch.max(out, dim=0)\n    hits = pred.eq(y)\n"
        "    score = (pred == y).sum()\n", "chooses a sample of the batch", "torch.max(out, dim=0)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_a_doubtful_loop_is_warned_of_at_its_line(lab_for, tmp_path, case) -> None:
    text, words, source = case
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is Status.WARN
    assert words in verdict.message
    assert source in verdict.location.source


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND.keys())
def test_sound_loops_pass(lab_for, tmp_path, text) -> None:
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is Status.PASS, verdict.message


def test_the_good_loop_passes_and_its_steps_are_shown(lab_for, tmp_path) -> None:
    verdict = read(lab_for, tmp_path, LOOP)
    assert verdict.status is Status.PASS
    ((header, where, steps),) = verdict.details[0].rows
    assert header == "(x, y) in loader"
    assert where.endswith("fit.py:4")
    assert steps == "zero, backward, clip, step"


def test_eval_matters_only_where_a_layer_depends_on_it(lab_for, tmp_path) -> None:
    text = without("train()") + EVALUATE
    assert read(lab_for, tmp_path, text, made(MLP)).status is Status.WARN


def test_a_single_output_has_no_argmax(lab_for, tmp_path) -> None:
    text = LOOP + METRIC.replace("argmax(0)", "argmax(1)")
    batches = [(x, y.float()[:, None]) for x, y in class_batches()]
    file = tmp_path / "fit.py"
    file.write_text(text)
    lab = lab_for(made(Net, classes=1), batches, nn.BCEWithLogitsLoss(), file=file)
    verdict = TrainStep().judge(TrainStep().measure(lab))
    assert verdict.status is Status.WARN
    assert "always 0" in verdict.message
    assert read(lab_for, tmp_path, text).status is Status.PASS


def test_adam_hides_most_of_an_undivided_sum(lab_for, tmp_path) -> None:
    assert "Adam hides" in read(lab_for, tmp_path, ACCUMULATING, kind=optim.Adam).message


@pytest.mark.parametrize(
    "text", ["", "trainer.fit(model, loader)", "for x in y:\n    print(x)", "("]
)
def test_without_a_loop_there_is_nothing_to_read(lab_for, tmp_path, text) -> None:
    with pytest.raises(NotApplicable, match="no training loop"):
        read(lab_for, tmp_path, text)


SLIP = Slip("a", "a is wrong", "do b", None, certain=False)


def test_the_worst_slip_decides() -> None:
    check, loops = TrainStep(), (("x in y", "fit.py:1", "step"),)
    assert check.judge(Loops(loops, (), ("a",))).status is Status.PASS
    assert check.judge(Loops(loops, (SLIP,), ("a",))).status is Status.WARN
    certain = Slip("b", "b is wrong", "do c", None, certain=True)
    verdict = check.judge(Loops(loops, (SLIP, certain), ("a", "b", "c")))
    assert verdict.status is Status.FAIL
    assert verdict.message == "b is wrong; a is wrong"
    assert verdict.fix.text == "do c"
    assert [c.state for c in verdict.causes].count(CauseState.MATCHES) == 2
