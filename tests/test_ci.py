"""The files that other people's CI reads: their script runs, their hook is our command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from tests.test_cli import BAD

ROOT = Path(__file__).parent.parent
ACTION = (ROOT / "action.yml").read_text()
SCRIPT = textwrap.dedent(ACTION.split("run: |\n")[-1])


def act(folder: Path, target: str, args: str) -> tuple[int, dict[str, str], str]:
    """Exit code, outputs and log of the action's last step."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", SCRIPT],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHON": sys.executable, "TARGET": target, "ARGS": args,
                          "SARIF": "found.sarif", "HTML": "found.html",
                          "GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": "outputs"},
    )  # fmt: skip
    lines = (folder / "outputs").read_text().splitlines()
    return done.returncode, dict(line.split("=", 1) for line in lines), done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="bash may be another system's")
def test_the_action_runs_and_says_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    code, outputs, log = act(tmp_path, "bad.py", "--only 'batch-dependency, initial-loss'")
    assert (code, outputs["exit-code"]) == (1, "1"), log
    assert "::error " in log
    assert (tmp_path / outputs["sarif"]).is_file()
    assert (tmp_path / outputs["html"]).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="bash may be another system's")
def test_the_action_names_no_file_of_another_run(tmp_path: Path) -> None:
    (tmp_path / "found.sarif").write_text("of another run")
    code, outputs, log = act(tmp_path, "nowhere.py", "")
    assert (code, outputs) == (3, {"exit-code": "3"}), log


def test_every_input_is_used_and_every_output_is_written() -> None:
    head, steps = ACTION.split("\nruns:\n")
    inputs, outputs = head.split("\ninputs:\n")[1].split("\noutputs:\n")
    for name in re.findall(r"^  ([\w-]+):$", inputs, re.MULTILINE):
        assert f"${{{{ inputs.{name} }}}}" in steps
        assert f"inputs.{name}" not in SCRIPT  # a value in the script could be a command
    for name in re.findall(r"^  ([\w-]+):$", outputs, re.MULTILINE):
        assert f'echo "{name}=' in SCRIPT


def test_the_hook_is_the_command() -> None:
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text()
    entry = re.search(r"^  entry: (\S+)$", hook, re.MULTILINE)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert entry is not None
    assert entry[1] in scripts
    assert "pass_filenames: false" in hook  # a second file would be an argument of the first
