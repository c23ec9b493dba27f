"""hubconf.py, `package.module:object`, and arguments for what makes the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipe_check import Status
from recipe_check.cli import _keyword
from recipe_check.errors import LoadError
from recipe_check.loading import load
from recipe_check.request import LoadRequest
from tests.loading.targets import checked, how, line_of, loaded

HUB = """
dependencies = ["torch"]
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def small(pretrained=True, width=16, **kwargs):
    '''A small classifier.'''
    assert not pretrained, "nothing to download"
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3), **kwargs)
"""
DATA = """
def get_loader():
    torch.manual_seed(0)
    labels = torch.arange(200) % 3
    inputs = torch.randn(200, 8) + 2.0 * nn.functional.one_hot(labels, 8)
    return DataLoader(TensorDataset(inputs, labels), batch_size=20, shuffle=True)

loss_fn = nn.CrossEntropyLoss()
"""
UNTRAINED = {"pretrained": False}
FEED = "import torch\nfrom torch import nn\nfrom torch.utils.data import DataLoader, TensorDataset"


def test_the_only_entry_point_is_called_with_its_arguments(tmp_path: Path) -> None:
    kwargs = UNTRAINED | {"width": 5}
    subject = loaded(tmp_path, HUB + DATA, "hubconf.py", kwargs=kwargs)
    assert how(subject)["model"] == "the only entry point"
    assert subject.original.model[0].out_features == 5
    assert subject.build_model is not None
    found = checked(subject, "initial-loss", "loss-contract", "batch-dependency")
    assert {result.status for result in found.values()} == {Status.PASS}


def test_of_several_entry_points_one_is_named(tmp_path: Path) -> None:
    text = HUB + "def wide(pretrained=False): return small(pretrained, 64)\n" + DATA
    with pytest.raises(LoadError, match=r"more than one entry point: `small` .*`wide`"):
        loaded(tmp_path, text, "hubconf.py")
    subject = loaded(tmp_path, text, "hubconf.py", suffix=":wide")
    assert how(subject)["model"] == "entry point `wide`"
    with pytest.raises(LoadError, match="nothing to download"):
        loaded(tmp_path, text, "hubconf.py", suffix=":small")


def test_data_and_loss_from_another_module(tmp_path: Path) -> None:
    (tmp_path / "hub_feed.py").write_text(FEED + DATA)
    options = {"data": "hub_feed:get_loader", "loss": "hub_feed:loss_fn", "kwargs": UNTRAINED}
    subject = loaded(tmp_path, HUB, "hubconf.py", suffix=":small", **options)
    assert len(subject.loader.dataset) == 200
    assert checked(subject, "initial-loss")["initial-loss"].status is Status.PASS
    with pytest.raises(LoadError, match="no data loader found in hubconf"):
        loaded(tmp_path, HUB, "hubconf.py", kwargs=UNTRAINED)


def test_what_the_hub_file_depends_on_must_be_installed(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"hubconf\.py depends on not_installed_here"):
        loaded(tmp_path, HUB.replace('["torch"]', '["not_installed_here"]'), "hubconf.py")


def test_a_package_with_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "hub_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(HUB + DATA)
    monkeypatch.chdir(tmp_path)
    subject = load(LoadRequest(target="hub_package.nets:small", kwargs=UNTRAINED))
    assert subject.file == (package / "nets.py").resolve()
    assert checked(subject, "initial-loss")["initial-loss"].status is Status.PASS


NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    def forward(self, inputs):
        mixed = inputs - inputs.mean(dim=0)
        return self.body(mixed)

def mixing(pretrained=False): return Net()
"""


def test_a_mistake_behind_an_entry_point_is_found_with_its_line(tmp_path: Path) -> None:
    subject = loaded(tmp_path, HUB + NET + DATA, "hubconf.py", suffix=":mixing")
    result = checked(subject, "batch-dependency")["batch-dependency"]
    assert result.status is Status.FAIL
    assert line_of(result, tmp_path, "hubconf.py") == "mixed = inputs - inputs.mean(dim=0)"


@pytest.mark.parametrize(
    ("text", "value"),
    [("false", False), ("False", False), ("None", None), ("1e-3", 0.001),
     ("[1, 2]", [1, 2]), ("resnet", "resnet")],
)  # fmt: skip
def test_arguments_are_json_or_python_or_text(text: str, value: object) -> None:
    assert _keyword(f"pretrained={text}") == ("pretrained", value)
