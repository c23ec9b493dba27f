"""The detection benchmark, on one bug, its twin and one sound program."""

from __future__ import annotations

import re

from benchmarks.detection import ANSWERS, CORPUS, run, table
from recipe_check.plugins import check_classes


def test_a_bug_is_detected_and_its_twin_is_not() -> None:
    bug = "A01_view_mixes.py"
    programs = [CORPUS / "bugs" / bug, CORPUS / "twins" / bug, CORPUS / "sound" / "huber.py"]
    found = run(programs, jobs=2)
    assert "batch-dependency" in found[0].failed
    assert found[0].right_line
    assert [o.exit_code for o in found] == [1, 0, 0]
    assert not any(o.failed or o.broke for o in found[1:])
    text = table(found)
    for measure in ("detected (fail or warn)", "by the right check", "with the right cause"):
        assert f"| {measure} | 1 of 1 (100%) | 1 of 1 (100%) |" in text
    assert "| false `fail` | 0 of 2 (0%) |" in text


def test_every_bug_has_an_answer_that_names_checks_there_are() -> None:
    known = set(check_classes())
    assert set(ANSWERS) == {bug.stem for bug in (CORPUS / "bugs").glob("*.py")}
    for answer in ANSWERS.values():
        assert set(answer["checks"]) <= known
        re.compile(answer["cause"])


def test_every_bug_has_a_marked_line_and_a_twin_that_differs() -> None:
    for bug in (CORPUS / "bugs").glob("*.py"):
        twin = CORPUS / "twins" / bug.name
        assert "# BUG" in bug.read_text()
        assert "# BUG" not in twin.read_text()
        assert bug.read_text() != twin.read_text()
