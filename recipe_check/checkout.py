"""Which version of the user's files was checked, as git knows it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from recipe_check.request import split_target
from recipe_check.run_report import Report

SECONDS = 3.0  # a repository that answers later is not asked for


def with_checkout(report: Report, target: str) -> Report:
    """The report with the state of the target's repository, where it is in one."""
    file, _ = split_target(target)
    folder = Path(file).parent if file.endswith(".py") else Path()
    state = checkout(folder)
    if not state:
        return report
    environment = (*report.run.environment, ("git", state))
    run = msgspec.structs.replace(report.run, environment=environment)
    return msgspec.structs.replace(report, run=run)


def checkout(folder: Path) -> str:
    """`8c1d2e7f01ab on main, 2 files changed`; '' outside of a repository, or without git."""
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            cwd=folder, env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"}, capture_output=True,
            encoding="utf-8", errors="replace", timeout=SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.splitlines()
    facts = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = facts.get("branch.oid", ""), facts.get("branch.head", "")
    changed = sum(not line.startswith("#") for line in lines)
    files = "1 file" if changed == 1 else f"{changed} files"
    return f"{commit[:12]} on {branch}, {f'{files} changed' if changed else 'clean'}"
