"""A step of the user's that ends, blocks or floods the process costs one result."""

from __future__ import annotations

from recipe_check.values import Status
from tests.reliability.running import faulty


def test_a_killed_crashed_or_left_process_costs_one_result() -> None:
    ids = ("forward-kill", "fine-0", "forward-segfault", "fine-1", "forward-orphan", "fine-2")
    found = faulty(*ids)
    assert list(found) == list(ids)
    assert "died with SIGKILL" in found["forward-kill"].verdict.message
    assert "died with SIGSEGV" in found["forward-segfault"].verdict.message
    assert "died with exit code 7" in found["forward-orphan"].verdict.message
    said = {found[f"fine-{number}"].verdict.message for number in range(3)}
    assert len(said) == 1  # the same loss in every process
    assert {found[f"fine-{number}"].status for number in range(3)} == {Status.PASS}


def test_a_step_or_loader_that_hangs_is_stopped_even_inside_c() -> None:
    found = faulty(
        "forward-hang", "fine-0", "forward-hang_in_c", "fine-1", "loader-hang", timeout=4
    )
    for id in ("forward-hang", "forward-hang_in_c", "loader-hang"):
        assert found[id].status is Status.ERROR
        assert "took longer than 4 s and was stopped" in found[id].verdict.message
    assert found["fine-0"].status is found["fine-1"].status is Status.PASS


def test_exceptions_that_are_no_errors_name_the_users_line() -> None:
    names = {"interrupt": "KeyboardInterrupt", "exit": "SystemExit: 3", "ending": "Ending: the end"}
    found = faulty(
        "forward-interrupt", "forward-exit", "forward-ending", "loss-interrupt", "loss-exit",
        "loader-interrupt", "loader-exit", "forward-recurse", "fine-0",
    )  # fmt: skip
    assert found.pop("fine-0").status is Status.PASS
    assert "RecursionError" in found["forward-recurse"].verdict.message
    for id, result in found.items():
        assert result.status is Status.ERROR
        assert "your code raised at tests/reliability/faulty.py:" in result.verdict.message
        assert names.get(id.partition("-")[2], "") in result.verdict.message


def test_a_fork_closed_streams_and_a_flood_of_output_change_nothing() -> None:
    found = faulty("forward-fork", "forward-close", "forward-shout", "fine-0")
    assert {result.verdict.message for result in found.values()} == {
        found["fine-0"].verdict.message
    }
    assert {result.status for result in found.values()} == {Status.PASS}


def test_a_dead_process_of_a_loader_is_told() -> None:
    found = faulty("data-leave", "fine-0")
    assert "DataLoader worker" in found["data-leave"].verdict.message
    assert found["fine-0"].status is Status.PASS


def test_memory_without_end_stops_at_the_limit_and_names_the_line() -> None:
    found = faulty("forward-allocate", "fine-0", memory_limit=3.0)
    said = found["forward-allocate"].verdict.message
    assert "your code raised at tests/reliability/faulty.py:" in said
    assert "(the worker process may take 3 GB: --memory-limit)" in said
    assert found["fine-0"].status is Status.PASS
