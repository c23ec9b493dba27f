"""Training loops with one slip each, the same loops without it, and traps."""

from __future__ import annotations

import pytest
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from recipe_check import Status
from recipe_check.checks.train_step import TrainStep
from recipe_check.probes.loops import read_training
from tests.nets import MLP, class_batches, made


class Net(MLP):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return super().forward(self.drop(x))


def read(lab_for, tmp_path, text: str, *, shuffle: bool = True):
    """The verdict on a file with this text, over a loader that shuffles or does not."""
    file = tmp_path / "fit.py"
    file.write_text(text)
    x, y = class_batches(1, 64)[0]
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=shuffle)
    model = made(Net)
    sgd = optim.SGD(model.parameters(), 0.1)
    lab = lab_for(model, loader, nn.CrossEntropyLoss(), sgd, file=file)
    lab.cached("loops", lambda: read_training([file]))  # without a look at all loaded modules
    return TrainStep().judge(TrainStep().measure(lab))


TRAIN = """    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
"""
HEAD = "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
EPOCHS = HEAD + "for epoch in range(5):\n" + TRAIN
STEP = "        optimizer.step()\n"
CLEAR = "        optimizer.zero_grad()\n"
EVALUATE = "def evaluate(data):\n    model.eval()\n    return score(model, data)\n"
BEST = "    val_loss = evaluate(val_loader)\n    if val_loss < best_loss:\n"
KEEP = BEST + "        best_loss = val_loss\n"
SCALED = EPOCHS.replace("loss.backward()", "scaler.scale(loss).backward()").replace(
    STEP, "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
    "        scaler.step(optimizer)\n        scaler.update()\n",
)  # fmt: skip

