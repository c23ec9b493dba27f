"""What a target does while it is loaded is its way; paths stay those of the caller."""

from __future__ import annotations

from pathlib import Path

from tests.commands import PLANTED, command
from tests.test_cli import GOOD

WANDERS = """
import os
os.chdir("elsewhere")
from torch.nn import functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = model
    def forward(self, x):
        assert os.path.exists("here.txt")
        return F.softmax(self.inner(x), 0)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
"""


def test_a_target_that_changes_its_folder_keeps_it_and_plugins_are_found(tmp_path: Path) -> None:
    """Lines are named as seen from where the command was given."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "here.txt").touch()
    (tmp_path / "train.py").write_text(GOOD + WANDERS)
    (tmp_path / "planted.py").write_text("from __future__ import annotations\n" + PLANTED)
    done = command(tmp_path, "train.py", "--model", "net", "--plugin", "planted.py", "--only",
                   "planted,batch-dependency", "--no-html")  # fmt: skip
    assert done.code == 1, done.err
    assert "--> train.py:" in done.out
    assert "error[planted]: f" in done.out
