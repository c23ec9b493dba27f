"""`torchrun -m recipe_check`: one report, one exit code, and no rank that waits for ever."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.distributed.launching import first_alone, torchrun
from tests.distributed.programs import HEALTHY, PROGRAMS

FORWARD = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 3)
    def forward(self, x):
        ACT
        return self.body(x)
net = Net()
"""
DYING = "if rank == {rank}: os.kill(os.getpid(), 9)"
HANGING = "import time; time.sleep(600 if rank == 1 else 0)"


def with_forward(act: str) -> str:
    """The healthy program with something that its model does."""
    start, _, rest = HEALTHY.partition("net = nn.Sequential")
    return start + FORWARD.replace("ACT", act) + rest.partition("\n")[2]


def write(folder: Path, text: str) -> Path:
    (folder / "train.py").write_text(text)
    return folder


def test_one_report_from_rank_0_and_one_exit_code(tmp_path: Path) -> None:
    write(tmp_path, 'print("loaded here")\n' + PROGRAMS["nothing_joins"])
    ids = "ranks,initial-loss"
    done = torchrun(tmp_path, "train.py", "--only", ids, "--json", "found.json", "--no-html")
    assert done.codes == {0: 1, 1: 1}
    assert done.out.count("recipe-check 0.1.0") == 1
    assert done.out.count("rank-sampling  ") == 1
    assert "loaded here" not in done.out + done.err
    assert "recipe-check" not in done.err
    report = json.loads((tmp_path / "found.json").read_text())
    found = {result["id"]: result for result in report["results"]}
    assert found["rank-sampling"]["verdict"]["status"] == "fail"
    assert found["initial-loss"]["verdict"]["status"] == "pass"
    assert found["rank-sampling"]["reproduce"][:6] == [
        "torchrun", "--nproc-per-node", "2", "-m", "recipe_check", "run",
    ]  # fmt: skip
    assert ["ranks", "2"] in report["run"]["environment"]


def test_a_target_need_not_begin_the_group_and_may_wrap_in_a_factory(tmp_path: Path) -> None:
    text = with_forward("dist.barrier()").replace('dist.init_process_group("gloo")\n', "")
    text = text.replace("net = Net()", "def make_model():\n    return DDP(Net())")
    text = text.replace("model = DDP(net)\n", "").replace("optimizer = ", "def make_optimizer(p): ")
    text = text.replace(": torch.optim.SGD(model.parameters()", ": return torch.optim.SGD(p")
    write(tmp_path, text)
    ids = "rank-parameters,rank-gradients,initial-loss,optimizer-coverage"
    done = torchrun(tmp_path, "train.py", "--only", ids, "--no-html")
    assert done.code == 0, done.out + done.err
    assert done.out.count("✔") == 4
    assert "4 passed" in done.out


def test_a_rank_that_dies_is_named_and_costs_one_result(tmp_path: Path) -> None:
    write(tmp_path, with_forward(DYING.format(rank=1)))
    ids = "rank-sampling,rank-parameters,rank-gradients,train-step"
    done = torchrun(tmp_path, "train.py", "--only", ids, "--json", "found.json", "--no-html")
    assert done.codes == {0: 4, 1: 4}
    found = {r["id"]: r for r in json.loads((tmp_path / "found.json").read_text())["results"]}
    assert [found[id]["verdict"]["status"] for id in ids.split(",")] == [
        "pass", "pass", "error", "pass",
    ]  # fmt: skip
    assert "rank 1: the process died with SIGKILL" in found["rank-gradients"]["verdict"]["message"]


def test_rank_0_that_dies_ends_the_others_too(tmp_path: Path) -> None:
    write(tmp_path, with_forward(DYING.format(rank=0)))
    done = torchrun(tmp_path, "train.py", "--only", "rank-gradients", "--no-html")
    assert done.codes == {0: 4, 1: 4}
    assert "rank 0: the process died with SIGKILL" in done.out


def test_a_rank_that_hangs_is_named_in_time(tmp_path: Path) -> None:
    write(tmp_path, with_forward(HANGING))
    start = time.monotonic()
    done = torchrun(
        tmp_path, "train.py", "--only", "rank-gradients", "--check-timeout", "6", "--no-html"
    )
    assert time.monotonic() - start < 120
    assert done.codes == {0: 4, 1: 4}
    assert "rank 1 gave no answer within 3.6 s" in done.out
    assert "rank 1 was in a step of its own" in " ".join(done.out.split())


def test_what_one_rank_raises_while_loading_is_told_by_the_first(tmp_path: Path) -> None:
    text = HEALTHY.replace("model = DDP", "if rank == 1:\n    [][3]\nmodel = DDP")
    done = torchrun(write(tmp_path, text), "train.py", "--only", "ranks", "--no-html")
    assert done.codes == {0: 3, 1: 3}
    assert "error: rank 1: train.py could not be loaded: IndexError" in done.err
    assert "line 23" in done.err


def test_a_rank_that_never_comes_is_waited_for_within_the_budget(tmp_path: Path) -> None:
    words = ("train.py", "--only", "rank-parameters", "--budget", "10", "--no-html")
    done = first_alone(write(tmp_path, HEALTHY), *words)
    assert done.code == 3
    assert "rank 1 gave no answer within 6 s" in done.err


def test_other_commands_are_those_of_the_first_rank(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "list")
    assert done.code == 0
    assert done.out.count("rank-sampling") == 1
    assert not os.listdir(tmp_path)
