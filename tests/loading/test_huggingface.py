"""transformers: a Trainer without its loop, models that score themselves; nothing is fetched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from recipe_check import Status
from recipe_check.errors import LoadError
from recipe_check.lab import Lab
from recipe_check.subject import Subject
from tests.loading.targets import checked, how, line_of, loaded

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and accelerate themselves
HEAD = """
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

draw = torch.Generator().manual_seed(0)
IDS = torch.randint(5, 60, (240, 12), generator=draw)
LABELS = torch.arange(240) % 3
IDS[:, 3] = 60 + LABELS
ROWS = [{"input_ids": ids, "labels": label} for ids, label in zip(IDS, LABELS)]

def bert():
    return BertForSequenceClassification(BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=16, num_labels=3))

def arguments(**more):
    given = dict(output_dir="unused", per_device_train_batch_size=20, learning_rate=1e-3,
                 num_train_epochs=2, report_to="none", use_cpu=True)
    return TrainingArguments(**given | more)

def parts(**more):
    return dict(args=arguments(), train_dataset=ROWS[:200], eval_dataset=ROWS[200:]) | more

class Own(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, labels)
        self.log({"loss": loss.item()})
        return (loss, outputs) if return_outputs else loss

set_seed(0)
"""
OWN = "trainer = Own(model=bert(), **parts())\n"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def step_of(subject: Subject) -> Any:
    """One step on the first batch; it must run."""
    lab = Lab(subject, device="cpu")
    assert lab.broken is None, lab.broken
    return lab.rig().quiet().step(lab.train_batches[0])


@pytest.mark.parametrize("kind", ["Trainer", "Own"])
def test_the_trainers_data_loss_and_optimizer_are_used(tmp_path: Path, kind: str) -> None:
    subject = loaded(tmp_path, HEAD + f"mine = {kind}(model=bert(), **parts())")
    assert how(subject)["model"] == "the model of `mine`"
    assert how(subject)["training step"] == "compute_loss() of `mine`"
    assert len(subject.loader.dataset) == 200
    assert len(subject.val_loader.dataset) == 40
    assert subject.loader.device is subject.val_loader.device is None
    step = step_of(subject)
    assert step.output.shape == (20, 3)
    assert step.loss.item() == pytest.approx(math.log(3), abs=0.1)
    optimizer = subject.original.optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["initial_lr"] == 1e-3
    assert subject.original.scheduler.optimizer is optimizer


def test_the_originals_stay_as_they_are(tmp_path: Path) -> None:
    subject = loaded(tmp_path, HEAD + OWN)
    before = {name: p.clone() for name, p in subject.original.model.named_parameters()}
    checked(subject, "initial-loss", "optimizer-coverage")
    after = dict(subject.original.model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {"labels", "input_ids"} <= set(Lab(subject, device="cpu").train_batches[0])


def test_the_schedule_has_the_length_of_the_training(tmp_path: Path) -> None:
    plan = loaded(tmp_path, HEAD + OWN).original.scheduler.lr_lambdas[0]
    assert plan(19) > 0 == plan(20)
    text = HEAD + "trainer = Own(model=bert(), **parts(args=arguments(max_steps=7, bf16=True)))"
    subject = loaded(tmp_path, text)
    assert subject.original.scheduler.lr_lambdas[0](7) == 0
    assert "full precision" in subject.notes[0]


def test_an_optimizer_and_label_smoothing_of_the_trainer(tmp_path: Path) -> None:
    text = """
model = bert()
opt = torch.optim.SGD(model.parameters(), lr=0.5)
trainer = Trainer(model=model, optimizers=(opt, None),
                  **parts(args=arguments(label_smoothing_factor=0.5)))
