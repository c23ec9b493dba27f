"""The configuration file: where it is looked for, what it refuses, what it changes."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pytest

from recipe_check.check_settings import check_settings
from recipe_check.choice import Choice, choose
from recipe_check.config import find_config
from recipe_check.plugins import check_classes
from recipe_check.policy import stale, suppressed
from recipe_check.results import Result, Suppression, Verdict
from recipe_check.run_report import DeclaredSuppression, Target, decode
from recipe_check.suppressions import declared_for, of_no_check, unmatched
from recipe_check.values import Status
from tests.commands import ONLY, command, fill

HEAD = "[tool.recipe-check]\n"
SUPPRESS = """
[[tool.recipe-check.suppress]]
check = "planted"
target = "train.py"
reason = "it is planted by the test"
"""


def settings(folder: Path, text: str):
    (folder / "recipe-check.toml").write_text(text)
    return find_config(folder)


def test_the_nearest_file_with_settings_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(HEAD + "seed = 1")
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'a'")
    assert find_config(inner).settings.seed == 1
    (tmp_path / "recipe-check.toml").write_text("seed = 2")
    assert find_config(inner).settings.seed == 2
    (inner / "pyproject.toml").write_text(HEAD + "seed = 3")
    assert find_config(inner).settings.seed == 3


def test_the_example_of_the_readme_is_valid(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (tmp_path / "pyproject.toml").write_text(readme.split("```toml\n")[1].split("```")[0])
    config = find_config(tmp_path)
    assert config.settings.targets["detector"].kwargs == {"width": 64}
    assert check_settings(config, check_classes()).options["overfit-one-batch"] == {"steps": 400}


REFUSED = {
    "key": ("fail_on = 'error'", "pyproject.toml: unknown key 'fail_on'", "'fail-on'"),
    "key-of-a-target": ("targets.a.modle = 'm'", "unknown key 'targets.a.modle'", "'model'"),
    "key-of-a-suppression": ("suppress = [{chek = 'a'}]", "'suppress[0].chek'", "'check'"),
    "check": ("checks.batch-contact = {}", "pyproject.toml: checks.batch-contact", "'batch-contr"),
    "option": ("checks.dropout.hihg = 0.1", "checks.dropout: unknown key 'hihg'", "'high'"),
    "option-type": ("checks.dropout.high = 'a'", "checks.dropout: high = 'a'", "a float"),
    "option-bool": ("checks.dropout.high = true", "high = True", "a float"),
    "severity": ("checks.dropout.severity = 'low'", "dropout.severity: 'low'", "warning, off"),
    "type": ("seed = 'a'", "pyproject.toml: seed: should be a whole number", "not a text"),
    "capture-of-a-target": ("targets.a.capture = 1", "targets.a.capture: should be true or false",
                            ""),
    "args-of-a-target": ("targets.a.args = '--lr'", "targets.a.args: should be a list", ""),
    "type-of-a-target": ("targets.a.model = 1", "targets.a.model: should be a text in quotes",
                         "not a whole number"),
    "choice": ("preset = 'slow'", "preset: 'slow' is none of quick, default, thorough", ""),
    "range": ("budget = 0", "pyproject.toml: budget: should be a number > 0", "recipe-check init"),
    "no-table": ("targets = 1", "targets: should be a table", "not a whole number"),
    "suppressed-check": ("suppress = [{check = 'zzz', target = 'a.py', reason = 'because we can',"
                         " permanent = true}]", "suppress[0]: no check called 'zzz'",
                         "recipe-check list"),
    "no-reason": ("suppress = [{check = 'dropout', target = 'a.py', permanent = true}]",
                  "suppress[0]: the key 'reason' is missing", ""),
    "no-end": ("suppress = [{check = 'dropout', target = 'a.py', reason = 'because we can'}]",
               "suppress[0]: give expires", ""),
    "bad-date": ("suppress = [{check = 'dropout', target = 'a.py', reason = 'because we can',"
                 " expires = 'soon'}]", "suppress[0].expires: should be a date such as", ""),
    "only": ("only = 'dropout'", "pyproject.toml: only: should be a list", "not a text in quotes"),
    "unknown-only": ("only = ['droput']", "pyproject.toml: only: no check called", "'dropout'"),
    "unknown-skip": ("skip = ['overfit']", "pyproject.toml: skip: no check called 'overfit'",
                     "did you mean 'overfit-one-batch'?"),
    "table": ("chekcs.dropout.high = 0.1", "pyproject.toml: unknown key 'chekcs'", "'checks'"),
    "table-of-suppressions": ("supress = [{}]", "unknown key 'supress'", "'suppress'"),
    "table-of-one-target": ("target.small.file = 'a.py'", "pyproject.toml: target: should be a "
                            "text in quotes, not a table", "did you mean 'targets'?"),
    "table-of-a-check": ("checks.dropout = 3", "checks.dropout: should be a table", ".severity"),
    "short-reason": ("suppress = [{check = 'dropout', target = 'a.py', reason = 'because',"
                     " permanent = true}]", "suppress[0].reason: should be a text in quotes, of "
                     "at least 10 characters", ""),
    "table-without-a-file": ("targets.small.loss = 'l'", "targets.small needs a file", "model ="),
    "no-toml": ("seed =", "cannot read pyproject.toml", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_is_a_usage_error_naming_file_and_key(tmp_path: Path, case) -> None:
    text, message, hint = case
    fill(tmp_path, HEAD + text)
    done = command(tmp_path, "small" if "small" in text else "train.py", "--no-html")
    assert done.code == 2
    assert message in done.err
    assert hint in done.err


def test_the_prefix_is_refused_where_it_is_not_needed(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "recipe-check.toml").write_text(HEAD)
    done = command(tmp_path, "train.py")
    assert done.code == 2
    assert "without the prefix tool.recipe-check" in done.err


def test_the_file_gives_defaults_and_the_command_line_wins(tmp_path: Path) -> None:
    fill(tmp_path, HEAD + "target = 'train.py'\nseed = 5\nbudget = 77\nhtml = 'out.html'\n"
         "only = ['planted']\nfail-on = 'never'")  # fmt: skip
    done = command(tmp_path, "--plugin", "planted.py", "--json", "r.json", "--seed", "7")
    assert done.code == 0, done.err
    report = decode((tmp_path / "r.json").read_text())
    assert (report.run.seed, report.run.budget_seconds) == (7, 77)
    assert [r.id for r in report.results] == ["planted"]
    assert (tmp_path / "out.html").exists()
    assert ("configuration", "pyproject.toml") in report.run.environment


def test_without_a_target_anywhere_there_is_help_or_an_error(tmp_path: Path) -> None:
    assert "Commands:" in command(tmp_path).out + command(tmp_path).err
    done = command(tmp_path, "run")
    assert done.code == 2
    assert "no TARGET" in done.err


def test_a_name_of_the_targets_table(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    layers = "nn.Sequential(nn.Linear(4, width), nn.Linear(width, 3))"
    code = f"from torch import nn\ndef build(width): return {layers}"
    (package / "nets.py").write_text(code)
    fill(tmp_path, HEAD + "[tool.recipe-check.targets.small]\nfile = 'train.py'\n"
         "model = 'pkg.nets:build'\nkwargs = { width = 5 }\ndata = 'train_loader'")  # fmt: skip
    below = tmp_path / "below"
    below.mkdir()
    words = ("small", "--plugin", "../planted.py", "--only", "planted", "--no-html")
    done = command(below, *words, "--json", "r.json")
    assert done.code == 1, done.err
    report = decode((below / "r.json").read_text())
    assert report.target.parameters == 4 * 5 + 5 + 5 * 3 + 3
    assert report.results[0].reproduce[2] == "../train.py"
    again = command(below, *words, "--kwarg", "width=6", "--json", "r.json")
    assert again.code == 1
    assert decode((below / "r.json").read_text()).target.parameters == 4 * 6 + 6 + 6 * 3 + 3


CAPTURED = """
import sys, torch
from torch import nn
model = nn.Linear(4, int(sys.argv[1]))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
while True:
    model(torch.randn(8, 4)).pow(2).mean().backward()
    optimizer.step()
