"""What a run cost: measured in the worker, in training steps; the slowest checks; the trace."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from recipe_check.expense import REPEATS, measure_expense, peak_memory
from recipe_check.reports._costs import cost_words, duration, passes, slowest
from recipe_check.results import Cost
from recipe_check.run_report import decode, encode
from tests.commands import command, fill
from tests.nets import MLP, class_batches, made
from tests.reports.sample import sample_report
from tests.test_worker import PLUGIN

FEW = ("--only", "initial-loss,gradient-check", "--no-html")


class Slow(nn.Module):
    """Sleeps in every pass and counts them."""

    calls = 0

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.layer = seconds, nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Slow.calls += 1
        time.sleep(self.seconds)
        return self.layer(x)


@pytest.mark.parametrize(("seconds", "steps"), [(0.01, REPEATS + 1), (1.1, 2)])
def test_a_step_is_timed_within_the_bound(lab_for, seconds: float, steps: int) -> None:
    lab = lab_for(Slow(seconds), class_batches(), nn.CrossEntropyLoss())
    Slow.calls = 0
    found = measure_expense(lab)
    assert Slow.calls == steps
    assert found.step_seconds is not None
    assert 0.99 * seconds <= found.step_seconds < seconds + 0.3  # other processes take their share
    assert found.peak_memory_bytes is not None
    assert found.peak_memory_bytes > 50_000_000  # torch alone takes more


def test_the_step_leaves_the_model_and_the_generators_alone(lab_for) -> None:
    model = made(MLP)
    before = [p.clone() for p in model.parameters()], torch.get_rng_state()
    measure_expense(lab_for(model, class_batches(), nn.CrossEntropyLoss()))
    assert all(torch.equal(a, b) for a, b in zip(before[0], model.parameters(), strict=True))
    assert torch.equal(before[1], torch.get_rng_state())


def test_a_step_that_does_not_run_has_no_seconds(lab_for) -> None:
    found = measure_expense(lab_for(nn.Linear(5, 3), class_batches(), nn.CrossEntropyLoss()))
    assert found.step_seconds is None
    assert found.peak_memory_bytes == pytest.approx(peak_memory(torch.device("cpu")), rel=0.1)


def test_a_run_says_what_it_cost(tmp_path: Path) -> None:
    done = command(fill(tmp_path), "train.py", *FEW, "--json", "r.json", "--durations", "1")
    report = decode((tmp_path / "r.json").read_text())
    run, spent = report.run, sum(result.cost.seconds for result in report.results)
    assert run.step_seconds is not None
    assert 1e-5 < run.step_seconds < 1
    assert run.step_equivalents == pytest.approx(spent / run.step_seconds, rel=0.01)
    lines = done.out.splitlines()
    at = lines.index("slowest 1 of 2 checks:")
    assert re.search(r"s  (initial-loss|gradient-check) +\d+ forward", lines[at + 1])
    assert lines[-2] == f"cost: {cost_words(run)}".replace("µ", "u")  # a StringIO is no UTF-8
    assert "cost: " not in command(tmp_path, "train.py", *FEW, "--quiet").out


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_the_profile_is_a_trace_of_every_check(tmp_path: Path, name: str) -> None:
    done = command(fill(tmp_path), "train.py", *FEW, "--profile", name)
    assert done.code == 0, done.err
    data = (tmp_path / name).read_bytes()
    text = gzip.decompress(data) if name.endswith("gz") else data
    events = json.loads(text)["traceEvents"]
    assert tempfile.gettempdir().encode() not in text
    assert b'"host_name": ""' in text
    names = {event.get("name") for event in events}
    assert {"check initial-loss", "check gradient-check", "aten::addmm"} <= names


def test_a_profile_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    done = command(fill(tmp_path), "train.py", *FEW, "--profile", "no/folder/trace.json")
    assert done.code == 2
    assert "no folder" in done.err


def test_a_worker_that_died_leaves_no_profile_and_no_old_one(tmp_path: Path) -> None:
    (fill(tmp_path) / "faults.py").write_text(PLUGIN)
    (tmp_path / "t.json").write_text("old")
    done = command(tmp_path, "train.py", "--no-html", "--plugin", "faults.py", "--only", "c-leaves",
                   "--profile", "t.json", "--json", "r.json")  # fmt: skip
    assert "note: no t.json" in done.err
    assert not (tmp_path / "t.json").exists()
    assert decode((tmp_path / "r.json").read_text()).run.step_seconds is None


def test_a_result_without_costs_is_still_read() -> None:
    plain = json.loads(encode(sample_report()))
    for name in ("step_seconds", "step_equivalents", "peak_memory_bytes"):
        del plain["run"][name]
    run = decode(json.dumps(plain)).run
    assert run.step_seconds is run.step_equivalents is run.peak_memory_bytes is None
    assert cost_words(run) == ""


def test_the_words() -> None:
    report = sample_report()
    assert cost_words(report.run) == "1.2 s = 310 training steps of 3.9 ms, 412 MB at most"
    assert passes(Cost(forward=3, steps=2)) == "3 forward, 2 steps"
    assert slowest(report.results, 1) == (
        f"slowest 1 of {len(report.results)} checks:\n"
        "     0.61 s  batch-dependency             3 forward"
    )
    assert [duration(s) for s in (312.4, 1.21, 0.0039, 0.000_084, 2e-8)] == [
        "312 s", "1.2 s", "3.9 ms", "84 µs", "0.02 µs",
    ]  # fmt: skip
