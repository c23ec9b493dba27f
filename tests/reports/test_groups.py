"""Checks that stop at one error are one finding; root causes are named by the cause."""

from __future__ import annotations

import re

import msgspec
import pytest

from recipe_check.details import Bars
from recipe_check.reports._groups import shown
from recipe_check.reports._roots import explained, failing, firsts
from recipe_check.reports._tables import alt
from recipe_check.reports.concise import ConciseReport
from recipe_check.reports.github import GithubReport
from recipe_check.reports.html import HtmlReport
from recipe_check.reports.junit import JUnitReport
from recipe_check.reports.markdown import MarkdownReport
from recipe_check.reports.terminal import Style, findings, footer, header, line
from recipe_check.results import Root, Verdict
from recipe_check.run_report import Found, Report, decode, encode
from recipe_check.values import Cause, CauseState, Fix, Location, Status
from tests.reports.sample import report_of, sample_report

PLACE = Location(file="model.py", line=7, source="    raise ValueError(x)")
SAID = "your code raised at model.py:7 while this check ran: ValueError: full"
STOPPED = Verdict(status=Status.ERROR, message=SAID, location=PLACE)
FAILED = Verdict(status=Status.FAIL, message="bad")


def broken(*verdicts: Verdict) -> Report:
    return report_of(*verdicts, outcome="broken")


def test_checks_that_stopped_at_the_same_error_are_one_finding() -> None:
    other = msgspec.structs.replace(STOPPED, message=SAID.replace("full", "empty"))
    elsewhere = msgspec.structs.replace(STOPPED, location=Location(file="model.py", line=8))
    report = broken(STOPPED, FAILED, other, STOPPED, elsewhere, STOPPED)
    ids = [result.id for result in report.results]
    found = shown(report.results)
    assert [one.ids for one in found] == [
        (ids[1],), (ids[0], ids[3], ids[5]), (ids[2],), (ids[4],),
    ]  # fmt: skip
    group = found[1].result
    assert group.title == "3 checks stopped at the same error"
    assert group.verdict.message == SAID.replace("this check ran", "they ran")
    assert decode(encode(report)).counts["error"] == 5  # each stands in the JSON


def test_the_texts_say_it_once_and_name_every_check() -> None:
    report = broken(STOPPED, STOPPED, STOPPED)
    ids = [result.id for result in report.results]
    (block,) = [text for _, text in findings(report.results, Style())]
    assert block.splitlines()[0] == "broken: 3 checks stopped at the same error"
    (annotation,) = GithubReport().render(report).splitlines()
    assert "3 checks stopped at the same error" in annotation
    (row,) = [text for text in MarkdownReport().render(report).splitlines() if "broke |" in text]
    for text in (block, annotation, row):
        assert all(id in text for id in ids)
    assert JUnitReport().render(report).count("<error ") == 3
    assert ConciseReport().render(report).count(" error: ") == 3


def test_the_page_has_one_card_to_which_every_check_leads() -> None:
    report = broken(STOPPED, STOPPED, STOPPED)
    page = HtmlReport().render(report)
    assert page.count("<article") == 1
    assert "Your code raised at model.py:7 while they ran." in page
    for result in report.results:
        assert len(re.findall(rf'id="c-{result.id}"', page)) == 1
        assert f'href="#c-{result.id}"' in page
    (command,) = re.findall(r'aria-label="Command"><code>(recipe-check run [^<]*)', page)[:1]
    assert ",".join(result.id for result in report.results) in command


def caused(*causes: Cause, fix: Fix | None = None, location: Location | None = None) -> Verdict:
    return Verdict(status=Status.FAIL, message="bad", causes=causes, fix=fix, location=location)


def rooted(*verdicts: Verdict) -> Report:
    report = report_of(*verdicts, outcome="failed")
    roots = tuple(Root(title=r.title, check=r.id, explains=(r.id,), text="Mend it.",
                       location=r.verdict.location) for r in report.results)  # fmt: skip
    return msgspec.structs.replace(report, roots=roots)


