"""What every check promises: a manual, an entry point, no torch on import, one id everywhere."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recipe_check.api import STAGES
from recipe_check.manual import SECTIONS, manual_of
from recipe_check.plugins import check_classes, report_writers

ROOT = Path(__file__).parent.parent
CHECKS = check_classes()


@pytest.mark.parametrize("id", CHECKS)
def test_a_check_keeps_the_contract(id: str) -> None:
    kind = CHECKS[id]
    manual = manual_of(kind)
    assert list(manual.sections) == list(SECTIONS)
    assert len(manual.summary) < 100
    assert kind.meta.id == id
    assert kind.meta.stage in STAGES
    assert kind.__module__ == f"recipe_check.checks.{id.replace('-', '_')}"
    assert kind.__dataclass_params__.frozen
    for field in dataclasses.fields(kind):
        assert field.kw_only
        assert field.default is not dataclasses.MISSING


@pytest.mark.parametrize("id", CHECKS)
def test_the_listed_severity_is_the_worst_that_a_check_says(id: str) -> None:
    kind = CHECKS[id]
    source = Path(inspect.getfile(kind)).read_text()
    assert kind.meta.severity == ("error" if "Status.FAIL" in source else "warning")


def test_the_entry_points_and_the_files_are_in_step() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for folder in ("checks", "reports"):
        files = {f.stem for f in (ROOT / folder).glob("[a-z]*.py")}
        targets = declared[f"recipe_check.{folder}"]
        named = {value.split(":")[0].rpartition(".")[2] for value in targets.values()}
        assert named == files - {"terminal", "notebook"}
    assert set(report_writers()) == set(declared["recipe_check.reports"])


def test_checks_and_reports_import_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from recipe_check.plugins import check_classes, report_writers\n"
        "check_classes(); report_writers()\n"
        "import recipe_check.engine, recipe_check.run_command, recipe_check.cli"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_file_is_named_for_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True,
                            check=False)  # fmt: skip
    for name in listed.stdout.split():
        text = (ROOT / name).read_text(errors="replace")
        assert str(Path.home()) + "/" not in text or name.startswith("tests/"), name