"""
    subject = loaded(tmp_path, HEAD + text)
    assert isinstance(subject.original.optimizer, torch.optim.SGD)
    assert step_of(subject).loss.item() > 0


def test_model_init_makes_new_models(tmp_path: Path) -> None:
    subject = loaded(tmp_path, HEAD + "trainer = Own(model_init=bert, **parts())")
    assert how(subject)["model"] == "made by model_init of `trainer`"
    lab = Lab(subject, device="cpu")
    first, again = (next(lab.rig(fresh=n).model.parameters()) for n in (1, 2))
    assert not torch.equal(first, again)
    assert isinstance(lab.rig(fresh=1).own_optimizer(), torch.optim.AdamW)


def test_which_trainer_is_said_or_asked_for(tmp_path: Path) -> None:
    text = HEAD + "a = Own(model=bert(), **parts())\nb = Own(model=bert(), **parts())\n"
    with pytest.raises(LoadError, match=r"more than one Trainer: `a` .*`b`"):
        loaded(tmp_path, text)
    assert how(loaded(tmp_path, text, suffix=":b"))["model"] == "the model of `b`"
    assert how(loaded(tmp_path, text, model="a"))["model"] == "the model of `a`"


def test_options_win_over_the_trainer(tmp_path: Path) -> None:
    text = HEAD + OWN + "few = DataLoader(ROWS[:40], batch_size=8)\n"
    text += "def loss_fn(output, labels): return F.cross_entropy(output.logits, labels)\n"
    text += "opt = torch.optim.SGD(trainer.model.parameters(), lr=0.5)\n"
    subject = loaded(tmp_path, text, data="few", loss="loss_fn", optimizer="opt")
    assert subject.training_step is None
    assert len(subject.loader.dataset) == 40
    assert isinstance(subject.original.optimizer, torch.optim.SGD)
    assert step_of(subject).loss.item() > 0


def test_a_collator_of_the_trainer_makes_the_batches(tmp_path: Path) -> None:
    text = """
def pad(rows):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.stack([F.pad(r["input_ids"], (0, longest - len(r["input_ids"]))) for r in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(),
            "labels": torch.stack([row["labels"] for row in rows])}
ragged = [{"input_ids": ids[: 5 + n % 8], "labels": label}
          for n, (ids, label) in enumerate(zip(IDS, LABELS))]
trainer = Trainer(model=bert(), data_collator=pad, **parts(train_dataset=ragged))
"""
    subject = loaded(tmp_path, HEAD + text)
    assert step_of(subject).output.shape == (20, 3)


GPT = """
start = torch.randint(0, 32, (300, 1), generator=draw)
text = (start + torch.randint(1, 4, (300, 1), generator=draw) * torch.arange(12)) % 32
rows = [{"input_ids": row, "labels": row} for row in text]
train_loader = DataLoader(rows, batch_size=20, shuffle=True)
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=32, n_layer=1, n_head=2, n_positions=12,
                                   bos_token_id=0, eos_token_id=0))
"""


def test_a_model_that_scores_itself_needs_no_trainer(tmp_path: Path) -> None:
    subject = loaded(tmp_path, HEAD + GPT)
    assert how(subject)["loss"] == "from its labels"
    found = checked(subject, "initial-loss", "loss-contract", "batch-dependency", "gradient-norms")
    assert {id: r.status for id, r in found.items()} == dict.fromkeys(found, Status.PASS)


SOUND = (
    "initial-loss",
    "loss-contract",
    "batch-dependency",
    "gradient-check",
    "optimizer-coverage",
)


def test_a_sound_trainer_passes(tmp_path: Path) -> None:
    found = checked(loaded(tmp_path, HEAD + OWN), *SOUND)
    assert {id: result.status for id, result in found.items()} == dict.fromkeys(SOUND, Status.PASS)


DETACHED = "hidden = model.bert(**inputs).pooler_output.detach()"
MISTAKES = {
    "loss-contract": (
        "loss = F.cross_entropy(outputs.logits, labels)",
        "loss = F.cross_entropy(outputs.logits.softmax(-1), labels)",
        "",
    ),
    "gradient-norms": (
        "outputs = model(**inputs)",
        DETACHED,
        "\n        outputs = type('Out', (), {'logits': model.classifier(hidden)})",
    ),
}


@pytest.mark.parametrize("id", MISTAKES)
def test_a_mistake_in_compute_loss_is_found_with_its_line(tmp_path: Path, id: str) -> None:
    right, line, rest = MISTAKES[id]
    text = (HEAD + OWN).replace(right, line + rest)
    result = checked(loaded(tmp_path, text), id)[id]
    assert result.status is Status.FAIL
    assert line_of(result, tmp_path) == line


def test_without_training_data_the_trainer_says_so(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="requires a train_dataset"):
        loaded(tmp_path, HEAD + "trainer = Own(model=bert(), args=arguments())")
