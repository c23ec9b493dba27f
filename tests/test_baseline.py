"""What was found before: baseline, comparison, and the checks that failed last time."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from recipe_check.baseline import Baseline, by_fingerprint
from recipe_check.diff_command import compare, lines
from recipe_check.results import Result, Suppression, Verdict
from recipe_check.run_report import Report, decode, encode
from recipe_check.values import Location, Status
from tests.commands import ONLY, command, fill
from tests.reports.sample import report_of

F, W, P, S, E = Status.FAIL, Status.WARN, Status.PASS, Status.SKIP, Status.ERROR
REASON = ("--reason", "found before there was a gate")
MEANT = Suppression(reason="by design, see the paper")


def result(id: str, status: Status, **more) -> Result:
    verdict = Verdict(status=status, message="m", location=Location(file="m.py", line=7))
    return Result(id=id, stage="data", title=id, verdict=verdict, fingerprint=f"of {id}", **more)


def report(*results: Result) -> Report:
    return msgspec.structs.replace(report_of(), results=results)


@pytest.mark.parametrize(
    ("before", "now", "hidden"),
    [(result("a", F), F, True), (result("a", F), W, True), (result("a", W), W, True),
     (result("a", W), F, False), (result("b", F), F, False), (result("a", P), F, False),
     (result("a", E), F, False), (result("a", F), E, False), (result("a", F), P, False),
     (result("a", F, suppressed=MEANT), F, False),
     (result("a", F, suppressed=Suppression(reason="old", baseline="x.json")), F, True)],
)  # fmt: skip
def test_a_baseline_hides_what_was_there_and_is_no_worse(before, now, hidden) -> None:
    known = by_fingerprint(report(before))
    (after,) = Baseline("b.json", "for now", known).hide([result("a", now)])
    assert (after.suppressed is not None) == hidden
    assert after.status is now


def test_a_baseline_is_written_with_its_reason_and_honoured(tmp_path: Path) -> None:
    fill(tmp_path)
    done = command(tmp_path, "train.py", *ONLY, "--write-baseline", "b.json", *REASON)
    assert done.code == 1
    saved = decode((tmp_path / "b.json").read_text())
    assert [r.id for r in saved.results] == ["planted"]
    assert (saved.reason, saved.layers) == (REASON[1], ())
    done = command(tmp_path, "train.py", *ONLY, "--baseline", "b.json", "--json", "r.json")
    assert done.code == 0, done.err
    assert f"suppressed planted: {REASON[1]} (in b.json)" in done.out
    hidden = decode((tmp_path / "r.json").read_text()).results[0].suppressed
    assert hidden.baseline == "b.json"


def test_a_baseline_of_what_a_baseline_hid_still_holds_it(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "a.json").write_text(encode(report()))
    words = ("train.py", *ONLY, "--baseline", "a.json", "--write-baseline", "a.json", *REASON)
    assert [command(tmp_path, *words).code for _ in range(2)] == [1, 0]
    (kept,) = decode((tmp_path / "a.json").read_text()).results
    assert (kept.id, kept.suppressed.baseline) == ("planted", "a.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--write-baseline", "b.json"], "needs a reason"),
        (["--write-baseline", "b.json", "--reason", "ok"], "at least 10 characters"),
        (["--reason", "found before"], "add  --write-baseline"),
        (["--baseline", "no.json"], "cannot read no.json"),
        (["--baseline", "train.py"], "no result of recipe-check"),
        (["--write-baseline", "no/b.json", *REASON], "no folder no"),
    ],
)
def test_what_a_baseline_refuses(tmp_path: Path, words, message) -> None:
    fill(tmp_path)
    done = command(tmp_path, "train.py", *words)
    assert done.code == 2
    assert message in done.err


def test_a_comparison_tells_new_fixed_and_still_there() -> None:
    before = report(*(result(id, F) for id in "abcd"), result("e", W), result("f", F))
    after = report(result("a", F), result("b", P), result("c", S), result("d", F, suppressed=MEANT),
                   result("e", F), result("g", W))  # fmt: skip
    found = compare(before, after)
    groups = (found.new, found.still, found.fixed, found.uncounted)
    assert [[r.id for r in group] for group in groups] == [["e", "g"], ["a"], ["b"], list("cdf")]
    assert found.exit_code == 1
    assert lines(found)[0] == "new          fail[e] m.py:7: m"
    assert lines(found)[-1] == "2 new, 1 still there, 1 fixed, 3 not counted"


def test_diff_fails_on_new_failures_only(tmp_path: Path) -> None:
    for name, results in {
        "none": [],
        "warned": [result("a", W)],
        "failed": [result("a", F)],
    }.items():
        (tmp_path / name).write_text(encode(report(*results)))
    assert command(tmp_path, "diff", "none", "warned").code == 0
    assert command(tmp_path, "diff", "failed", "none").code == 0
    done = command(tmp_path, "diff", "warned", "failed")
    assert (done.code, done.out.splitlines()[-1]) == (1, "1 new, 0 still there, 0 fixed")
    assert command(tmp_path, "diff", "none", "nowhere").code == 2


def test_only_what_failed_last_time(tmp_path: Path) -> None:
    fill(tmp_path)
    words = ("train.py", "--plugin", "planted.py", "--no-html", "--json", "r.json",
             "--only", "planted,batch-contract")  # fmt: skip

    def ran(*more: str) -> list[str]:
        command(tmp_path, *words, *more)
        return [r.id for r in decode((tmp_path / "r.json").read_text()).results]

    assert set(ran("--lf")) == {"planted", "batch-contract"}
    assert ran("--lf") == ["planted"]
    done = command(tmp_path, "train.py", "--lf", "--only", "batch-contract", "--no-html")
    assert done.code == 2
    assert "no check is left" in done.err
    cache = tmp_path / ".recipe-check-cache"
    assert (cache / ".gitignore").read_text() == "*\n"
    assert list(json.loads((cache / "last.json").read_text()).values()) == [["planted"]]


def test_a_cache_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / ".recipe-check-cache").mkdir()
    (tmp_path / ".recipe-check-cache" / "last.json").write_text("{")
    done = command(tmp_path, "train.py", *ONLY, "--lf")
    assert done.code == 1
    assert "no check failed last time" in done.err
