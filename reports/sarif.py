"""SARIF 2.1.0, as GitHub's code scanning and editors read it."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar
from urllib.parse import quote

from recipe_check.results import Result
from recipe_check.run_report import Report
from recipe_check.values import Location, Status

from ._text import clean, one_line
from ._verdict import measured, rerun

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {Status.FAIL: "error", Status.WARN: "warning"}
_DRIVE = re.compile(r"^[A-Za-z]:/")


class SarifReport:
    """Failures and warnings as results; suppressed ones with their reason; a check that broke as
    a notification of the tool, since it says nothing about the code."""

    suffix: ClassVar[str] = ".sarif"

    def render(self, report: Report) -> str:
        run = {
            "tool": {"driver": _driver(report)},
            "automationDetails": {"id": f"recipe-check/{_relative(report.target.file)}/"},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {
                "%SRCROOT%": {"description": {"text": "The working directory."}}
            },
            "invocations": [_invocation(report)],
            "results": [
                _result(report, place, result)
                for place, result in enumerate(report.results)
                if result.status in _LEVEL
            ],
        }
        log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
        return json.dumps(log, indent=1, ensure_ascii=True) + "\n"


def _driver(report: Report) -> dict[str, Any]:
    return {
        "name": one_line(report.tool.name),
        "version": one_line(report.tool.version),
        "rules": [_rule(result) for result in report.results],
    }


def _rule(result: Result) -> dict[str, Any]:
    """A check as a rule: its texts come from the manual, not from this run's verdict."""
    about, why = one_line(result.about), one_line(result.why)
    explain = f"recipe-check explain {one_line(result.id)}"
    level = _LEVEL.get(result.status, "error")
    return {
        "id": one_line(result.id),
        "name": one_line(result.id),
        "shortDescription": {"text": one_line(result.id)},
        "fullDescription": {"text": about or one_line(result.title)},
        "help": {
            "text": f"{about} {why} More: {explain}".strip(),
            "markdown": f"{_plain(about)}\n\n{_plain(why)}\n\nMore: `{explain}`".strip(),
        },
        "defaultConfiguration": {"level": level},
        "properties": {
            "tags": ["pytorch", "training", one_line(result.stage)],
            "precision": "high",
            "problem.severity": level,
        },
    }


def _plain(text: str) -> str:
    """Text in which Markdown finds no mark-up."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~])", r"\\\1", text)


def _result(report: Report, place: int, result: Result) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": one_line(result.id),
        "ruleIndex": place,
        "level": _LEVEL[result.status],
        "kind": "fail",
        "message": {"text": _message(result)},
        "locations": _locations(report, result.verdict.location),
        "partialFingerprints": {"primaryLocationLineHash": f"{_hash(result)}:1"},
        "properties": {
            "measured": one_line(result.verdict.measured),
            "expected": one_line(result.verdict.expected),
        },
    }
    if result.suppressed is not None:
        reason = one_line(result.suppressed.reason)
        found["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": reason}
        ]
        if result.suppressed.expires:
            expires = one_line(result.suppressed.expires)
            found["suppressions"][0]["properties"] = {"expires": expires}
    return found


def _message(result: Result) -> str:
    """Square brackets would be read as links; they are written so that they are none."""
    lines = [f"{one_line(result.title)}: {measured(result)}"]
    if result.verdict.fix is not None:
        lines.append(f"Help: {one_line(result.verdict.fix.text)}")
    if result.reproduce:
        lines.append(f"Rerun: {rerun(result)}")
    return re.sub(r"([\\\[\]])", r"\\\1", "\n".join(lines))


def _hash(result: Result) -> str:
    return re.sub(r"[^0-9a-zA-Z]", "", result.fingerprint)[:64] or one_line(result.id)


def _locations(report: Report, location: Location | None) -> list[dict[str, Any]]:
    """Where it is; the first line of the target where no line is known."""
    file = location.file if location else report.target.file
    if not file:
        return []
    return [
        {
            "physicalLocation": {
                "artifactLocation": _artifact(file),
                "region": _region(location or Location(file=file, line=1)),
            }
        }
    ]


def _region(location: Location) -> dict[str, int]:
    source = location.source.rstrip()
    start = location.column or len(source) - len(source.lstrip()) + 1
    end = location.end_column or len(source) + 1
    line = max(location.line, 1)
    return {"startLine": line, "startColumn": max(start, 1), "endLine": line,
            "endColumn": max(end, start, 1)}  # fmt: skip


def _artifact(file: str) -> dict[str, str]:
    path = file.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        return {"uri": f"file:///{_relative(path.lstrip('/'))}"}
    return {"uri": _relative(path), "uriBaseId": "%SRCROOT%"}


def _relative(file: str) -> str:
    """The path percent-encoded, `/` between its parts; a drive's colon stays."""
    path = clean(file.replace("\\", "/"))
    return quote(path, safe="/:" if _DRIVE.match(path) else "/")


def _invocation(report: Report) -> dict[str, Any]:
    broken = [result for result in report.results if result.status is Status.ERROR]
    found: dict[str, Any] = {
        "executionSuccessful": not broken and not report.run.interrupted,
        "exitCode": report.exit_code,
    }
    if broken:
        found["toolExecutionNotifications"] = [
            {
                "level": "error",
                "message": {"text": f"{one_line(r.id)} broke: {one_line(r.verdict.message)}"},
                "associatedRule": {"id": one_line(r.id)},
            }
            for r in broken
        ]
    return found