# the loop with the slip, words of the message, a part of the line; and what takes the slip out
SLIPS = {
    "not-called": (EPOCHS.replace("zero_grad()", "zero_grad"), "without parentheses",
                   "optimizer.zero_grad", ("zero_grad", "zero_grad()")),
    "without-graph": (
        EPOCHS.replace("        loss = loss_fn(model(x), y)", "        with torch.no_grad():\n"
                       "            out = model(x)\n        loss = loss_fn(out, y)"),
        "below torch.no_grad()", "out = model(x)", ("torch.no_grad()", "autocast()"),
    ),
    "switched-off": (
        "def fit():\n" + EPOCHS.replace("\n", "\n    ").replace("optimizer =", "    optimizer =", 1)
        + "        torch.set_grad_enabled(False)\n        report(model)\n",
        "stays in force", "set_grad_enabled", ("torch.set_grad_enabled(False)", "pass"),
    ),
    "rebuilt": (EPOCHS.replace("loss = loss_fn(model(x), y)",
                               "loss = torch.tensor(loss_fn(model(x), y).item())"),
                "is a new leaf", "torch.tensor", ("torch.tensor(loss_fn(model(x), y).item())",
                                                  "loss_fn(model(x), y)")),
    "sum-of-all": (EPOCHS.replace("loss = loss_fn(model(x), y)", "loss += loss_fn(model(x), y)"),
                   "adds up over the batches", "loss +=", ("+=", "=")),
    "thrown-away": (EPOCHS.replace(STEP, "    optimizer.step()\n"), "only the last batch counts",
                    "optimizer.step()", ("    optimizer.step()\n", STEP)),
    "accumulation-cleared": (
        EPOCHS.replace("for x, y in loader", "for i, (x, y) in enumerate(loader)")
        .replace("loss_fn(model(x), y)", "loss_fn(model(x), y) / 4")
        .replace(STEP, "        if i % 4 == 3:\n            optimizer.step()\n"),
        "only every n-th takes a step", "zero_grad",
        (CLEAR, "        if i % 4 == 0:\n    " + CLEAR),
    ),
    "clipped-away": (
        EPOCHS.replace(STEP, "        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)\n" + STEP),
        "are clipped at 1e-06", "clip_grad_norm_", ("1e-6", "1.0"),
    ),
    "clipped-away-by-name": (
        "CLIP = 1e-9\n" + EPOCHS.replace(
            STEP, "        nn.utils.clip_grad_value_(model.parameters(), CLIP)\n" + STEP),
        "are clipped at 1e-09", "clip_grad_value_", ("1e-9", "0.5"),
    ),
    "scaled-clip": (SCALED, "still multiplied by the loss scale", "clip_grad_norm_",
                    ("        nn.utils", "        scaler.unscale_(optimizer)\n        nn.utils")),
    "scale-not-updated": (
        SCALED.replace("        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", "")
        .replace("        scaler.update()\n", ""), "stays at its first value", "scaler.step",
        ("scaler.step(optimizer)", "scaler.step(optimizer); scaler.update()"),
    ),
    "best-by-reference": (
        EVALUATE + EPOCHS + KEEP
        + "        best = model.state_dict()\nmodel.load_state_dict(best)\n",
        "holds the weights themselves", "best = model.state_dict()",
        ("best = model.state_dict()", "best = copy.deepcopy(model.state_dict())"),
    ),
    "copy-of-the-model": (
        "net = copy.deepcopy(model)\n" + EPOCHS.replace("loss_fn(model(x)", "loss_fn(net(x)"),
        "nothing that is computed is trained", "deepcopy", ("copy.deepcopy(model)", "model"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLIPS.values(), ids=SLIPS.keys())
def test_a_slip_fails_at_its_line_and_its_twin_passes(lab_for, tmp_path, case) -> None:
    text, words, source, (wrong, right) = case
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is Status.FAIL
    assert words in verdict.message
    assert source in verdict.location.source
    assert wrong in text
    sound = read(lab_for, tmp_path, text.replace(wrong, right))
    assert sound.status is Status.PASS, sound.message


VALIDATE = (
    "    with torch.no_grad():\n        for x, y in val_loader:\n            show(model(x))\n"
)
DOUBTS = {
    "keeps-graphs": (EPOCHS + "        running += loss\n", "with their autograd graphs",
                     ("running += loss", "running += loss.item()")),
    "worse-is-best": (EVALUATE + EPOCHS + KEEP.replace("<", ">"), "keeps the highest `val_loss`",
                      (">", "<")),
    "worse-score": (
        EVALUATE + EPOCHS + "    acc = evaluate(val_loader)\n    if acc < best:\n"
        "        best, waited = acc, 0\n", "keeps the lowest `acc`", ("acc < best", "acc > best"),
    ),
    "validates-on-train": (
        EVALUATE + EPOCHS + "    val_acc = evaluate(train_loader)\n",
        "says nothing about new data", ("train_loader", "val_loader"),
    ),
    "validation-trains": (
        EPOCHS + TRAIN.replace("loader", "val_loader"), "validation data are learned",
        ("val_loader", "second_loader"),
    ),
    "training-mode": (EPOCHS + VALIDATE, "nothing switches the model to eval",
                      ("    with torch.no_grad():", "    model.eval()\n    with torch.no_grad():")),
    "optimizer-each-epoch": (
        EPOCHS.replace("    model.train()",
                       "    optimizer = torch.optim.Adam(model.parameters())\n    model.train()"),
        "is built again inside the loop over epochs",
        ("    optimizer = torch.optim.Adam(model.parameters())\n", ""),
    ),
    "idle-optimizer": (
        "second_optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        + EPOCHS.replace(CLEAR, CLEAR + "        second_optimizer.zero_grad()\n"),
        "its step() is never called", (STEP, STEP + "        second_optimizer.step()\n"),
    ),
    "clips-another": (
        "other = Net()\n" + EPOCHS.replace(
            STEP, "        nn.utils.clip_grad_norm_(other.parameters(), 1.0)\n" + STEP),
        "`other` is clipped", ("other.parameters()", "model.parameters()"),
    ),
    "decays-by-hand": (
        EPOCHS + "        for group in optimizer.param_groups:\n            group['lr'] *= 0.1\n",
        "multiplied by 0.1 at every batch", ("*= 0.1", "*= 0.999"),
    ),
    "seeded-each-epoch": (
        EPOCHS.replace("    model.train()", "    torch.manual_seed(0)\n    model.train()"),
        "every epoch has the same order", ("manual_seed(0)", "manual_seed(epoch)"),
    ),
    "accuracy-by-batches": (
        EPOCHS + "        right += (model(x).argmax(1) == y).sum().item()\n"
        "    print(right / len(loader))\n", "divides by batches",
        ("len(loader)", "len(loader.dataset)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTS.values(), ids=DOUBTS.keys())
def test_a_doubt_is_warned_of_and_its_twin_passes(lab_for, tmp_path, case) -> None:
    text, words, (wrong, right) = case
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is Status.WARN
    assert words in verdict.message
    assert verdict.location is not None
    assert wrong in text
    sound = read(lab_for, tmp_path, text.replace(wrong, right))
    assert sound.status is Status.PASS, sound.message


def test_a_new_iterator_at_every_step_reads_one_batch(lab_for, tmp_path) -> None:
    text = HEAD + (
        "for step in range(100):\n    x, y = next(iter(loader))\n    optimizer.zero_grad()\n"
        "    loss_fn(model(x), y).backward()\n    optimizer.step()\n"
    )
    assert "only its first batch" in read(lab_for, tmp_path, text, shuffle=False).message
    assert read(lab_for, tmp_path, text).status is Status.PASS


TRAPS = {
    "teacher-below-no-grad": EPOCHS.replace(
        "        loss = loss_fn(model(x), y)",
        "        with torch.no_grad():\n            goal = teacher(x)\n"
        "        loss = loss_fn(model(x), goal)",
    ),
    "truncated-in-time": EPOCHS.replace(
        "        loss = loss_fn(model(x), y)\n",
        "        loss = 0\n        for t in x:\n            loss = loss + loss_fn(model(t), y)\n",
    ),
    "sum-that-is-trained": EPOCHS.replace(
        "        loss = loss_fn(model(x), y)\n",
        "        loss = 0\n        for part in x:\n            loss += loss_fn(model(part), y)\n",
    ),
    "constant-to-start-from": EPOCHS.replace(
        "        loss = loss_fn(model(x), y)\n",
        "        loss = torch.tensor(0.0)\n        loss = loss + loss_fn(model(x), y)\n",
    ),
    "unpacked": EPOCHS.replace(
        "        loss = loss_fn(model(x), y)\n",
        "        loss, penalty = step(model, x, y)\n        loss += penalty\n",
    ),
    "looked-at-meanwhile": EPOCHS.replace(
        "loss = loss_fn(model(x), y)", "loss = engine.loss(model, x, y)"
    )
    + "        with torch.no_grad():\n            show(model(x))\n",
    "sum-in-a-function": "def total(model, parts):\n    found = 0\n    for x, y in parts:\n"
    "        found += loss_fn(model(x), y)\n    return found\n"
    + EPOCHS.replace("loss = loss_fn(model(x), y)", "loss = total(model, x)"),
    "a-copy-of-the-weights": EPOCHS
    + "    best = copy.deepcopy(model).state_dict()\nmodel.load_state_dict(best)\n",
    "worst-kept-on-purpose": EPOCHS + "    if val_loss > worst:\n        worst = val_loss\n",
    "saved-at-once": EPOCHS + "    state = model.state_dict()\n    torch.save(state, 'last.pt')\n",
    "exploration-at-test": EPOCHS + "    train_acc = evaluate(train_loader)\n",
    "inner-attack": EPOCHS.replace(
        CLEAR,
        "        for _ in range(3):\n            delta.zero_()\n            push(model, x, delta)\n"
        + CLEAR,
    ),
}


@pytest.mark.parametrize("text", TRAPS.values(), ids=TRAPS.keys())
def test_traps_pass(lab_for, tmp_path, text) -> None:
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is Status.PASS, verdict.message


HAND = (
    "for epoch in range(5):\n    for x, y in loader:\n        model.zero_grad()\n"
    "        loss = loss_fn(model(x), y)\n        loss.backward()\n"
    "        with torch.no_grad():\n            for p in model.parameters():\n"
    "                p -= 0.1 * p.grad\n"
)
ACCUMULATED = (
    HEAD + "def run():\n    optimizer.zero_grad()\n    for i, (x, y) in enumerate(loader):\n"
    "        (loss_fn(model(x), y) / 4).backward()\n        if (i + 1) % 4 == 0:\n"
    "            optimizer.step()\n            optimizer.zero_grad()\n"
    "for epoch in range(5):\n    run()\n"
)
ITERATED = EPOCHS.replace("for epoch", "batches = iter(loader)\nfor epoch").replace(
    "in loader", "in batches"
)
UNSCALED = SCALED.replace("scaler.step(optimizer)", "optimizer.step()").replace(
    "        scaler.update()\n", ""
).replace("        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", "")  # fmt: skip
AVERAGED = (
    EPOCHS.replace("for epoch", "ema = copy.deepcopy(model)\nfor epoch", 1).replace(
        "loss_fn(model(x)", "loss_fn(ema(x)"
    )
    + "        for e, p in zip(ema.parameters(), model.parameters()):\n"
    "            e.lerp_(p, 0.1)\n"
)
# the loop with the slip, its status, words of the message, and what takes the slip out
REACH = {
    "backward-named": (EPOCHS.replace("loss.backward()", "loss.backward"), Status.FAIL,
                       "without parentheses", ("loss.backward", "loss.backward()")),
    "never-holds": (ACCUMULATED.replace("(i + 1) % 4 == 0", "i % 4 == 4"), Status.FAIL,
                    "never holds", ("i % 4 == 4", "i % 4 == 3")),
    "cleared-once": (ACCUMULATED.replace("            optimizer.zero_grad()\n", ""), Status.FAIL,
                     "only once an epoch", ("(i + 1) % 4 == 0", "(i + 1) % len(loader) == 0")),
    "break": (EPOCHS + "        break\n", Status.WARN, "after the first",
              ("        break\n", "        if loss < 0.1:\n            break\n")),
    "exhausted": (ITERATED, Status.FAIL, "is made once", ("in batches", "in loader")),
    "schedule-on-top": (
        EPOCHS.replace("    model.train()", "    scheduler.step()\n    model.train()"),
        Status.WARN, "at the top of every epoch", ("    scheduler.step()\n", ""),
    ),
    "rebound": (HAND.replace("p -= 0.1 * p.grad", "p = p - 0.1 * p.grad"), Status.FAIL,
                "makes a new tensor", ("p = p - 0.1 * p.grad", "p -= 0.1 * p.grad")),
    "climbs": (HAND.replace("-=", "+="), Status.WARN, "the loss rises", ("+=", "-=")),
    "scaled": (UNSCALED, Status.FAIL, "multiplied by the loss scale",
               ("optimizer.step()", "scaler.step(optimizer); scaler.update()")),
    "average-trained": (AVERAGED, Status.FAIL, "`ema` is a copy",
                        ("loss_fn(ema(x)", "loss_fn(model(x)")),
}  # fmt: skip


@pytest.mark.parametrize("case", REACH.values(), ids=REACH)
def test_what_is_never_reached_or_changed(lab_for, tmp_path, case) -> None:
    text, status, words, (wrong, right) = case
    verdict = read(lab_for, tmp_path, text)
    assert verdict.status is status, verdict.message
    assert words in verdict.message
    assert wrong in text
    sound = read(lab_for, tmp_path, text.replace(wrong, right))
    assert sound.status is Status.PASS, sound.message


def test_an_ascent_that_is_meant_is_left_alone(lab_for, tmp_path) -> None:
    meant = HAND.replace("-=", "+=").replace("loss = loss_fn", "loss = -loss_fn")
    assert read(lab_for, tmp_path, meant).status is Status.PASS