def test_a_root_is_named_by_its_own_confirmed_cause() -> None:
    own = Cause(title="the axis moved", state=CauseState.MATCHES)
    others = (Cause(title="excluded", state=CauseState.RULED_OUT),
              Cause(title="of another", state=CauseState.MATCHES, check="dropout"))  # fmt: skip
    report = rooted(caused(*others, own), caused(*others))
    with_cause, without = firsts(report)
    assert (with_cause.title, with_cause.effect) == ("the axis moved", report.results[0].title)
    assert (without.title, without.effect) == (report.results[1].title, "")
    assert explained(report, failing(report)) == "they explain 2 of 2 findings"


def test_what_to_fix_first_stands_in_each_text_and_as_a_diff_on_the_page() -> None:
    cause = Cause(title="the axis moved", state=CauseState.MATCHES)
    fix = Fix(text="leave it", remove=("    x = x.T",), add=("    x = x",))
    report = rooted(caused(cause, fix=fix, location=PLACE))
    lines = footer(report, None, Style()).splitlines()
    assert lines[:2] == ["Fix first (it explains 1 of 1 finding):",
                         "  1. model.py:7  the axis moved"]  # fmt: skip
    first = HtmlReport().render(report).split('id="ff"')[1].split("</section>")[0]
    assert "The axis moved" in first
    assert '<span class="add">+     x = x</span>' in first
    assert "model.py:7` the axis moved: Mend it." in MarkdownReport().render(report)


def test_what_an_earlier_finding_says_of_the_line_is_not_said_again() -> None:
    fix = Fix(text="leave it", remove=("    x = x.T",), add=("    x = x",))
    report = rooted(*(caused(fix=fix, location=PLACE) for _ in range(2)))
    first, second = [text for _, text in findings(report.results, Style())]
    assert "leave it" in first
    assert f"= help: as for {report.results[0].id} above" in second
    assert "+ x = x" not in second
    assert "raise ValueError" not in second


def test_causes_that_are_ruled_out_are_named_up_to_a_few() -> None:
    causes = [Cause(title=f"cause {n}", state=CauseState.RULED_OUT) for n in range(9)]
    (block,) = [text for _, text in findings(rooted(caused(*causes)).results, Style())]
    assert "cause 3; and 5 more" in block
    page = HtmlReport().render(rooted(caused(*causes)))
    assert "Ruled out: 9 causes" in page
    assert all(f"Cause {n}" in page or f"cause {n}" in page for n in range(9))


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_terminal_is_used_and_not_overrun(columns: int) -> None:
    style = Style(columns=columns)
    long = "the loss of every one of the samples in the batch is one and the same"
    report = rooted(caused(Cause(title=long, state=CauseState.MATCHES)))
    found = Found(role="data", summary="DataLoader (1,437 samples, batch 64)",
                  how="by its name `train_dataloader`")  # fmt: skip
    target = msgspec.structs.replace(report.target, found=(found,))
    verdict = Verdict(status=Status.PASS, message=long, measured=long)
    result = msgspec.structs.replace(report.results[0], verdict=verdict)
    texts = [header("recipe-check", 0, target, style), line(result, style)]
    texts += [text for _, text in findings(report.results, style)]
    texts.append(footer(report, None, style))
    lines = [text for block in texts for text in block.splitlines() if "rerun" not in text]
    assert max(map(len, lines)) <= columns
    assert (long in line(result, style)) == (columns == 140)


def test_the_source_line_is_cut_behind_its_mark_only() -> None:
    source = "    y = f(x)  # " + "a long remark " * 9
    place = Location(file="m.py", line=7, column=9, end_column=13, source=source)
    (block,) = [t for _, t in findings(rooted(caused(location=place)).results, Style(columns=80))]
    assert len(block.splitlines()[3]) == 80
    assert block.splitlines()[3].endswith("…")
    wide = msgspec.structs.replace(place, end_column=140)
    (block,) = [t for _, t in findings(rooted(caused(location=wide)).results, Style(columns=80))]
    assert source.strip() in block


def test_a_picture_says_what_it_is_evidence_of() -> None:
    bars = Bars(title="Norms", value_label="norm", names=("a",), values=(0.5,))
    assert alt(bars, "no gradient reaches a.") == (
        "No gradient reaches a. Chart: Norms. 1 item from 0.5 to 0.5."
    )
    assert alt(bars) == "Chart: Norms. 1 item from 0.5 to 0.5."
    page = HtmlReport().render(sample_report())
    message = sample_report().results[0].verdict.message
    assert f'alt="{message[:1].upper()}{message[1:]}. Heat map: ' in page
