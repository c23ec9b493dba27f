"""Every format: its golden file, the same bytes twice, and nothing that a hostile name can do."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from recipe_check.plugins import ReportWriter
from recipe_check.reports.concise import ConciseReport
from recipe_check.reports.github import MOST, GithubReport
from recipe_check.reports.html import HtmlReport
from recipe_check.reports.json import JsonReport
from recipe_check.reports.junit import JUnitReport
from recipe_check.reports.markdown import MarkdownReport
from recipe_check.reports.sarif import SarifReport
from recipe_check.results import Verdict
from recipe_check.run_report import Report, decode, encode
from recipe_check.values import Location, Status
from tests.reports.sample import HOSTILE, passing_report, report_of, sample_report

WRITERS: dict[str, ReportWriter] = {
    "concise": ConciseReport(),
    "github": GithubReport(),
    "html": HtmlReport(),
    "json": JsonReport(),
    "junit": JUnitReport(),
    "markdown": MarkdownReport(),
    "sarif": SarifReport(),
}
REPORTS = {"failing": sample_report, "passing": passing_report}

hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
every_format = pytest.mark.parametrize("name", WRITERS)


@every_format
@pytest.mark.parametrize("kind", REPORTS)
def test_the_golden_file(name: str, kind: str, golden: Callable[[str, str], None]) -> None:
    """Pictures are left out: the exact curves depend on the version of the plotting library."""
    text = WRITERS[name].render(REPORTS[kind]())
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "base64,…", text)
    golden(f"{kind}-{name}{WRITERS[name].suffix}", text)


@every_format
def test_the_same_result_gives_the_same_bytes(name: str) -> None:
    again = decode(encode(sample_report()))
    assert WRITERS[name].render(sample_report()) == WRITERS[name].render(again)


@every_format
@hostile
def test_a_hostile_name_leaves_plain_text(name: str, text: str) -> None:
    written = WRITERS[name].render(sample_report(text))
    written.encode("utf-8")
    assert not set(written) & set("\x00\x07\x1b\r\u202e\u2066\u2028")
    assert WRITERS[name].render(decode(encode(sample_report(text)))) == written
    assert name == "json" or len(written) < 400_000  # JSON alone keeps every name whole


@hostile
def test_json_keeps_every_name_as_it_was(text: str) -> None:
    written = JsonReport().render(sample_report(text))
    assert written.isascii()
    assert decode(written).target.model == text
    assert json.loads(written)["counts"] == sample_report().counts


COMMAND = re.compile(r"::(error|warning|notice) ([^:]*?)::([^\r\n]*)")


def commands(report: Report) -> list[tuple[str, dict[str, str], str]]:
    """The annotations as GitHub's runner reads them: level, properties, message."""
    found = []
    for line in GithubReport().render(report).splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        pairs = [pair.split("=", 1) for pair in match[2].split(",")]
        found.append((match[1], {key: decoded(text) for key, text in pairs}, decoded(match[3])))
    return found


def decoded(text: str) -> str:
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    return re.sub("%(0D|0A|3A|2C|25)", lambda code: codes[code[0]], text)


def labels(message: str) -> list[str]:
    """What each line of a message but the first is called: `Measured`, `Help`, `Run`."""
    return [line.split(":")[0] for line in message.split("\n")[1:]]


@hostile
def test_annotations_survive_a_round_trip(text: str) -> None:
    plain, found = commands(sample_report()), commands(sample_report(text))
    assert [(level, set(keys)) for level, keys, _ in found] == (
        [(level, set(keys)) for level, keys, _ in plain]
    )
    assert [keys["title"] for _, keys, _ in found] == [keys["title"] for _, keys, _ in plain]
    assert [labels(message) for *_, message in found] == [labels(message) for *_, message in plain]
    assert "24 of 156 pairs leak, expected 0" in found[0][2]
    assert plain[0][1]["file"] == "model.py"
    assert plain[0][1]["line"] == "22"


def test_ten_annotations_of_a_level_and_a_word_about_the_rest() -> None:
    failures = [Verdict(status=Status.FAIL, message="bad")] * 13
    warnings = [Verdict(status=Status.WARN, message="odd")] * 2
    found = commands(report_of(*failures, *warnings, outcome="failed"))
    assert [level for level, _, _ in found] == ["error"] * MOST + ["warning"] * 2 + ["notice"]
    assert found[-1][2].startswith("3 findings more")


