"""The command line as a process: what is printed, written and returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipe_check.run_report import decode
from recipe_check.values import Status

EXAMPLES = Path(__file__).parent.parent / "examples"
GOOD = """
import torch
from torch import nn
torch.manual_seed(0)
X = torch.randn(192, 8); Y = X[:, :3].argmax(1)
train_loader = [(X[i:i+16], Y[i:i+16]) for i in range(0, 192, 16)]
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
"""
BAD = GOOD.replace("nn.Linear(32, 3))", "nn.Linear(32, 3), nn.Softmax(0))")


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    return subprocess.run(
        [sys.executable, "-m", "recipe_check", *words],
        cwd=folder, env=plain | environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    return tmp_path


def test_a_sound_target_passes_and_writes_both_reports(folder: Path) -> None:
    done = run(folder, "good.py", "--json", "result.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("Ready to train: ")
    report = decode((folder / "result.json").read_text())
    assert report.exit_code == 0
    assert {r.status for r in report.results} <= {Status.PASS, Status.SKIP}
    assert len(report.results) >= 7
    assert "<!doctype html>" in (folder / "recipe-check-report.html").read_text()
    assert "\x1b[" not in done.stdout


def test_a_broken_target_fails_with_a_block_and_a_command(folder: Path) -> None:
    done = run(folder, "run", "bad.py", "--no-html", "--only", "batch-dependency", "--seed", "3")
    assert done.returncode == 1
    assert "error[batch-dependency]" in done.stdout
    command = "rerun: recipe-check run bad.py --only batch-dependency --seed 3"
    assert command in done.stdout
    assert not list(folder.glob("*.html"))


def test_the_same_seed_gives_the_same_result_but_for_times(folder: Path) -> None:
    def result() -> object:
        done = run(folder, "good.py", "--no-html", "--json", "r.json")
        assert done.returncode == 0
        plain = json.loads((folder / "r.json").read_text())
        for entry in plain["results"]:
            del entry["cost"]["seconds"]
        return plain["results"]

    assert result() == result()


def test_only_skip_and_an_unknown_check(folder: Path) -> None:
    done = run(folder, "good.py", "--no-html", "--json", "r.json", "--only", "gradients",
               "--skip", "gradient-check")  # fmt: skip
    ids = {r.id for r in decode((folder / "r.json").read_text()).results}
    assert done.returncode == 0
    assert ids == {"gradient-norms", "dead-relu"}
    wrong = run(folder, "good.py", "--only", "gradient-chek")
    assert wrong.returncode == 2
    assert "did you mean 'gradient-check'?" in wrong.stderr


def test_fail_on(folder: Path) -> None:
    words = ("bad.py", "--no-html", "--only", "batch-dependency", "--fail-on")
    assert run(folder, *words, "never").returncode == 0
    assert run(folder, *words, "error").returncode == 1


def test_colors_are_asked_for(folder: Path) -> None:
    words = ("good.py", "--no-html", "--only", "initial-loss")
    assert "\x1b[" in run(folder, *words, "--color", "always").stdout
    assert "\x1b[" in run(folder, *words, FORCE_COLOR="1").stdout
    assert "\x1b[" not in run(folder, *words, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_a_terminal_without_unicode_gets_ascii(folder: Path) -> None:
    done = run(folder, "good.py", "--no-html", "--only", "initial-loss", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "+ initial-loss" in done.stdout


def test_arguments_behind_the_dashes_are_the_targets_own(folder: Path) -> None:
    (folder / "argued.py").write_text("import sys; assert sys.argv[1:] == ['--lr', '1']\n" + GOOD)
    done = run(folder, "argued.py", "--no-html", "--only", "initial-loss", "--", "--lr", "1")
    assert done.returncode == 0, done.stderr


def test_what_the_target_prints_stays_out_of_the_results(folder: Path) -> None:
    (folder / "loud.py").write_text(GOOD + "print('hello from the target')")
    words = ("loud.py", "--no-html", "--only", "initial-loss")
    quiet, verbose = run(folder, *words), run(folder, *words, "-v")
    assert "hello from the target" not in quiet.stdout + quiet.stderr
    assert "hello from the target" in verbose.stderr


REFUSED = {
    "missing-file": (None, 3, "no such file: target.py"),
    "syntax-error": ("def f(:\n", 3, "SyntaxError"),
    "import-error": ("import no_such_package\n", 3, "no_such_package"),
    "no-model": ("x = 1\n", 3, "no model found"),
    "two-models": (GOOD.replace("model =", "a =") .replace("(model.", "(a.") + "b = nn.ReLU()\n",
                   3, "more than one model"),
    "empty-loader": (GOOD + "train_loader = []\n", 3, "yields no batch"),
    "vector-loss": (GOOD.replace("EntropyLoss()", "EntropyLoss(reduction='none')"), 3,
                    "expected one number"),
    "raises-in-forward": (GOOD.replace("nn.Linear(32, 3)", "nn.Linear(31, 3)"), 3, "shapes"),
    "trains-on-import": (GOOD + "loss_fn(model(X), Y).backward()\noptimizer.step()\n", 3,
                         "started training while it was being loaded (line 11"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_ends_with_one_message_and_its_exit_code(tmp_path: Path, case) -> None:
    text, code, message = case
    if text is not None:
        (tmp_path / "target.py").write_text(text)
    done = run(tmp_path, "target.py")
    assert done.returncode == code
    assert message in done.stderr
    assert "help:" in done.stderr
    assert "recipe_check/" not in done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_an_unwritable_path_is_told_before_anything_runs(folder: Path) -> None:
    done = run(folder, "good.py", "--json", "nowhere/result.json")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_show_lists_what_was_found_and_how(folder: Path) -> None:
    done = run(folder, "show", "good.py")
    assert done.returncode == 0
    assert "by its name `model`" in done.stdout
    assert "Adam, lr 0.01" in done.stdout


def test_list_and_explain_need_no_torch(folder: Path) -> None:
    blocked = "import sys; sys.modules['torch'] = None\nfrom recipe_check.cli import main\n"
    for words in (["list"], ["explain", "batch-dependency"], ["explain", "--all", "--format",
                                                              "json"]):  # fmt: skip
        code = blocked + f"sys.argv = ['recipe-check', *{words!r}]\nmain()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "batch-dependency" in done.stdout


def test_a_report_from_a_saved_result_has_the_same_bytes(folder: Path) -> None:
    run(folder, "good.py", "--json", "r.json", "--html", "a.html")
    done = run(folder, "report", "r.json", "--html", "b.html")
    assert done.returncode == 0, done.stderr
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()
    (folder / "r.json").write_text("{}")
    assert run(folder, "report", "r.json", "--html", "b.html").returncode == 2


def test_a_suppression_in_the_code_is_honoured_and_shown(folder: Path) -> None:
    text = BAD.replace("import torch\n", "import torch, recipe_check\n", 1)
    text = text.replace(
        "model = nn.Sequential(",
        """@recipe_check.suppress(
    "batch-dependency", reason="samples are compared by design", permanent=True)
