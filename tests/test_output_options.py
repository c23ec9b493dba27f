"""What is printed and written: --format, --no-source, --open; what GitHub must not obey."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from recipe_check.ci import fenced
from recipe_check.options import FORMATS
from recipe_check.plugins import report_writers
from recipe_check.run_report import encode
from recipe_check.screen import Screen
from tests.commands import ONLY, command, fill
from tests.reports.sample import sample_report
from tests.test_cli import BAD

CHECKS = ("--only", "batch-dependency,loss-contract", "--no-html")
SECRET = "# a line that stays at home"


@pytest.fixture(autouse=True)
def _not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def ended(form: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed at the end of a run in a format."""
    Screen("never", form, verbose=False).end(sample_report(), "report.html")
    return capsys.readouterr().out


def test_full_and_quiet_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    full, quiet = ended("full", capsys), ended("quiet", capsys)
    for text in (full, quiet):
        assert "error[batch-dependency]" in text
        assert text.splitlines()[-1].startswith("Not ready to train")
    assert ("cost: " in full, "cost: " in quiet) == (True, False)


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in ("full", "quiet")])
def test_any_other_format_is_printed_as_it_is_written(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(form, capsys) == report_writers()[form].render(sample_report())


def test_json_alone_stands_on_standard_output_and_wins_over_quiet(tmp_path: Path) -> None:
    fill(tmp_path)
    done = command(tmp_path, "train.py", *ONLY, "-q", "--format", "json")
    assert (done.code, json.loads(done.out)["counts"]["fail"]) == (1, 1)


def test_quiet_leaves_out_what_was_loaded_and_each_line(tmp_path: Path) -> None:
    fill(tmp_path)
    first, *_ = command(tmp_path, "train.py", *ONLY, "-q").out.split()
    assert first == "error[planted]:"


@pytest.mark.parametrize(("form", "annotated"), [("concise", True), ("json", False)])
def test_annotations_follow_a_text_but_spoil_no_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, annotated: bool
) -> None:
    fill(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = command(tmp_path, "train.py", *ONLY, "--format", form, "--durations", "1")
    assert ("::error " in done.out) is annotated
    assert "slowest 1 of 1 checks" in done.err
    assert form != "json" or json.loads(done.out)


def test_no_source_and_no_path_in_any_output(tmp_path: Path) -> None:
    lines = [f"{line}  {SECRET}" if "=" in line else line for line in BAD.splitlines()]
    (tmp_path / "bad.py").write_text("\n".join(lines))
    files = {name: tmp_path / f"r.{name}" for name in ("html", "json", "sarif", "junit", "summary")}
    outputs = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    target = str(tmp_path / "bad.py")
    open_ = command(tmp_path, target, *CHECKS[:2], *outputs)
    assert SECRET in open_.out
    assert str(tmp_path) in files["json"].read_text()
    bare = command(tmp_path, target, *CHECKS[:2], *outputs, "--no-source", "-v")
    texts = [bare.out, bare.err, *(file.read_text() for file in files.values())]
    assert bare.code == open_.code == 1
    for text in texts:
        assert SECRET not in text
        assert str(tmp_path) not in text
    assert "bad.py:" in bare.out


def test_no_source_of_a_saved_result(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    command(tmp_path, "bad.py", *CHECKS, "--json", "r.json")
    assert command(tmp_path, "report", "r.json", "--no-source", "--html", "r.html").code == 0
    assert "Source line" not in (tmp_path / "r.html").read_text()


def test_no_source_of_an_error_that_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("number = int('x')  # secret\n")
    done = command(tmp_path, str(tmp_path / "bad.py"), "--no-source", "--no-html")
    assert done.code == 3
    assert "ValueError" in done.err
    assert "secret" not in done.err
    assert str(tmp_path) not in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for the browser")
def test_open_shows_the_report_in_the_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)  # it reads BROWSER once
    done = command(tmp_path, "train.py", *ONLY[:-1], "--html", "a b.html", "--open")
    assert done.code == 1, done.err
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "a b.html").as_uri()


def test_open_without_a_report_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    done = command(tmp_path, "train.py", *ONLY, "--open")
    assert (done.code, "--open needs the report" in done.err) == (2, True)


ODD = """
import torch
from torch import nn
print("::set-output name=a::b")
class Sly(nn.Linear):
    calls = 0
    def forward(self, x):
        Sly.calls += 1
        if Sly.calls > 12:
            raise ValueError("x\\n::error::planted")
        return super().forward(x)
train_loader = [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(4)]
model, loss_fn = Sly(4, 3), nn.CrossEntropyLoss()
"""


def obeyed(text: str) -> list[str]:
    """The commands that GitHub's runner finds in a log, a line each."""
    found, mark = [], ""
    for line in text.splitlines():
        if mark:
            mark = "" if line.strip() == f"::{mark}::" else mark
        elif line.startswith("::stop-commands::"):
            mark = line.removeprefix("::stop-commands::")
        elif line.lstrip().startswith("::"):
            found.append(line)
    assert not mark, "commands were never resumed"
    return found


def test_what_the_target_says_is_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (tmp_path / "odd.py").write_text(ODD)
    done = command(tmp_path, "odd.py", "--no-html", "-v", "--only", "overfit-one-batch")
    assert "::set-output name=a::b" in done.err
    assert "::error::planted" in done.out
    assert obeyed(done.err) == []
    assert all(line.startswith("::error title=recipe-check") for line in obeyed(done.out))


def test_an_error_that_ends_the_run_is_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (tmp_path / "odd.py").write_text("raise ValueError('x\\n::error::planted')\n")
    done = command(tmp_path, "odd.py", "--no-html")
    assert done.code == 3
    assert "::error::planted" in done.err
    assert obeyed(done.err) == []


def test_the_mark_is_new_each_time_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fenced("a") == "a"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert obeyed(fenced("::error::a")) == []
    assert len({fenced("a") for _ in range(8)}) == 8


def test_a_saved_result_is_printed_in_any_format(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(encode(sample_report()), encoding="utf-8")
    for form, start in (("concise", "model.py:22:13: "), ("github", "::error "), ("json", "{")):
        done = command(tmp_path, "report", "r.json", "--format", form)
        assert (done.code, done.out.startswith(start)) == (0, True), done.err
    done = command(tmp_path, "report", "r.json", "--format", "githab", "--summary", "s.md")
    assert (done.code, "did you mean 'github'?" in done.err) == (2, True)
    assert (tmp_path / "s.md").exists()
    assert command(tmp_path, "report", "r.json").code == 2