"""


def test_a_target_that_is_captured_with_its_arguments(tmp_path: Path) -> None:
    fill(tmp_path, HEAD + "[tool.recipe-check.targets.script]\nfile = 'run.py'\n"
         "capture = true\nargs = ['5']")  # fmt: skip
    (tmp_path / "run.py").write_text(CAPTURED)
    words = ("script", *ONLY, "--json", "r.json")
    assert command(tmp_path, *words).code == 1
    report = decode((tmp_path / "r.json").read_text())
    assert report.target.parameters == 4 * 5 + 5
    assert report.results[0].reproduce[:4] == ("recipe-check", "run", "run.py", "--capture")
    assert report.results[0].reproduce[-2:] == ("--", "5")
    assert command(tmp_path, *words, "--", "6").code == 1
    assert decode((tmp_path / "r.json").read_text()).target.parameters == 4 * 6 + 6


def test_a_table_without_a_file_loads_the_module_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = settings(tmp_path, "targets.big.model = 'pkg.nets:build'\ntarget = 'a/b.py:net'")
    assert choose("big").target == "pkg.nets"
    assert choose(None).target == str(Path("a/b.py:net"))
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert choose(None).target == "b.py:net"
    assert Path(choose("other.py").root) == config.path.parent


@pytest.mark.parametrize(
    ("verdict", "severity", "status", "code"),
    [("fail", "warning", Status.WARN, 0), ("warn", "error", Status.FAIL, 1),
     ("fail", "off", Status.SKIP, 5), ("pass", "error", Status.PASS, 0)],
)  # fmt: skip
def test_options_and_severity_of_a_check(tmp_path, verdict, severity, status, code) -> None:
    fill(tmp_path, f"[tool.recipe-check.checks.planted]\nverdict-is = '{verdict}'\n"
         f"severity = '{severity}'")  # fmt: skip
    done = command(tmp_path, "train.py", *ONLY, "--json", "r.json")
    assert done.code == code, done.err
    result = decode((tmp_path / "r.json").read_text()).results[0]
    assert result.status is status
    if status is Status.SKIP:
        assert result.verdict.message == "turned off in pyproject.toml"
    assert ("severity =" in result.verdict.message) == (status in (Status.WARN, Status.FAIL))


def test_options_reach_the_check_by_their_kebab_names(tmp_path: Path) -> None:
    kinds = check_classes()
    config = settings(tmp_path, "checks.gradient-norms.silent-share = 1")
    (job,) = check_settings(config, kinds).jobs(kinds, ["gradient-norms"], 0)
    assert job.check.silent_share == 1
    assert job.request.options == {"silent_share": 1}


def test_a_suppression_is_applied_and_reported_when_stale(tmp_path: Path) -> None:
    fill(tmp_path, SUPPRESS + "permanent = true")
    done = command(tmp_path, "train.py", *ONLY)
    assert done.code == 0, done.err
    assert "suppressed planted: it is planted by the test" in done.out
    fill(tmp_path, "[tool.recipe-check.checks]\nplanted.verdict-is = 'pass'\n" + SUPPRESS
         + "permanent = true")  # fmt: skip
    words = ("train.py", *ONLY, "--json", "r.json")
    assert command(tmp_path, *words).code == 0
    done = command(tmp_path, *words, "--strict-suppressions")
    assert done.code == 1
    assert "note: the suppression of planted (it is planted by the test) is unused" in done.out
    report = decode((tmp_path / "r.json").read_text())
    assert (report.outcome, len(report.notes)) == ("stale", 1)


def test_an_expired_suppression_does_not_count_and_is_reported(tmp_path: Path) -> None:
    fill(tmp_path, SUPPRESS + "expires = '2020-02-21'")
    done = command(tmp_path, "train.py", *ONLY, "--fail-on", "error")
    assert done.code == 1
    assert "(it is planted by the test) expired on 2020-02-21" in done.out


@pytest.mark.parametrize(
    ("written", "meant"),
    [("src/train.py", True), ("src/train.py:Net", True), ("src/train.py:recipe", True),
     ("src/train.py:Other", False), ("train.py", False), ("src/other.py", False),
     ("small", True), ("pkg.train", False)],
)  # fmt: skip
def test_a_suppression_is_for_one_target(tmp_path, monkeypatch, written, meant) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    config = settings(tmp_path, f"[[suppress]]\ncheck = 'a'\ntarget = '{written}'\n"
                      "reason = 'because we can'\nexpires = 2027-02-21")  # fmt: skip
    choice = Choice("small", "train.py:recipe", config)
    loaded = Target(name="train.py", file="train.py", model="Net", parameters=1, sha256="")
    found = declared_for(choice, loaded)
    expected = Suppression(reason="because we can", expires="2027-02-21")
    assert [d.suppression for d in found] == [expected] * meant


@pytest.mark.parametrize(
    ("written", "why"),
    [("src/train.py", ""), ("src/train.py:Other", ""), ("src/train.py:Nett", "no Nett in train.py"),
     ("src/train.py:Net.fc1", "no Net.fc1 in train.py"), ("src/gone.py:Net", "no file gone.py"),
     ("small", ""), ("smal", "no file or module smal"), ("json.tool:net", ""), ("src", ""),
     ("pkg_that_is_not.train", "no file or module pkg_that_is_not.train")],
)  # fmt: skip
def test_a_suppression_that_can_match_nothing_is_reported(
    tmp_path, monkeypatch, written, why
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("class Other: ...\n")
    monkeypatch.chdir(tmp_path / "src")
    text = (
        f"[targets.small]\nfile = 'src/train.py'\n[[suppress]]\ncheck = 'a'\ntarget = '{written}'\n"
    )
    config = settings(tmp_path, text + "reason = 'because we can'\npermanent = true")
    loaded = Target(name="other.py", file="other.py", model="Net", parameters=1, sha256="")
    found = unmatched(Choice("other.py", "other.py", config), loaded)
    said = f"the suppression of a (because we can) matches nothing: {why}"
    assert found == ((said,) if why else ())


def test_a_mark_that_names_no_check_is_reported(tmp_path: Path) -> None:
    mark = DeclaredSuppression(check="planned", suppression=Suppression(reason="it is so here"))
    loaded = Target(name="t.py", file="t.py", model="Net", parameters=1, sha256="",
                    suppressions=(mark,))  # fmt: skip
    (note,) = of_no_check(loaded, ("planted", "dropout"))
    assert note.endswith("no check is called that; did you mean 'planted'?")
    assert of_no_check(loaded, ("planned",)) == of_no_check(loaded, ()) == ()


def test_a_suppression_of_a_file_that_is_gone_counts_as_stale(tmp_path: Path) -> None:
    gone = SUPPRESS.replace("train.py", "gone.py") + "permanent = true"
    fill(tmp_path, "[tool.recipe-check.checks]\nplanted.verdict-is = 'pass'\n" + gone)
    done = command(tmp_path, "train.py", *ONLY, "--strict-suppressions")
    assert done.code == 1
    assert "matches nothing: no file gone.py" in done.out


def test_a_suppressed_check_that_did_not_run_is_not_called_unused(tmp_path: Path) -> None:
    config = settings(tmp_path, "[[suppress]]\ncheck = 'a'\ntarget = 'pkg.train:net'\n"
                      "reason = 'because we can'\npermanent = true")  # fmt: skip
    loaded = Target(name="train.py", file="", model="Net", parameters=1, sha256="")
    declared = declared_for(Choice("pkg.train:net", "pkg.train:net", config), loaded)
    today = date(2026, 11, 21)
    for status, notes in ((Status.SKIP, 0), (Status.FAIL, 0), (Status.PASS, 1)):
        verdict = Verdict(status=status, message="m")
        results = (Result(id="a", stage="data", title="a", verdict=verdict),)
        assert len(stale(results, declared, today)) == notes
        assert (suppressed(results, declared, today)[0].suppressed is None) != (
            status is Status.FAIL
        )


def test_init_writes_a_file_that_is_valid_with_every_comment_taken_away(tmp_path: Path) -> None:
    fill(tmp_path)
    done = command(tmp_path, "init", "train.py")
    assert done.code == 0, done.err
    text = (tmp_path / "recipe-check.toml").read_text()
    assert tomllib.loads(text) == {"target": "train.py"}
    lines = text.splitlines()
    bare = [line.removeprefix("# ") for line in lines if " = " in line or line.startswith("# [")]
    (tmp_path / "recipe-check.toml").write_text("\n".join(bare))
    config = find_config(tmp_path)
    assert check_settings(config, check_classes()).severity == {"overfit-one-batch": "warning"}
    assert command(tmp_path, "init").code == 2


def test_init_refuses_what_would_be_hidden_or_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path, HEAD)
    assert "has [tool.recipe-check] already" in command(tmp_path, "init").err
    (tmp_path / "pyproject.toml").unlink()
    assert "no such file: trian.py" in command(tmp_path, "init", "trian.py").err
    assert command(tmp_path, "init").code == 0
