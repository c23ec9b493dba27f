"""`--no-source`: no line of the user's code and no absolute path is left, anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipe_check.errors import LoadError
from recipe_check.no_source import bare_trace, errors_without_source, without_paths, without_source
from recipe_check.run_report import encode
from recipe_check.values import Fix
from tests.reports.sample import sample_report


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("no file /home/me/data/x.csv here", "no file …/x.csv here"),
        ("'/home/my name/data set' is missing", "'…/data set' is missing"),
        ('open("/srv/a b/c.pt")', 'open("…/c.pt")'),
        ("File /srv/app/model.py:22: oops", "File …/model.py:22: oops"),
        ("C:\\Users\\me\\train.py, line 3", "…/train.py, line 3"),
        ("see ~/project/train.py and ~/x.csv", "see …/train.py and …/x.csv"),
        ("file:///home/me/x.html", "…/x.html"),
        ("/data.csv and /srv/data/", "…/data.csv and …/data"),
        ("…/folder/model.py stays", "…/folder/model.py stays"),
        ("src/model.py, and/or, 1/2, a / b, ‖g‖/‖w‖", "src/model.py, and/or, 1/2, a / b, ‖g‖/‖w‖"),
        ("https://example.org/a/b.html", "https://example.org/a/b.html"),
        ("(3 s)/(2 s) of 0.1/0.2/0.3", "(3 s)/(2 s) of 0.1/0.2/0.3"),
    ],
)
def test_of_a_path_the_last_part_stays(text: str, bare: str) -> None:
    assert without_paths(text) == bare
    assert without_paths(bare) == bare


def test_paths_below_the_working_directory_become_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert without_paths(f"{tmp_path}/sub/a.py: x") == "sub/a.py: x"
    assert str(tmp_path) not in without_paths(f"/mnt{tmp_path}/sub/a.py")


TRACE = """Traceback (most recent call last):
  File "/home/me/train.py", line 3, in <module>
    secret = compute(1)
             ^^^^^^^^^^
ValueError: bad /home/me/x.csv"""


def test_a_traceback_keeps_its_files_and_its_error() -> None:
    assert bare_trace(TRACE) == (
        "Traceback (most recent call last):\n"
        '  File "…/train.py", line 3, in <module>\n'
        "ValueError: bad …/x.csv"
    )


def test_a_report_keeps_everything_else() -> None:
    whole = sample_report()
    bare = without_source(whole)
    first, before = bare.results[0].verdict, whole.results[0].verdict
    assert before.location is not None
    assert before.location.source
    assert first.location is not None
    assert (first.location.source, first.location.line) == ("", before.location.line)
    assert before.fix is not None
    assert first.fix == Fix(text=before.fix.text)
    assert first.details == before.details
    assert [r.fingerprint for r in bare.results] == [r.fingerprint for r in whole.results]
    assert encode(without_source(bare)) == encode(bare)


@pytest.mark.parametrize("enabled", [True, False])
def test_an_error_that_ends_the_run(enabled: bool) -> None:
    with pytest.raises(LoadError) as raised, errors_without_source(enabled=enabled):
        raise LoadError("no /srv/data/x", "look at /srv/data", TRACE)
    said = (raised.value.message, raised.value.hint, raised.value.trace)
    assert any("/srv" in text or "secret" in text for text in said) is not enabled
