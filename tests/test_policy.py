"""Exit codes and root causes, from plain results."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from recipe_check import Cause, CauseState, Location, Result, Status, Verdict
from recipe_check.policy import Decision, budget_note, decide, roots, suppressed
from recipe_check.results import Suppression
from recipe_check.run_report import DeclaredSuppression


def result(id: str, status: Status, explained_by: str = "", line: int = 0, **more) -> Result:
    causes = (Cause(title="c", state=CauseState.MATCHES, check=explained_by),)
    return Result(
        id=id,
        stage="skeleton",
        title=id,
        verdict=Verdict(
            status=status,
            message="m",
            causes=causes if explained_by else (),
            location=Location(file="m.py", line=line) if line else None,
        ),
        **more,
    )


F, W, P, S, E = Status.FAIL, Status.WARN, Status.PASS, Status.SKIP, Status.ERROR


@pytest.mark.parametrize(
    ("statuses", "fail_on", "code"),
    [
        ([P, S], "error", 0), ([P, W], "error", 0), ([P, W], "warning", 1), ([P, F], "error", 1),
        ([F], "never", 0), ([P, E], "error", 4), ([F, E], "error", 1), ([S], "error", 5),
        ([], "error", 5),
    ],
)  # fmt: skip
def test_exit_codes(statuses, fail_on, code) -> None:
    results = [result(str(i), status) for i, status in enumerate(statuses)]
    assert decide(results, fail_on).exit_code == code
    assert decide(results, fail_on, interrupted=True).exit_code == 130


def test_a_suppressed_failure_does_not_count() -> None:
    hidden = result("a", F, suppressed=Suppression(reason="by design, see the paper"))
    assert decide([hidden, result("b", P)], "error").exit_code == 0
    assert roots([hidden]) == ()


@pytest.mark.parametrize(("expires", "code"), [(None, 0), ("2026-12-01", 0), ("2026-11-01", 1)])
def test_a_declared_suppression_counts_until_it_expires(expires, code) -> None:
    declared = DeclaredSuppression(
        check="a", suppression=Suppression(reason="by design, see the paper", expires=expires)
    )
    results = suppressed([result("a", F), result("b", P)], [declared], date(2026, 11, 21))
    assert decide(results, "error").exit_code == code
    assert results[0].status is F


def test_findings_stand_under_what_explains_them_most_first() -> None:
    found = roots([
        result("lonely", F),
        result("leak", F, line=22),
        result("fit", F, explained_by="leak"),
        result("baseline", F, explained_by="fit"),
        result("minor", W),
    ])  # fmt: skip
    assert [(r.check, r.explains) for r in found] == [
        ("leak", ("leak", "fit", "baseline")),
        ("lonely", ("lonely",)),
        ("minor", ("minor",)),
    ]


def test_two_findings_at_one_line_are_one_root_and_circles_end() -> None:
    same = roots([result("first", F, line=7), result("second", F, line=7)])
    assert [(r.check, r.explains) for r in same] == [("first", ("first", "second"))]
    circle = roots([result("a", F, explained_by="b"), result("b", F, explained_by="a")])
    assert {id for root in circle for id in root.explains} == {"a", "b"}


def test_a_budget_that_left_checks_out_is_an_outcome_of_its_own() -> None:
    late = msgspec.structs.replace(
        result("late", S), verdict=Verdict(status=S, message="out of time (budget 2 s): …")
    )
    done, bad = result("a", P), result("b", F)
    assert decide([done, late], "error") == Decision("budget-exceeded", 0)
    assert decide([bad, late], "error") == Decision("failed", 1)
    assert decide([late], "error") == Decision("empty", 5)
    assert budget_note([done], 2.0) == ()
    assert budget_note([done, late], 2.0) == (
        "budget-exceeded: 1 check not run within 2 s (late); raise --budget",
    )
