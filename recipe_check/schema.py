"""The JSON Schema of a result: `python -m recipe_check.schema > docs/result-schema-1.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from recipe_check.run_report import SCHEMA, Report
from recipe_check.values import Status

_NOT_FINITE = ["nan", "inf", "-inf"]  # as `results.encode` writes them


def result_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what `results.encode` writes: the structs, and what
    encoding adds to them, the counts and the strings for numbers that JSON has not."""
    plain: dict[str, Any] = _numbers(msgspec.json.schema(Report))
    definitions = plain["$defs"]
    definitions["number"] = {"anyOf": [{"type": "number"}, {"enum": _NOT_FINITE}]}
    report = definitions["Report"]
    report["properties"]["schema"] = {"const": SCHEMA}
    report["properties"]["counts"] = _counts()
    report["required"].append("counts")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"recipe-check result, schema {SCHEMA}",
        **plain,
    }


def _counts() -> dict[str, Any]:
    names = [*(status.value for status in Status), "suppressed"]
    return {
        "description": "Number of results by status; suppressed findings are counted apart.",
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 0} for name in names},
        "required": names,
    }


def _numbers(schema: Any) -> Any:
    """Every number may be one of the strings for what is not finite."""
    if isinstance(schema, list):
        return [_numbers(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {"$ref": "#/$defs/number"} | {k: v for k, v in schema.items() if k != "type"}
    return {key: _numbers(item) for key, item in schema.items()}


def as_text() -> str:
    """The file's content."""
    return json.dumps(result_schema(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