class Compared(nn.Sequential):
    pass
model = Compared(""",
    )
    (folder / "marked.py").write_text(text)
    done = run(folder, "marked.py", "--no-html", "--only", "batch-dependency")
    assert done.returncode == 0, done.stdout
    assert "1 suppressed" in done.stdout


def test_machine_formats_and_annotations(folder: Path) -> None:
    words = ("bad.py", "--no-html", "--only", "batch-dependency", "--sarif", "r.sarif",
             "--junit", "r.xml")  # fmt: skip
    done = run(folder, *words, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "s.md"))
    assert done.returncode == 1
    assert "::error " in done.stdout
    assert json.loads((folder / "r.sarif").read_text())["version"] == "2.1.0"
    assert "<failure" in (folder / "r.xml").read_text()
    assert "batch-dependency" in (folder / "s.md").read_text()
    assert "::error" not in run(folder, *words).stdout


PLANTED = {
    "digits_broken.py": {"batch-dependency": "transpose(0, 1)", "overfit-one-batch": "F.softmax",
                         "dead-relu": "self.fc1(x)"},
    "diabetes_broken.py": {"gradient-check": "return 2 * x",
                           "overfit-one-batch": "mse(prediction, target)"},
    "char_broken.py": {"initial-loss": "F.cross_entropy", "gradient-norms": ".detach()",
                       "batch-dependency": "no batch_first=True"},
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_mistake_of_the_examples_is_named_with_its_line(
    tmp_path: Path, name: str
) -> None:
    done = run(tmp_path, str(EXAMPLES / name), "--html", "r.html", "--json", "r.json")
    assert done.returncode == 1
    assert (tmp_path / "r.html").stat().st_size <= 400_000
    found = {r.id: r.verdict for r in decode((tmp_path / "r.json").read_text()).results}
    for id, source in PLANTED[name].items():
        assert found[id].status in (Status.FAIL, Status.WARN)
        assert source in found[id].location.source


@pytest.mark.parametrize("name", ["digits_cnn.py", "diabetes_mlp.py", "char_gpt.py"])
def test_the_healthy_examples_are_ready_to_train(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, str(EXAMPLES / name), "--no-html", "--fail-on", "warning")
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("Ready to train: ")
