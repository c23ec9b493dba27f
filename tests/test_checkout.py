"""What the report says of the repository that the target is in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from recipe_check.checkout import checkout, with_checkout
from tests.reports.sample import passing_report

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")


def git(folder: Path, *words: str) -> str:
    """Runs git there, with a name of its own and no settings of the user's."""
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    return subprocess.run(["git", *who, *words], cwd=folder, env=os.environ | own, check=True,
                          capture_output=True, text=True).stdout.strip()  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


@needs_git
def test_commit_branch_and_what_has_changed(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")[:12]
    assert checkout(repository) == f"{commit} on main, clean"
    (repository / "new.py").write_text("untracked")
    (repository / "train.py").write_text("a = 2\n")
    assert checkout(repository) == f"{commit} on main, 1 file changed"


@needs_git
def test_the_report_names_the_repository_of_the_target(repository: Path) -> None:
    report = with_checkout(passing_report(), str(repository / "train.py:net"))
    assert dict(report.run.environment)["git"].endswith("on main, clean")


def test_nothing_is_said_where_there_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere")  # no repository above counts either
    assert checkout(tmp_path) == ""
    assert checkout(tmp_path / "missing") == ""
    report = passing_report()
    assert with_checkout(report, str(tmp_path / "train.py")) is report