# Attributes that Jenkins' xunit2 schema knows; any other makes it refuse the whole file.
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "file"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "system-out": set(),
}


@hostile
def test_junit_parses_and_counts(text: str) -> None:
    root = ET.fromstring(JUnitReport().render(sample_report(text)))
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]
        assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))
    suite = root[0]
    cases = suite.findall("testcase")
    assert int(suite.get("tests", "")) == len(cases) == len(sample_report().results)
    for tag, count in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(tag, "")) == len(suite.findall(f"testcase/{count}"))


@hostile
def test_sarif_keeps_to_the_rules_of_code_scanning(text: str) -> None:
    run = json.loads(SarifReport().render(sample_report(text)))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert run["automationDetails"]["id"].endswith("/")
    assert [result["ruleId"] for result in run["results"]] == [
        "batch-dependency", "overfit-one-batch", "dead-relu", "known-before", "update-ratio"
    ]  # fmt: skip
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        region = place["region"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert set(region) == {"startLine", "startColumn", "endLine", "endColumn"}
        assert (region["startLine"], region["startColumn"]) >= (1, 1)
        assert region["startColumn"] <= region["endColumn"]
        assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", place["artifactLocation"]["uri"])
        assert result["partialFingerprints"]["primaryLocationLineHash"].endswith(":1")
    assert run["results"][4]["suppressions"][0]["justification"].startswith("Adam's")
    assert not run["invocations"][0]["executionSuccessful"]
    assert "broke" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]


@pytest.mark.parametrize(
    ("file", "uri", "base"),
    [
        ("src/model.py", "src/model.py", True),
        ("src\\my model.py", "src/my%20model.py", True),
        ("/usr/lib/a.py", "file:///usr/lib/a.py", False),
        ("C:\\code\\a.py", "file:///C:/code/a.py", False),
    ],
)
def test_sarif_uris(file: str, uri: str, base: bool) -> None:
    place = Location(file=file, line=3)
    report = report_of(Verdict(status=Status.FAIL, message="m", location=place), outcome="failed")
    found = json.loads(SarifReport().render(report))["runs"][0]["results"][0]["locations"][0]
    artifact = found["physicalLocation"]["artifactLocation"]
    assert artifact["uri"] == uri
    assert ("uriBaseId" in artifact) is base


def test_the_fingerprint_does_not_move_with_the_measured_value() -> None:
    def fingerprints(measured: str) -> object:
        verdict = Verdict(status=Status.FAIL, message=measured, measured=measured)
        run = json.loads(SarifReport().render(report_of(verdict, outcome="failed")))["runs"][0]
        return run["results"][0]["partialFingerprints"]

    assert fingerprints("1.9") == fingerprints("2.1")


@hostile
def test_markdown_has_the_same_structure(text: str) -> None:
    plain, written = (MarkdownReport().render(sample_report(t)) for t in ("DigitNet", text))
    shapes = [[re.split(r"[\s|]", line)[0] for line in t.splitlines()] for t in (plain, written)]
    assert shapes[0] == shapes[1]
    rows = [[line for line in t.splitlines() if line.startswith("|")] for t in (plain, written)]
    cells = [[len(re.findall(r"(?<!\\)\|", row)) for row in found] for found in rows]
    assert cells[0] == cells[1]
    outside = re.sub(r"(`+).*?\1", "", written, flags=re.DOTALL)
    tags = set(re.findall(r"(?<!\\)<[^>]*>", outside))
    assert tags <= {"<details>", "<summary>", "</summary>", "</details>", "<!-- -->"}


def test_markdown_stays_within_its_size() -> None:
    verdicts = [Verdict(status=Status.FAIL, message="x" * 600, measured="y" * 600)] * 200
    text = MarkdownReport().render(report_of(*verdicts, outcome="failed"))
    assert len(text.encode()) < 64_000
    assert "checks more" in text


@hostile
def test_concise_is_one_line_a_finding(text: str) -> None:
    *findings, last = ConciseReport().render(sample_report(text)).splitlines()
    assert [re.search(r":\d+:\d+: ([a-z-]+) (\w+): ", line).groups() for line in findings] == [
        ("batch-dependency", "fail"), ("overfit-one-batch", "fail"), ("gradient-check", "error"),
        ("dead-relu", "warn"),
    ]  # fmt: skip
    assert last.startswith("Not ready to train: 2 failed, 1 broke, 1 warning, 2 passed")
