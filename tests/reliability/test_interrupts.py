"""Ctrl-C, the budget and deaths in a row: a partial result that says what was not run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from recipe_check.child import WorkerDied
from recipe_check.engine import Engine
from recipe_check.request import LoadRequest
from recipe_check.results import Cost, Result, Verdict
from recipe_check.runner import as_result
from recipe_check.values import Status, to_plain
from tests.reliability.running import jobs_for

IDS = ("initial-loss", "dead-relu", "gradient-norms", "gradient-check", "linearity")


@dataclass
class Scripted:
    """Answers in the place of a worker."""

    act: Callable[[str, Any], Any]
    process: object = "running"

    def ask(self, name: str, value: Any, _seconds: float, _tick: Any) -> Any:
        return self.act(name, value)

    def stop(self) -> None:
        self.process = None


def passed(_: str, value: Any) -> Any:
    """Of a check; what is not asked about one has no answer."""
    if value is None:
        return {}
    (job,) = jobs_for([value["id"]])
    verdict = Verdict(status=Status.PASS, message="fine")
    return to_plain(as_result(job.check, verdict, cost=Cost(forward=1)))


def run(act: Callable[[str, Any], Any], **options: Any) -> tuple[Engine, dict[str, Result]]:
    with Engine(LoadRequest(target="none.py"), **options) as engine:
        engine._worker = Scripted(act)  # type: ignore[assignment]
        found = {result.id: result for result in engine.run(jobs_for(IDS))}
        engine.summary()
    return engine, found


def test_ctrl_c_keeps_what_was_found_and_lists_the_rest() -> None:
    def act(name: str, value: Any) -> Any:
        if value["id"] == IDS[2]:
            raise KeyboardInterrupt
        return passed(name, value)

    engine, found = run(act)
    assert engine.interrupted
    assert list(found) == list(IDS)
    assert [found[id].status for id in IDS[:2]] == [Status.PASS] * 2
    assert {found[id].verdict.message for id in IDS[2:]} == {"interrupted"}
    assert {found[id].status for id in IDS[2:]} == {Status.SKIP}


def test_ctrl_c_after_the_last_check_costs_no_result() -> None:
    def act(name: str, value: Any) -> Any:
        if name == "summary":
            raise KeyboardInterrupt
        return passed(name, value)

    engine, found = run(act)
    assert engine.interrupted
    assert {result.status for result in found.values()} == {Status.PASS}


def test_what_the_budget_leaves_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([5.0, 5.0, 5.0, 5.0, -1.0])
    monkeypatch.setattr(Engine, "left", property(lambda _: next(left)))
    _, found = run(passed, budget=7.0)
    assert [found[id].status for id in IDS] == [Status.PASS] * 2 + [Status.SKIP] * 3
    assert found[IDS[2]].verdict.message == "out of time (budget 7 s): raise --budget"


def test_after_three_deaths_in_a_row_the_rest_is_not_tried() -> None:
    def act(_name: str, _value: Any) -> Any:
        raise WorkerDied("the process died with SIGSEGV")

    _, found = run(act)
    assert [found[id].status for id in IDS] == [Status.ERROR] * 3 + [Status.SKIP] * 2
    assert "died 3 times in a row" in found[IDS[4]].verdict.message
