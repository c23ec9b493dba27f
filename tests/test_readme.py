"""The README's promises: its commands exist and its table names every check."""

from __future__ import annotations

import re
from pathlib import Path

from recipe_check.cli import cli
from recipe_check.loading.names import NAMES
from recipe_check.plugins import check_classes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"^make ([\w-]+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_every_check_stands_in_the_table() -> None:
    assert set(re.findall(r"^\| `([\w-]+)` \|", README, re.MULTILINE)) == set(check_classes())


def test_every_command_and_option_exists() -> None:
    for name in re.findall(r"`recipe-check (list|show|explain)", README):
        assert name in cli.commands
    known = {o for p in cli.commands["run"].params for o in p.opts}
    assert set(re.findall(r"`(--[\w-]+)", README)) <= known


def test_the_names_it_promises_are_looked_for() -> None:
    known = {name for names in NAMES.values() for name in names}
    section = README.split("3. the usual names:")[1].split("4. ")[0]
    assert {n.split("(")[0] for n in re.findall(r"`([\w(), ]+)`", section)} <= known
