"""The HTML report: self-contained, escaped, stable, and quiet in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from recipe_check.details import Bars, Detail, Histogram, Images, Line, Matrix, Series, Table
from recipe_check.reports import _plots
from recipe_check.reports._limits import MOST_BARS, bars_shown
from recipe_check.reports.html import HtmlReport
from recipe_check.results import Verdict
from recipe_check.run_report import decode, encode
from recipe_check.values import Status
from tests.reports.browser import browse, needs_browser
from tests.reports.sample import HOSTILE, every_detail, report_of, sample_report


@pytest.fixture(scope="module")
def page() -> str:
    return HtmlReport().render(sample_report())


class Outline(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_policy_names_the_one_style_and_nothing_is_fetched(page: str) -> None:
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    outline = Outline(page)
    policy = next(m["content"] for m in outline.named("meta") if "http-equiv" in m)
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not outline.named("script")
    assert all(i["src"].startswith("data:image/svg+xml;base64,") for i in outline.named("img"))
    assert not [a for _, a in outline.tags if "style" in a or any(k.startswith("on") for k in a)]
    assert len(outline.named("style")) == 1


def test_it_is_readable_without_eyes(page: str) -> None:
    outline = Outline(page)
    assert len(outline.named("h1")) == 1
    assert all(image["alt"] for image in outline.named("img"))
    assert all("scope" in cell for cell in outline.named("th"))
    assert outline.named("nav")
    assert outline.named("main")
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in outline.named("a")}
    assert targets <= set(ids)


def test_everything_of_a_finding_is_on_the_page(page: str) -> None:
    text = Outline(page).text
    for words in ("24 of 156 pairs leak", "Matches", "Ruled out", "recipe-check run model.py",
                  "x.flatten(1)", "model.py:22", "Fix these first", "What enters the network",
                  "Model summary", "Adam's first step is lr-sized", "Why it matters",
                  "Samples of one batch influence each other", "Traceback",
                  "206,922 parameters"):  # fmt: skip
        assert words in text


def test_the_same_report_gives_the_same_bytes_within_its_size() -> None:
    one = HtmlReport().render(sample_report())
    again = HtmlReport().render(decode(encode(sample_report())))
    assert one == again
    assert len(one) < 400_000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_stay_text(text: str) -> None:
    plain = Outline(HtmlReport().render(sample_report()))
    outline = Outline(HtmlReport().render(sample_report(text)))
    loose = ("td", "tr", "code")  # a label's row, and what stands between back-ticks
    assert [t for t, _ in outline.tags if t not in loose] == (
        [t for t, _ in plain.tags if t not in loose]
    )
    assert "\x1b" not in outline.text
    assert "\u202e" not in outline.text


DETAILS = {type(detail).__name__: detail for detail in every_detail()}


@pytest.mark.parametrize("kind", [kind for kind in DETAILS if kind != "Table"])
def test_each_picture_is_an_svg_that_parses_and_follows_dark_pages(kind: str) -> None:
    picture = base64.b64decode(_plots.svg(DETAILS[kind]).partition("base64,")[2]).decode()
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in picture
    assert "could not be drawn" not in picture
    assert not re.findall(r"(?:fill|stroke): ?#", picture)
    assert "".join(root.itertext()).count("fc1") >= (kind != "Matrix")


NAN = float("nan")
ODD = {
    "no-lines": Series(title="t", x_label="x", y_label="y", lines=()),
    "empty-line": Series(title="t", x_label="x", y_label="y", lines=(Line(name="a", x=(), y=()),)),
    "lost-line": Series(title="t", x_label="x", y_label="y",
                        lines=(Line(name="a", x=(0.0, 1.0), y=(NAN, NAN)),), log_y=True),
    "short-line": Series(title="t", x_label="x", y_label="y",
                         lines=(Line(name="a", x=(0.0, 1.0), y=(1.0,)),)),
    "no-bars": Bars(title="t", value_label="v", names=(), values=()),
    "zero-bars": Bars(title="t", value_label="v", names=("a",), values=(0.0,), log_y=True),
    "many-bars": Bars(title="t", value_label="v", names=tuple(map(str, range(300))),
                      values=tuple(map(float, range(300)))),
    "no-cells": Matrix(title="t", x_label="x", y_label="y", values=()),
    "lost-cells": Matrix(title="t", x_label="x", y_label="y", values=((NAN, 0.0),)),
    "no-counts": Histogram(title="t", x_label="x", edges=(), counts=()),
    "few-edges": Histogram(title="t", x_label="x", edges=(0.0,), counts=(1.0, 2.0)),
    "no-images": Images(title="t", labels=(), pixels=()),
    "ragged-images": Images(title="t", labels=("a",), pixels=(((0.0, 1.0), (0.5,)),)),
    "ragged-table": Table(title="t", columns=("a",), rows=((1, 2), ())),
}  # fmt: skip


@pytest.mark.parametrize("detail", ODD.values(), ids=ODD.keys())
def test_an_odd_detail_does_not_cost_the_report(detail: Detail) -> None:
    """What a check draws badly is shown badly; the verdict beside it stays."""
    verdict = Verdict(status=Status.FAIL, message="bad", measured="42 of 43", details=(detail,))
    text = Outline(HtmlReport().render(report_of(verdict, outcome="failed"))).text
    assert "42 of 43" in text


def test_what_a_long_plot_leaves_out_is_said_and_the_extremes_stay() -> None:
    bars = ODD["many-bars"]
    assert isinstance(bars, Bars)
    chosen = bars_shown(bars)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 299, MOST_BARS)
    verdict = Verdict(status=Status.PASS, message="m", details=(bars,))
    text = Outline(HtmlReport().render(report_of(verdict))).text
    assert "The 20 smallest and the 20 largest of 300 are drawn." in text
    assert "100 more rows are in the JSON result." in text


@pytest.mark.parametrize(
    ("verdicts", "outcome", "expected"),
    [
        ((Status.PASS,), "passed", "Ready to train"),
        ((Status.PASS, Status.WARN), "passed", "Ready to train, with 1 warning"),
        ((Status.PASS, Status.FAIL), "failed", "1 of 2 checks failed"),
        ((Status.PASS, Status.ERROR), "broken", "1 check broke"),
        ((Status.SKIP,), "empty", "Nothing was checked"),
    ],
)
def test_the_headline(verdicts: tuple[Status, ...], outcome: str, expected: str) -> None:
    report = report_of(*(Verdict(status=s, message="m") for s in verdicts), outcome=outcome)
    page = HtmlReport().render(report)
    assert f'<h1 id="v">{expected}</h1>' in page


def console(tmp_path: Path, page: str) -> tuple[list[str], int]:
    """What the console says about the page, and the size of its screenshot in bytes."""
    file, picture = tmp_path / "report.html", tmp_path / "page.png"
    file.write_text(page, encoding="utf-8")
    done = browse(file, "--enable-logging=stderr", "--v=0", f"--screenshot={picture}",
                  "--window-size=1200,2000")  # fmt: skip
    said = [text for text in done.stderr.splitlines() if "CONSOLE" in text]
    return said, picture.stat().st_size


@needs_browser
def test_a_browser_has_nothing_to_say(tmp_path: Path, page: str) -> None:
    said, size = console(tmp_path, page)
    assert size > 20_000
    assert not said


@needs_browser
def test_the_policy_is_in_force(tmp_path: Path, page: str) -> None:
    """The other way round: were something let in, the browser would refuse it, and say so."""
    guests = '<script>document.title = "x"</script><img src="https://example.invalid/x.png">'
    said, _ = console(tmp_path, page.replace("</body>", f"{guests}<style>p{{}}</style></body>"))
    for directive in ("script-src", "img-src", "style-src"):
        assert any(directive in text or "default-src" in text for text in said), directive
    assert len(said) == 3
