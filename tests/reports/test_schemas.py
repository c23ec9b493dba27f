"""Formats that have a schema of their own are valid by it, whatever a name holds."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import xmlschema

from recipe_check.reports.junit import JUnitReport
from recipe_check.reports.sarif import SarifReport
from recipe_check.results import Verdict
from recipe_check.run_report import Report
from recipe_check.values import Location, Status
from tests.reports.conftest import GOLDENS
from tests.reports.sample import HOSTILE, passing_report, report_of, sample_report

SCHEMAS = Path(__file__).parent / "schemas"
SARIF = json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
JUNIT = xmlschema.XMLSchema11(SCHEMAS / "junit-10.xsd")

Validate = Callable[[str], None]


def valid_sarif(text: str) -> None:
    kind = jsonschema.validators.validator_for(SARIF)
    kind(SARIF, format_checker=kind.FORMAT_CHECKER).validate(json.loads(text))


def valid_junit(text: str) -> None:
    JUNIT.validate(ET.fromstring(text))


FORMATS: dict[str, tuple[Validate, Callable[[Report], str]]] = {
    ".sarif": (valid_sarif, SarifReport().render),
    ".xml": (valid_junit, JUnitReport().render),
}
every_format = pytest.mark.parametrize("suffix", FORMATS)


@pytest.mark.parametrize("file", [f for f in sorted(GOLDENS.iterdir()) if f.suffix in FORMATS],
                         ids=lambda file: file.name)  # fmt: skip
def test_every_golden_file_is_valid(file: Path) -> None:
    FORMATS[file.suffix][0](file.read_text(encoding="utf-8"))


@every_format
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_leaves_it_valid(suffix: str, text: str) -> None:
    validate, render = FORMATS[suffix]
    validate(render(sample_report(text)))


ODD = {
    "empty": report_of(),
    "no-file": report_of(
        Verdict(status=Status.WARN, message="m", location=Location(file="", line=0)),
        Verdict(status=Status.ERROR, message=""),
    ),
    "spaces": report_of(
        Verdict(status=Status.FAIL, message="m", location=Location(file="a b/c d.py", line=3))
    ),
}


@every_format
@pytest.mark.parametrize("report", ODD.values(), ids=ODD.keys())
def test_an_odd_report_is_valid(suffix: str, report: Report) -> None:
    validate, render = FORMATS[suffix]
    validate(render(report))


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = json.loads(SarifReport().render(passing_report()))
    wrong["runs"][0]["tool"]["driver"].pop("name")
    with pytest.raises(jsonschema.ValidationError):
        valid_sarif(json.dumps(wrong))
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        valid_junit(JUnitReport().render(passing_report()).replace("classname=", "class="))
