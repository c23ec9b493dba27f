"""The published schema is that of the structs, and what is written keeps to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipe_check.run_report import encode
from recipe_check.schema import as_text
from tests.reports.sample import HOSTILE, sample_report
from tests.test_cli import EXAMPLES, run

FILE = Path(__file__).parent.parent / "docs" / "result-schema-1.json"


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_up_to_date() -> None:
    command = "python -m recipe_check.schema > docs/result-schema-1.json"
    assert FILE.read_text() == as_text(), f"write it anew: {command}"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_every_kind_of_value_is_valid(validator, text: str) -> None:
    validator.validate(json.loads(encode(sample_report(text))))


def test_the_result_of_an_example_is_valid(validator, tmp_path: Path) -> None:
    done = run(tmp_path, str(EXAMPLES / "diabetes_mlp.py"), "--no-html", "--json", "r.json",
               "--only", "batch-contract,initial-loss")  # fmt: skip
    assert done.returncode == 0, done.stderr
    validator.validate(json.loads((tmp_path / "r.json").read_text()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), 2),
        (("results", 0, "verdict", "status"), "maybe"),
        (("run", "seconds"), "soon"),
        (("counts",), None),
    ],
)
def test_what_is_no_result_is_refused(validator, place, value) -> None:
    plain = json.loads(encode(sample_report()))
    owner = plain
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = value
    assert not validator.is_valid(plain)
