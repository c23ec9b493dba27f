"""The speed benchmark, on the smallest of everything, and its script for a machine with a GPU."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch

from benchmarks import (
    gpu_parity,
    speed_batches,
    speed_gradients,
    speed_growth,
    speed_models,
    speed_preset,
)
from benchmarks.speed import RESULTS, SECTIONS, replaced
from benchmarks.speed_nets import GPT, Basic, Bottleneck, ResNet
from benchmarks.speed_timing import alternate, cpu_time, exponent, ratio, table
from recipe_check.values import Status
from tests.commands import TRAIN

ROOT = Path(__file__).parent.parent


def test_a_section_is_a_table_of_its_sizes() -> None:
    text = speed_batches.section(sizes=(4, 8), repeats=1)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| 4", "| 8"]
    assert text.startswith("## ")


def test_the_same_gradients_are_checked_both_ways() -> None:
    setup = speed_models.make("MLP, 2 layers")
    loss, values = speed_gradients.loss_of(setup)
    assert torch.autograd.gradcheck(loss, values, fast_mode=True)
    assert "| MLP, 2 layers | 874 |" in speed_gradients.section(["MLP, 2 layers"], repeats=1)


def test_the_other_tool_is_asked_the_same() -> None:
    pytest.importorskip("torchtest2")
    from benchmarks.speed_torchtest2 import PAIRS, compare

    row = compare("MLP, 2 layers", repeats=1)
    assert set(row.checks) == set(PAIRS)
    assert row.ours > 0
    assert row.theirs > 0


@pytest.mark.parametrize("name", speed_models.ON_A_CPU)
def test_every_model_takes_a_step(name: str) -> None:
    setup = speed_models.make(name)
    before = [p.detach().clone() for p in setup.model.parameters()]
    setup.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, setup.model.parameters(), strict=True))


def test_the_models_are_what_they_are_called() -> None:
    with torch.device("meta"):
        made = {
            11_689_512: ResNet(Basic, (2, 2, 2, 2), 1000),
            25_557_032: ResNet(Bottleneck, (3, 4, 6, 3), 1000),
            124_439_808: GPT(50257, 1024, 768, 12, 12),
        }
    for parameters, model in made.items():
        assert sum(p.numel() for p in model.parameters()) == parameters


def test_what_is_compared_runs_in_turn_and_the_first_round_warms_up() -> None:
    order: list[str] = []
    times = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert set(times) == {"a", "b"}


def test_the_arithmetic() -> None:
    assert exponent([1, 10, 100], [2, 200, 20_000]) == pytest.approx(2)
    assert [ratio(1, 4), ratio(6, 1), ratio(2000, 1)] == ["0.25 x", "6 x", "2,000 x"]
    assert table(("a", "b"), [(1, 2)]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"


def test_growth_is_drawn_with_its_exponents(tmp_path: Path) -> None:
    picture = tmp_path / "growth.svg"
    text = speed_growth.section(batches=(4, 8), widths=(8, 16), picture=picture)
    assert text.count("| one training step |") == 2
    assert text.count("| all checks |") == 2
    svg = picture.read_text()
    assert svg.startswith("<?xml")
    assert "<dc:date>" not in svg


def test_in_the_block_the_clock_is_cpu_time() -> None:
    with cpu_time():
        start = time.perf_counter()
        time.sleep(0.2)
        assert time.perf_counter() - start < 0.1
    assert time.perf_counter is not time.process_time


def test_peak_memory_is_told_beside_a_plain_step() -> None:
    plain = speed_preset.peak_of_a_step("MLP, 2 layers")
    assert 50_000_000 < plain < 2**40  # torch alone takes more than the one


def test_a_section_made_again_takes_the_place_of_the_old_one() -> None:
    first = replaced("", {"x": "## X\n\n1\n", "y": "## Y\n\n2\n"})
    again = replaced(first, {"x": "## X\n\n3\n"})
    assert again == first.replace("1\n", "3\n")
    assert replaced(RESULTS.read_text(), {}) == RESULTS.read_text()


def test_every_section_has_a_module() -> None:
    assert all((ROOT / "benchmarks" / f"speed_{name}.py").is_file() for name in SECTIONS)


def test_two_devices_are_compared_check_by_check(tmp_path: Path, capsys) -> None:
    program = tmp_path / "corpus" / "program.py"
    program.parent.mkdir()
    program.write_text(TRAIN)
    here = gpu_parity.checked(program, "cpu", "--only", "initial-loss,gradient-norms")
    first = here.results[0]
    changed = msgspec.structs.replace(first.verdict, status=Status.FAIL, message="not so")
    other = (msgspec.structs.replace(first, verdict=changed), *here.results[1:])
    (line,) = gpu_parity.differences(here, msgspec.structs.replace(here, results=other))
    assert line.startswith("initial-loss: pass")
    assert line.endswith("fail (not so)")
    assert gpu_parity.differences(here, None) == ["loads on one of them only"]
    assert gpu_parity.compare([program], "cpu", "auto", "--only", "initial-loss") == 0
    assert "1 programs on cpu and auto: 0 differ" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["gpu", "gpu_parity"])
def test_without_a_gpu_the_script_says_so(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no GPU")
