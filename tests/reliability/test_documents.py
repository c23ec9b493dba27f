"""The pages on faults and security name tests that exist, and the README names the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = ("docs/reliability.md", "docs/security.md", "docs/distributed.md")
TESTS = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / page).read_text()))
    assert named
    assert named <= TESTS


def test_every_row_of_the_fault_table_names_a_test() -> None:
    rows = re.findall(r"^\| (?!fault|---)(.*) \|$", (ROOT / PAGES[0]).read_text(), re.MULTILINE)
    assert len(rows) > 30
    assert [row for row in rows if "`test_" not in row.rpartition(" | ")[2]] == []


def test_the_readme_links_them() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in PAGES:
        assert f"({page})" in readme
