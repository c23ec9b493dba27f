"""The same verdicts on another device, and what is done where it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from recipe_check import tree
from recipe_check.errors import LoadError
from recipe_check.lab import Lab
from recipe_check.lazy import materialised
from recipe_check.loading import load
from recipe_check.machine import checked_device
from recipe_check.placement import run_with_room, settled
from recipe_check.plugins import build, check_classes, select
from recipe_check.request import LoadRequest
from recipe_check.runner import run_check
from recipe_check.subject import Parts, Subject
from recipe_check.surroundings import preserved
from tests.pretend_device import There, pretended

EXAMPLES = Path(__file__).parent.parent / "examples"
KINDS = check_classes()


def verdicts(file: Path, device: str) -> dict[str, tuple[str, str]]:
    """Status and line of every check of the default preset."""
    lab = materialised(Lab(load(LoadRequest(target=str(file), device=device)), device))
    found = {}
    for id in select(KINDS, [], [], "default"):
        with preserved():
            result = run_check(build(KINDS[id], {}), lab)
        place = result.verdict.location
        found[id] = (result.status.value, str(place and place.line))
    return found


PROGRAMS = ["digits_broken", "diabetes_broken", "char_broken"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_check_says_the_same_on_a_device_apart(name, monkeypatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    here = verdicts(EXAMPLES / f"{name}.py", "cpu")
    with pretended(monkeypatch) as device:
        assert verdicts(EXAMPLES / f"{name}.py", device) == here


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_check_says_the_same_on_a_gpu(name, monkeypatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    file = EXAMPLES / f"{name}.py"
    assert verdicts(file, "cuda") == verdicts(file, "cpu")


def test_the_pretended_device_refuses_what_a_gpu_refuses(monkeypatch) -> None:
    with pretended(monkeypatch) as device:
        there = torch.ones(3, 3, device=device)
        assert isinstance(there, There)
        assert (there @ there.T).sum().item() == 27
        for mixed in (lambda: there + torch.ones(3), lambda: there.index_select(0, torch.ones(1))):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert there[torch.tensor([0])].cpu().tolist() == [[1.0, 1.0, 1.0]]


class Placeless(nn.Module):
    """Its positions are made on the CPU, wherever its weights are."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(9, 8), nn.Embedding(4, 8)
        self.head = nn.Linear(8, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.token(x) + self.place(torch.arange(x.shape[1]))).mean(1)


class Hungry(nn.Linear):
    """Runs out of memory with more than `most` samples, in training perhaps with fewer."""

    most = 8
    most_training = 8

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > (self.most_training if torch.is_grad_enabled() else self.most):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(x)


def lab_of(model: nn.Module, batches: list, device: str = "auto") -> Lab:
    parts = Parts(model, nn.CrossEntropyLoss(), None, None)
    return Lab(Subject(name="test", original=parts, loader=batches), device)


def tokens() -> list:
    return [(torch.randint(9, (16, 4)), torch.randint(9, (16,))) for _ in range(3)]


def vectors(rows: int = 32) -> list:
    return [(torch.randn(rows, 4), torch.randint(3, (rows,))) for _ in range(3)]


def test_what_runs_on_the_cpu_only_is_checked_there(monkeypatch) -> None:
    with pretended(monkeypatch):
        lab = settled(lab_of(Placeless(), tokens()), "auto")
        assert lab.device.type == "cpu"
        (note,) = lab.subject.notes
        assert "checked on the CPU" in note
        assert "same device" in note
        assert lab.broken is None


@pytest.mark.parametrize("asked", ["lazy", "auto"])
def test_a_device_that_was_chosen_is_kept(asked, monkeypatch) -> None:
    with pretended(monkeypatch) as device:
        model = Placeless().to(device) if asked == "auto" else Placeless()
        lab = settled(lab_of(model, tokens(), asked), asked)
        assert lab.device.type == device
        assert "same device" in lab.broken.message
        assert lab.subject.notes == ()


def test_what_breaks_everywhere_is_said_in_the_words_of_the_cpu(monkeypatch) -> None:
    batches = [(torch.randn(16, 4), torch.full((16,), 3))]
    with pretended(monkeypatch):
        lab = settled(lab_of(nn.Linear(4, 3), batches), "auto")
    assert lab.device.type == "cpu"
    assert "Target 3 is out of bounds" in lab.broken.message
    assert lab.subject.notes == ()


def test_batches_shrink_until_a_step_fits(monkeypatch) -> None:
    with pretended(monkeypatch) as device:
        lab = settled(lab_of(Hungry(4, 3), vectors()), "auto")
        assert (lab.device.type, lab.rows) == (device, 8)
        assert [len(x) for x, _ in lab.train_batches + lab.held_batches] == [8, 8, 8]
        assert lab.sibling(1).rows == 8
    (note,) = lab.subject.notes
    assert "with 8 samples of each batch" in note
    assert "all 32" in note


def test_no_batch_is_small_enough(monkeypatch) -> None:
    monkeypatch.setattr(Hungry, "most_training", 0)
    with pretended(monkeypatch):
        lab = settled(lab_of(Hungry(4, 3), vectors(), "lazy"), "lazy")
        assert lab.rows is None
        assert "out of memory" in lab.broken.message


@pytest.mark.parametrize(("most", "status"), [(8, "pass"), (0, "error")])
def test_a_check_that_runs_out_of_memory_takes_fewer_samples(most, status, monkeypatch) -> None:
    monkeypatch.setattr(Hungry, "most_training", most)
    lab = lab_of(Hungry(4, 3), vectors(), "cpu")
    result = run_with_room(build(KINDS["gradient-norms"], {}), lab)
    assert result.status.value == status
    assert ("with 8 of 32 samples" in result.verdict.message) == bool(most)
    assert lab.rows is None


def test_packed_sequences_arrive_with_their_order(monkeypatch) -> None:
    packed = nn.utils.rnn.pack_sequence([torch.randn(2, 3), torch.randn(4, 3)], False)
    with pretended(monkeypatch) as device:
        (moved,) = tree.to_device([packed], torch.device(device))
        kinds = (
            moved.data.device.type,
            moved.sorted_indices.device.type,
            moved.batch_sizes.device.type,
        )
        assert kinds == (device, device, "cpu")


@pytest.mark.parametrize(
    ("name", "gpus", "words"),
    [
        ("gpu", 1, "knows none"),
        ("cuda:x", 1, "knows none"),
        ("mps", 1, "float64"),
        ("meta", 1, "no support"),
        ("cuda", 0, "no CUDA device"),
        ("cuda:2", 2, "sees 2 CUDA devices"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(name, gpus, words, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(LoadError, match=words):
        checked_device(name)


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1"])
def test_a_device_that_is_there_is_taken(name, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checked_device(name) == name
