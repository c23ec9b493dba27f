"""What stands where on the page, that a megabyte is enough, and that a link opens what it names."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from recipe_check.details import Table
from recipe_check.reports._limits import MOST_BYTES
from recipe_check.reports._svg import compact
from recipe_check.reports.html import HtmlReport
from recipe_check.results import Root, Verdict
from recipe_check.run_report import Layer, Report
from recipe_check.values import Cause, CauseState, Fix, Location, Status
from tests.reports.browser import browse, needs_browser
from tests.reports.sample import every_detail, report_of, sample_report


@pytest.fixture(scope="module")
def page() -> str:
    return HtmlReport().render(sample_report())


def section(page: str, id: str) -> str:
    """The section that is labelled by the heading of that id."""
    found = re.search(rf'<section aria-labelledby="{id}">.*?</section>', page, re.DOTALL)
    assert found is not None, id
    return found[0]


def test_the_table_is_grouped_by_stage_with_findings_first(page: str) -> None:
    table = section(page, "all")
    stages = re.findall(r'scope="rowgroup" colspan="5">([^<]*) <small>([^<]*)', table)
    assert stages == [
        ("Skeleton: loss, gradients, first fits",
         "2 failed, 1 broke, 1 warning, 2 passed, 1 suppressed"),
        ("Data", "1 skipped"),
        ("Model", "1 suppressed"),
    ]  # fmt: skip
    ids = re.findall(r'<th scope="row"><a href="#c-([\w-]+)"', table)
    assert len(ids) == len(sample_report().results)
    assert ids[:3] == ["batch-dependency", "overfit-one-batch", "gradient-check"]


def test_suppressed_findings_have_a_panel_with_reason_and_end(page: str) -> None:
    panel = section(page, "hushed")
    assert "2027-02-21 (in 92 days)" in panel
    assert "it is no longer in the baseline" in panel
    assert "Adam's first step is lr-sized" in panel.replace("&#39;", "'")
    for id in ("bad", "g-pass", "g-skip"):
        assert "update-ratio" not in section(page, id)


def test_notes_of_the_run_have_a_panel(page: str) -> None:
    notes = section(page, "notes")
    assert "is unused: the check passed." in notes
    assert "Note on DigitNet." in notes


def test_a_finding_says_how_to_suppress_it_for_a_while(page: str) -> None:
    card = section(page, "bad")
    assert "target = &#34;model.py:DigitNet&#34;" in card
    assert "expires = 2027-02-19" in card
    assert card.count("[[tool.recipe-check.suppress]]") == 3  # a check that broke has none


def test_a_fix_is_shown_as_a_diff(page: str) -> None:
    assert '<span class="del">-         x = x.reshape(-1)</span>\n' in page
    assert '<span class="add">+         x = x.flatten(1)' in page


def test_further_seeds_are_shown_in_the_card(page: str) -> None:
    assert "The same check with other seeds</h4>" in section(page, "bad")


def test_code_stands_out_and_sentences_begin_with_a_capital() -> None:
    verdict = Verdict(status=Status.WARN, message="call `zero_grad` first", fix=Fix(text="fc1 is"))
    page = HtmlReport().render(report_of(verdict))
    assert "Call <code>zero_grad</code> first." in page
    assert '<p class="fix">fc1 is.</p>' in page


def test_each_passed_check_still_has_its_picture() -> None:
    verdict = Verdict(status=Status.PASS, message="m", details=every_detail()[1:2])
    page = HtmlReport().render(report_of(verdict))
    assert "<img " in section(page, "g-pass")


def crowded(checks: int, letter: str) -> Report:
    """A report in which every text is as long as it gets."""
    text = letter * 2_000
    table = Table(title=text, columns=(text,) * 8, rows=((text,) * 8,) * 300)
    cause = Cause(title=text, state=CauseState.MATCHES, evidence=text)
    place = Location(file=text, line=1, source=text)
    fix = Fix(text=text, remove=(text,), add=(text,))
    verdicts = [
        Verdict(status=status, message=text, measured=text, expected=text, location=place,
                causes=(cause,) * 8, fix=fix, details=(table, *every_detail(text)))
        for status in (Status.FAIL, Status.PASS)
    ]  # fmt: skip
    report = report_of(*verdicts * (checks // 2), outcome="failed")
    results = tuple(
        msgspec.structs.replace(result, about=text, why=text, traceback=text * 10)
        for result in report.results
    )
    layer = Layer(name=text, kind=text, output_shape=(1,), parameters=1, trainable=1)
    root = Root(title=text, check="check-0", explains=("check-0",) * 10, text=text)
    return msgspec.structs.replace(
        report, results=results, layers=(layer,) * 3_000, notes=(text,) * 30, roots=(root,) * 30
    )


@pytest.mark.parametrize(("checks", "letter"), [(2, "x"), (37, "x"), (60, "<")])
def test_a_megabyte_is_enough(checks: int, letter: str) -> None:
    page = HtmlReport().render(crowded(checks, letter))
    assert len(page.encode()) <= MOST_BYTES
    assert "in the JSON result" in page
    assert page.count("<article ") >= checks // 2
    assert page.rstrip().endswith("</html>")


COLORS = {"ink": ("#123456", "#abcdef"), "other": ("#000001", "#000002")}


def test_a_picture_loses_only_what_nobody_sees() -> None:
    drawn = (
        '<?xml?><svg xmlns="s">\n <defs>\n </defs>\n <g id="a">\n  <g id="b">\n'
        '   <path id="c" d="M 1.2345 2.50 \nL 3.00 4 z\n" style="fill: none; stroke: #123456"/>\n'
        '  </g>\n  <g id="e"/>\n </g>\n <path d="M 0 0" style="fill: none"/>\n'
        ' <use xlink:href="#c" x="1.999"/><g style="clip: x"><text> M 1.2345 </text></g></svg>'
    )
    assert compact(drawn, COLORS) == (
        '<svg xmlns="s"><defs><style>text{font-family:system-ui,sans-serif}'
        ":root{--ink:#123456}@media (prefers-color-scheme:dark){:root{--ink:#abcdef}}</style>"
        "</defs>"
        '<path id="c" d="M1.23 2.5L3 4z" style="fill:none;stroke:var(--ink)"/>'
        '<use href="#c" x="1.99"/><g style="clip:x"><text> M 1.2345 </text></g></svg>'
    )


@needs_browser
def test_a_link_opens_the_check_that_it_names(tmp_path: Path, page: str) -> None:
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    target = "#c-gradient-norms"
    hop = tmp_path / "hop.html"
    hop.write_text(f'<meta http-equiv="refresh" content="0;url=report.html{target}">')
    dom = browse(hop, "--dump-dom", "--virtual-time-budget=5000").stdout
    opened = re.findall(r'<details class="mini" open="">.*?<h3>([^<]*)', dom, re.DOTALL)
    assert opened == ["Every weight gets a gradient"]
