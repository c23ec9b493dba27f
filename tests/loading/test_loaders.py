"""Loaders as plugins: a third party's is asked like ours, and no library is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recipe_check.loading import loaders
from recipe_check.loading.loaders import Roles, Scene
from recipe_check.loading.names import Candidate
from recipe_check.plugins import loader_classes
from tests.loading.targets import checked, how, loaded

ROOT = Path(__file__).parents[2]
PLAIN = """
import torch
from torch import nn
model = nn.Linear(4, 3)
loader = [(torch.randn(8, 4), torch.arange(8) % 3) for _ in range(8)]
criterion = nn.CrossEntropyLoss()
"""


class Sessions:
    """Knows objects with a `fit`, of a library that does not exist."""

    def find(self, scene: Scene) -> Candidate | None:
        """The network of the only session."""
        found = next((v for v in scene.namespace.values() if type(v).__name__ == "Session"), None)
        return found and Candidate(found.network, "network", "the network of the session")

    def roles(self, model: nn.Module, scene: Scene) -> Roles | None:
        """Its data, its loss and its optimizer."""
        if not isinstance(model, nn.Bilinear):
            return None

        def step(model: Any, batch: Any) -> Any:
            return nn.functional.cross_entropy(model(batch[0], batch[0]), batch[1])

        def optimizer(model: Any) -> torch.optim.Optimizer:
            return torch.optim.SGD(model.parameters(), lr=0.25)

        parts = {"training_step": step, "optimizer": optimizer}
        return Roles({n: Candidate(v, n, "the session's") for n, v in parts.items()}, ["a note"])


def test_a_third_partys_loader_fills_its_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders, "loader_classes", lambda: {"sessions": Sessions})
    text = PLAIN + "class Session:\n    network = nn.Bilinear(4, 4, 3)\n    def fit(self): ...\n"
    subject = loaded(tmp_path, text + "session = Session()\n")
    assert how(subject)["model"] == "the network of the session"
    assert how(subject)["data"] == "by its name `loader`"
    assert how(subject)["optimizer"] == "the session's"
    assert subject.original.optimizer.param_groups[0]["lr"] == 0.25
    assert subject.notes == ("a note",)
    assert checked(subject, "optimizer-coverage")["optimizer-coverage"].status == "pass"
    assert how(loaded(tmp_path, text))["model"] == "by its name `model`"


def test_no_library_is_imported_for_a_plain_target(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    code = (
        "import sys; from recipe_check.loading import load; "
        "from recipe_check.request import LoadRequest; load(LoadRequest(target='plain.py')); "
        "print({'lightning', 'pytorch_lightning', 'transformers', 'accelerate'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_every_loader_stands_in_the_docs() -> None:
    page = (ROOT / "docs" / "loaders.md").read_text()
    for name in loader_classes():
        assert f"| `{name}`" in page
