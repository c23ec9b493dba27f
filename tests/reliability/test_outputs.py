"""Results are never lost: what cannot be written does not keep the rest from being written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest

from recipe_check.files import check_writable, write_whole
from recipe_check.outputs import Problems
from recipe_check.run_report import decode
from tests.commands import ONLY, command, fill
from tests.reliability.running import FAULTY, PLUGIN

FULL = Path("/dev/full")
full_disk = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a folder for temporary files of its own, so that journals can be counted."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return fill(tmp_path)


def left(folder: Path, kind: str = "jsonl") -> list[Path]:
    return sorted((folder / "temporary").glob(f"recipe-check-*.{kind}"))


@full_disk
def test_a_full_disk_for_every_output_is_told_and_the_journal_kept(folder: Path) -> None:
    """All at once: each path is named, the finding is printed, the results are in the journal."""
    options = ("--json", "--html", "--sarif", "--junit", "--summary", "--write-baseline",
               "--profile")  # fmt: skip
    links = {option: folder / f"full{option}" for option in options}
    for link in links.values():
        link.symlink_to(FULL)
    words = [word for option, link in links.items() for word in (option, link.name)]
    done = command(folder, "train.py", "--plugin", "planted.py", "--only", "planted", *words,
                   "--reason", "known since the beginning")  # fmt: skip
    assert done.code == 2
    for option in options:
        assert f"cannot write full{option}: No space left on device" in done.err
    assert "error[planted]" in done.out
    (journal,) = left(folder)
    assert f"the 1 results so far are kept in {journal}" in done.err
    assert json.loads(journal.read_text())["id"] == "planted"
    assert FULL.is_char_device()


@full_disk
def test_one_path_that_fails_does_not_stop_the_others(folder: Path) -> None:
    done = command(folder, "train.py", *ONLY, "--json", "/dev/full", "--sarif", "r.sarif",
                   "--junit", "r.xml")  # fmt: skip
    assert done.code == 2
    assert "cannot write /dev/full: No space left on device" in done.err
    assert (folder / "r.sarif").exists()
    assert (folder / "r.xml").exists()


def test_a_run_that_ends_well_leaves_no_file_behind(folder: Path) -> None:
    assert command(folder, "train.py", *ONLY, "--json", "r.json").code == 1
    assert left(folder) == left(folder, "log") == []


@pytest.mark.parametrize("option", ["--json", "--html", "--sarif", "--junit", "--summary",
                                    "--profile", "--write-baseline"])  # fmt: skip
@pytest.mark.parametrize("path", ["nowhere/r.out", "/proc/r.out", "."])
def test_an_unwritable_path_is_told_before_anything_runs(
    folder: Path, option: str, path: str
) -> None:
    reason = ("--reason", "known since the beginning") if option == "--write-baseline" else ()
    done = command(folder, "train.py", option, path, *reason)
    assert done.code == 2
    assert f"cannot write {path}" in done.err


def test_a_writer_that_breaks_is_told_and_the_rest_is_written(folder: Path) -> None:
    with mock.patch("recipe_check.reports.sarif.SarifReport.render", side_effect=KeyError("x")):
        done = command(folder, "train.py", *ONLY, "--sarif", "r.sarif", "--json", "r.json")
    assert done.code == 4
    assert "recipe-check itself broke in making r.sarif: KeyError" in done.err
    assert decode((folder / "r.json").read_text()).results
    assert len(left(folder)) == 1


def test_a_disk_that_fills_up_leaves_the_old_report_and_no_half_one(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    problems = Problems()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with problems.attempt("r.json"):
            write_whole(file, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert problems.found[0].message == f"cannot write {file}: File too large"
    assert [f.name for f in tmp_path.iterdir()] == ["r.json"]
    assert file.read_text() == "old"


def test_devices_are_written_into_and_links_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("pipe", "link"):
        check_writable(tmp_path / name)
        write_whole(tmp_path / name, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


def start(folder: Path, *words: str, **streams: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "recipe_check", *words], cwd=folder, text=True, **streams
    )  # type: ignore[call-overload]


@full_disk
def test_standard_output_that_is_full_gone_or_closed_costs_no_report(folder: Path) -> None:
    """All at a time: each waits for its worker."""
    with FULL.open("w") as full:
        filled = start(folder, "train.py", *ONLY, "--json", "full.json", stdout=full,
                       stderr=subprocess.PIPE)  # fmt: skip
        gone = start(folder, "train.py", *ONLY, "--json", "gone.json", stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE)  # fmt: skip
        closed = start(folder, "train.py", *ONLY, "--json", "closed.json", preexec_fn=_close)
        gone.stdout.close()
        told = filled.communicate()[1]
        quiet = gone.stderr.read()
        gone.stderr.close()
    assert filled.returncode == 2
    assert "cannot write to standard output: No space left on device" in told
    assert gone.wait() == 1  # as with somebody who listens
    assert "Error" not in quiet
    assert closed.wait() == 1
    for name in ("full.json", "gone.json", "closed.json"):
        assert decode((folder / name).read_text()).results


def _close() -> None:
    for number in range(3):
        os.close(number)


def test_a_parent_that_is_killed_leaves_its_journal_and_no_worker(folder: Path) -> None:
    process = start(folder, str(FAULTY), "--plugin", PLUGIN, "--no-html", "--only",
                    "fine-0,forward-hang", stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)  # fmt: skip
    with process:
        worker = _wait_for(lambda: left(folder) and left(folder)[0].read_text()) and _child(process)
        process.kill()
    (journal,) = left(folder)
    assert '"id": "fine-0"' in journal.read_text()
    assert _wait_for(lambda: not _runs(worker))


def _wait_for(done, seconds: float = 60.0) -> bool:
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > seconds:
            return False
        time.sleep(0.1)
    return True


def _child(process: subprocess.Popen[str]) -> int:
    """Its worker; multiprocessing's own helper comes first."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(listed[-1])


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
