"""What a wrong command line is answered with: what is wrong, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import command, fill

CASES = {
    "choice": (("train.py", "--preset", "slow"), "error: --preset: 'slow' is none of 'quick', "
               "'default', 'thorough'", "recipe-check run --help"),
    "number": (("train.py", "--seed", "x"), "error: --seed: 'x' is not a valid integer", "--help"),
    "range": (("train.py", "--budget", "-5"), "error: --budget: -5.0 should be above 0", "--help"),
    "no-time": (("train.py", "--check-timeout", "0"), "--check-timeout: 0.0 should be", "--help"),
    "count": (("train.py", "--maxfail", "-1"), "error: --maxfail: -1 should be at least 0", ""),
    "option": (("train.py", "--sarfi", "x"), "error: no option --sarfi", "did you mean '--sarif'?"),
    "strange-option": (("train.py", "--foo"), "error: no option --foo", "recipe-check run --help"),
    "argument": (("report",), "error: missing argument 'RESULT'", "recipe-check report --help"),
    "command": (("explian", "dropout"), "error: no command, target, file or module is called "
                "'explian'", "did you mean  recipe-check explain?"),
    "target": (("smal",), "is called 'smal'", "did you mean  recipe-check small?"),
    "result": (("diff", "a.json", "b.json"), "cannot read a.json: No such file", "--json FILE"),
    "explain": (("explain", "overfit"), "no check called 'overfit'", "'overfit-one-batch'?"),
    "strange-check": (("explain", "zzz"), "no check called 'zzz'", "recipe-check list  shows"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_wrong_command_line(tmp_path: Path, case) -> None:
    words, message, hint = case
    fill(tmp_path, "[tool.recipe-check.targets.small]\nfile = 'train.py'")
    done = command(tmp_path, *words)
    assert done.code == 2
    assert message in done.err
    assert hint in done.err
    assert "Usage:" not in done.err


def test_a_module_that_is_there_is_no_misspelt_command(tmp_path: Path) -> None:
    (fill(tmp_path) / "lists.py").write_text("")
    done = command(tmp_path, "lists", "--no-html")
    assert "no command" not in done.err


def test_nothing_at_all_shows_the_help(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert done.code == 2
    assert "Check a PyTorch training setup before you train it." in done.err + done.out
