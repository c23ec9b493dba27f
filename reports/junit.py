"""JUnit XML, valid for Jenkins' xunit2 schema: each check is a test case."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import ClassVar

from recipe_check.results import Result
from recipe_check.run_report import Report
from recipe_check.values import Status

from ._text import clean, one_line
from ._verdict import measured, rerun

_NAME = "recipe-check"
_ILLEGAL = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JUnitReport:
    """A failure fails its test case, a warning passes it with a note, a check that broke is an
    error; skipped and suppressed checks are skipped with the reason."""

    suffix: ClassVar[str] = ".xml"

    def render(self, report: Report) -> str:
        counts = report.counts
        totals = {
            "name": _NAME,
            "tests": str(len(report.results)),
            "failures": str(counts["fail"]),
            "errors": str(counts["error"]),
            "time": _time(report.run.seconds),
        }
        root = ET.Element("testsuites", totals)
        suite = ET.SubElement(root, "testsuite", totals)
        suite.set("skipped", str(counts["skip"] + counts["suppressed"]))
        suite.set("timestamp", _xml(report.run.started.removesuffix("Z")))
        suite.set("file", _xml(report.target.file))
        _properties(suite, report)
        for result in report.results:
            _case(suite, report, result)
        ET.indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _properties(suite: ET.Element, report: Report) -> None:
    pairs = [
        ("recipe-check.version", report.tool.version),
        ("recipe-check.schema", str(report.schema)),
        ("seed", str(report.run.seed)),
        ("device", report.run.device),
        *report.run.environment,
    ]
    properties = ET.SubElement(suite, "properties")
    for name, value in pairs:
        ET.SubElement(properties, "property", name=_xml(name), value=_xml(value))


def _case(suite: ET.Element, report: Report, result: Result) -> None:
    parts = [
        _NAME,
        *re.split(r"[\\/]", report.target.file.removesuffix(".py")),
        report.target.model,
    ]
    case = ET.SubElement(
        suite,
        "testcase",
        classname=".".join(_xml(part) for part in parts if part not in ("", ".", "..")),
        name=_xml(result.id),
        time=_time(result.cost.seconds),
    )
    message = _xml(f"{result.title}: {measured(result)}")
    if result.suppressed is not None:
        until = f" until {result.suppressed.expires}" if result.suppressed.expires else ""
        reason = _xml(f"suppressed{until}: {result.suppressed.reason}")
        ET.SubElement(case, "skipped", type="suppressed", message=reason)
    elif result.status is Status.SKIP:
        reason = _xml(result.verdict.message)
        ET.SubElement(case, "skipped", type="not-applicable", message=reason)
    elif result.status in (Status.FAIL, Status.ERROR):
        tag = "failure" if result.status is Status.FAIL else "error"
        ET.SubElement(case, tag, type=_xml(result.id), message=message).text = _body(result)
    elif result.status is Status.WARN:
        ET.SubElement(case, "system-out").text = f"warning: {message}\n{_body(result)}"


def _body(result: Result) -> str:
    """The finding as lines of text; a traceback last."""
    verdict = result.verdict
    place = f"{one_line(str(verdict.location))}: " if verdict.location else ""
    lines = [f"{place}{one_line(verdict.message)}"]
    if verdict.fix is not None:
        lines.append(f"help: {one_line(verdict.fix.text)}")
    if result.reproduce:
        lines.append(f"rerun: {rerun(result)}")
    if result.traceback:
        lines.append(clean(result.traceback))
    return _legal("\n".join(lines))


def _xml(text: str) -> str:
    return _legal(one_line(text))


def _legal(text: str) -> str:
    """XML 1.0 has no way to write some characters, not even escaped."""
    return _ILLEGAL.sub("\ufffd", text)


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
