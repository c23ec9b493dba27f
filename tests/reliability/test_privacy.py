"""What a report must not hold: secrets of the environment, and where somebody's home is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipe_check.privacy import discreet
from recipe_check.results import Verdict
from recipe_check.values import Fix, Location, Status
from tests.commands import command
from tests.test_cli import GOOD

TOKEN = "ghp_0123456789abcdef"
LEAKY = """
import os, pathlib
class Leaky(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = model
        self.calls = 0
    def forward(self, x):
        self.calls += 1
        if self.calls > 1:
            token = os.environ["SECRET_TOKEN"]
            raise ValueError(f"{token} at {pathlib.Path.home()}/data in {__file__}")
        return self.inner(x)
leaky = Leaky()
optimizer = torch.optim.Adam(leaky.parameters(), lr=1e-2)
print(os.environ["SECRET_TOKEN"])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "alice"
    (folder / "project").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("SECRET_TOKEN", TOKEN)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefgh")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "initial-loss")  # no secret, for all its name
    return folder


def test_no_report_holds_a_token_or_the_home_folder(home: Path, tmp_path: Path) -> None:
    """Also where the user's own message says both, and the target is given by its full path."""
    target = home / "project" / "train.py"
    target.write_text(GOOD + LEAKY)
    outputs = {"--json": "r.json", "--html": "r.html", "--sarif": "r.sarif", "--junit": "r.xml",
               "--summary": "r.md"}  # fmt: skip
    words = [word for pair in outputs.items() for word in pair]
    folder = tmp_path / "elsewhere"
    done = command(folder, f"{target}", "--model", "leaky", "--only",
                   "initial-loss,gradient-norms", *words)  # fmt: skip
    assert done.code == 4, done.err
    assert "'~/project/train.py'" in done.out
    texts = {name: (folder / name).read_text() for name in outputs.values()}
    assert "*** at ~/data" in json.loads(texts["r.json"])["results"][0]["verdict"]["message"]
    for text in (done.out, *texts.values()):
        assert TOKEN not in text
        assert str(home) not in text


def test_texts_at_any_depth_are_cleaned(home: Path) -> None:
    verdict = Verdict(
        status=Status.FAIL,
        message=f"in {home}/a.py and {home}2/b.py and /home/bob/c.py, sk-abcdefgh",
        location=Location(file=str(home / "a.py"), line=1),
        fix=Fix(text="none", add=(f"x = '{TOKEN}'",)),
        values={"loss": 1.0},
    )
    clean = discreet(verdict)
    assert clean.message == f"in ~/a.py and {home}2/b.py and …/c.py, ***"
    assert clean.location is not None
    assert clean.location.file == "~/a.py"
    assert clean.fix is not None
    assert clean.fix.add == ("x = '***'",)
    assert clean.values == {"loss": 1.0}


def test_what_is_no_secret_stays(home: Path) -> None:
    verdict = Verdict(status=Status.PASS, message="initial-loss is 1.1, see https://x.org/home/doc")
    assert discreet(verdict) == verdict


def test_a_home_that_is_the_root_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    verdict = Verdict(status=Status.PASS, message="/data/train.py")
    assert discreet(verdict) == verdict
