"""`pytest --recipe-check FILE`: one test a check, by the same rules as the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.test_cli import BAD, GOOD

WARNS = GOOD.replace("nn.ReLU()", "nn.ReLU(), nn.Dropout(0.9)")
SETTINGS = """
[tool.recipe-check]
only = ["batch-contract", "batch-dependency", "dropout", "time-dependency"]
"""
SUPPRESS = """
[[tool.recipe-check.suppress]]
check = "batch-dependency"
target = "bad.py"
reason = "scores are relative to the batch here"
permanent = true
[tool.recipe-check.checks.dropout]
severity = "off"
"""


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(good=GOOD, bad=BAD, warns=WARNS, test_own="def test_own(): pass\n")
    pytester.makepyprojecttoml(SETTINGS)
    return pytester


def test_one_test_a_check_beside_the_own_tests(folder: pytest.Pytester) -> None:
    done = folder.runpytest_inprocess("--recipe-check", "good.py", "--recipe-check=bad.py", "-rA")
    done.assert_outcomes(passed=6, failed=1, skipped=2)
    done.stdout.fnmatch_lines_random([
        "PASSED good.py::batch-dependency",
        "SKIPPED*not a next-token model*",
        "PASSED test_own.py::test_own",
        "error[[]batch-dependency[]]: Samples of one batch influence each other",
        "*= measured: * expected 0",
        "*= help: normalise over the class axis*",
        "*= rerun: recipe-check run bad.py --only batch-dependency --seed 0",
        "FAILED bad.py::batch-dependency - Failed: error[[]batch-dependency[]]: Samples*",
    ])  # fmt: skip
    shown = done.stdout.str()
    assert "pytest_plugin.py" not in shown.split("short test summary")[0]
    assert "Traceback" not in shown


def test_a_warning_passes_with_a_warning_of_pytest(folder: pytest.Pytester) -> None:
    words = ("--recipe-check", "warns.py", "warns.py::dropout", "-W")
    done = folder.runpytest_inprocess(*words, "default")
    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines(["*RecipeCheckWarning: warning[[]dropout[]]: *"])
    done = folder.runpytest_inprocess(*words, "error")
    done.assert_outcomes(failed=1)
    assert "pytest_plugin.py" not in done.stdout.str()


def test_the_configuration_has_its_say(folder: pytest.Pytester) -> None:
    folder.makepyprojecttoml(SETTINGS + SUPPRESS)
    done = folder.runpytest_inprocess("--recipe-check", "bad.py", "bad.py", "-rs")
    done.assert_outcomes(passed=1, skipped=3)
    done.stdout.fnmatch_lines_random(
        ["*suppressed: scores are relative to the batch here", "*turned off in pyproject.toml"]
    )


def test_a_target_that_does_not_load_is_an_error_of_every_check(folder: pytest.Pytester) -> None:
    folder.makepyfile(absent="import no_such_module\n")
    done = folder.runpytest_inprocess("--recipe-check", "absent.py", "absent.py")
    done.assert_outcomes(errors=4)
    done.stdout.fnmatch_lines(["*No module named 'no_such_module'*", "help: install *"])
    assert "During handling" not in done.stdout.str()


def test_where_no_step_runs_the_data_is_still_checked(folder: pytest.Pytester) -> None:
    folder.makepyfile(good=GOOD.replace("nn.Linear(32, 3))", "nn.Linear(31, 3))"))
    done = folder.runpytest_inprocess("--recipe-check", "good.py", "good.py")
    done.assert_outcomes(passed=1, errors=3)
    done.stdout.fnmatch_lines(["one training step on the first batch raises: *mat1 and mat2*"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe-check", "nowhere.py"], "*file or directory not found: *nowhere.py*"),
        (["--recipe-check", "os.path"], "*--recipe-check os.path: no Python file*"),
        (["--recipe-check", "good.py", "--recipe-check", "good.py:net"], "*two targets in good.py"),
    ],
)
def test_a_wrong_option_is_a_usage_error(folder: pytest.Pytester, words, message: str) -> None:
    done = folder.runpytest_inprocess(*words)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([message])


def test_without_the_option_nothing_is_imported(folder: pytest.Pytester) -> None:
    folder.makepyfile(
        test_own="""
        import sys
        def test_own():
            assert "recipe_check.pytest_plugin" in sys.modules
            assert not {"torch", "recipe_check.engine", "recipe_check.plugins"} & set(sys.modules)
    """
    )
    words = [sys.executable, "-m", "pytest", "-q", "test_own.py"]
    done = subprocess.run(words, cwd=folder.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
