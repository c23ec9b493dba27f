"""Scripts whose step cannot be taken out of them: run again under interventions, and judged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipe_check import Status
from recipe_check.checks._rerun_arms import TwoRuns, judge_two_runs
from recipe_check.checks._reruns import losses, take_turns
from recipe_check.errors import NotApplicable
from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.plugins import check_classes
from recipe_check.probes.rerun import Event, Reading, Recorded, Script
from recipe_check.probes.rerun_files import Scratch
from recipe_check.probes.rerun_process import MOST, run_again
from recipe_check.request import LoadRequest
from recipe_check.results import Result
from recipe_check.runner import run_check
from recipe_check.subject import Subject
from recipe_check.values import Location
from tests.loading.test_rerun_order import HEAD, MANUAL

CHECKS = check_classes()
DERIVED = """
opt = torch.optim.SGD(net.parameters(), lr={lr})
weights = list(net.parameters())
for epoch in range(20):
    for x, y in loader:
        loss = F.cross_entropy(net({x}), y)
        for p, g in zip(weights, torch.autograd.grad(loss, weights)):
            p.grad = g
        opt.step()
        torch.save(net.state_dict(), "best.pt")
        with open("log.txt", "a") as log:
            log.write(f"{{loss}}")
"""
DEAF = """
class Deaf(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        return self.body(torch.ones_like(x))
net = Deaf()
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Subject]:
    """`script(body)` → the captured Subject of a script in `tmp_path`."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    def captured(body: str) -> Subject:
        (tmp_path / "train.py").write_text(HEAD + body)
        return load(LoadRequest(target="train.py", capture=True))

    return captured


def checked(lab: Lab, *ids: str) -> dict[str, Result]:
    return {id: run_check(CHECKS[id](), lab) for id in ids}


def test_a_loop_by_hand_gets_verdicts(script: Callable[[str], Subject]) -> None:
    subject = script(MANUAL.replace("0.01", "0.1").replace("mlp().p", "net[0].p").replace(
        "W, b, V, c = weights", "V, c = mlp(16, 3)[3].weight, mlp(16, 3)[3].bias\n"
        "weights += [V, c]\nW, b = weights[:2]"))  # fmt: skip
    assert not subject.in_parts
    assert "without an optimizer.step()" in subject.notes[0]
    lab = Lab(subject, device="cpu")
    assert lab.broken is None
    found = checked(lab, "train-step", "overfit-one-batch", "dropout")
    assert found["train-step"].status is Status.PASS
    assert found["overfit-one-batch"].status is Status.PASS
    assert found["dropout"].status is Status.SKIP
    assert "only be observed" in found["dropout"].verdict.message


def test_derivatives_without_backward_get_verdicts_and_write_no_file(
    script: Callable[[str], Subject], tmp_path: Path
) -> None:
    for name in ("best.pt", "log.txt"):
        (tmp_path / name).write_text("kept")
    lab = Lab(script(DERIVED.format(lr=1e-5, x="x")), device="cpu")
    assert lab.subject.name == "Sequential"
    found = checked(lab, "overfit-one-batch", "gradient-norms", "optimizer-learns")
    assert found["overfit-one-batch"].status is Status.PASS  # with Adam: its own rate is too low
    assert found["gradient-norms"].status is Status.PASS
    assert found["optimizer-learns"].status is Status.WARN
    assert "net[0]" not in found["optimizer-learns"].verdict.message
    for name in ("best.pt", "log.txt"):
        assert (tmp_path / name).read_text() == "kept"


@pytest.mark.parametrize(
    ("body", "status"),
    [(DERIVED.format(lr=0.3, x="x"), Status.PASS), (DEAF + DERIVED.format(lr=0.3, x="x"),
                                                    Status.FAIL)],
    ids=["healthy", "deaf"],
)  # fmt: skip
def test_inputs_that_do_not_reach_the_loss(
    script: Callable[[str], Subject], body: str, status: Status
) -> None:
    lab = Lab(script(body), device="cpu")
    (result,) = checked(lab, "input-independent-baseline").values()
    assert result.status is status, result.verdict.message


def test_a_slip_of_a_captured_script_is_found_at_its_line(
    script: Callable[[str], Subject], tmp_path: Path
) -> None:
    """The helper hides the missing zero_grad from whoever reads the source."""
    body = """
def finish(optimizer):
    getattr(optimizer, "st" + "ep")()
for epoch in range(3):
    for x, y in loader:
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        finish(opt)
"""
    subject = script(body)
    assert subject.in_parts
    (result,) = checked(Lab(subject, device="cpu"), "train-step").values()
    assert result.status is Status.FAIL
    assert "zero_grad missing" in result.verdict.measured
    assert "loss.backward()" in result.verdict.location.source


def test_a_slow_script_is_not_run_again(lab_for: Any) -> None:
    lab = lab_for(None, ())
    slow = Script(target="train.py", seconds=MOST + 1)
    lab.subject = Subject("slow", lab.subject.original, (), rerun=slow)
    with pytest.raises(NotApplicable, match="to its first step"):
        run_again(lab)


def test_what_is_written_lands_in_the_scratch_folder(tmp_path: Path) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    (home / "old.txt").write_text("old")
    with Scratch(scratch, home).keeping():
        (home / "new.txt").write_text("new")
        with open(home / "old.txt", "a") as file:
            file.write("er")
        (home / "new.txt").rename(home / "newer.txt")
        (home / "old.txt").replace(home / "best.txt")
        read = (home / "newer.txt").read_text(), (home / "best.txt").read_text()
    assert read == ("new", "older")
    assert [path.name for path in home.iterdir()] == ["old.txt"]
    assert (home / "old.txt").read_text() == "old"


def curve(*values: float, line: str = "a") -> list[Reading]:
    return [Reading(step=n, line=line, value=value) for n, value in enumerate(values)]


def test_the_loss_of_a_step_sums_its_lines_and_leaves_out_rare_ones() -> None:
    readings = [*curve(*range(10)), *curve(*[0.5] * 10, line="b"), *curve(9, 9, line="rare")]
    assert losses(Recorded(readings=tuple(readings))) == tuple(n + 0.5 for n in range(10))
    with pytest.raises(NotApplicable, match="3 steps only"):
        losses(Recorded(readings=tuple(curve(1, 2, 3)), ended="time"))


def line(number: int) -> Location:
    return Location(file="train.py", line=number)


@pytest.mark.parametrize(("lines", "expected"), [((1, 2), True), ((1, 1), False)],
                         ids=["game", "two optimizers, one loss"])  # fmt: skip
def test_optimizers_that_take_turns(lines: tuple[int, int], expected: bool) -> None:
    events = [Event(kind=kind, place=line(at), held=(number,))
              for _ in range(3) for number, at in enumerate(lines)
              for kind in ("backward", "step")]  # fmt: skip
    assert take_turns(Recorded(events=tuple(events))) is expected


FALLING = tuple(2.0 * 0.95**n for n in range(40))


@pytest.mark.parametrize(
    ("zeros", "status"),
    [(tuple(2.0 for _ in FALLING), Status.PASS), (FALLING, Status.FAIL),
     (tuple(loss + 0.01 * (-1) ** n for n, loss in enumerate(FALLING)), Status.WARN)],
    ids=["better", "the same", "about the same"],
)  # fmt: skip
def test_how_two_runs_are_judged(zeros: tuple[float, ...], status: Status) -> None:
    verdict = judge_two_runs(TwoRuns(FALLING, zeros, with_adam=False))
    assert verdict.status is status
    assert (verdict.fix is None) is (status is Status.PASS)
