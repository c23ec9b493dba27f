"""`recipe-check init`: a commented configuration file to start from."""

from __future__ import annotations

import json
from pathlib import Path

from recipe_check.config import OWN_FILE, SHARED_FILE, settings_table
from recipe_check.errors import UsageError
from recipe_check.files import write_whole
from recipe_check.request import split_target

_TEXT = """\
# Settings of recipe-check. Options on the command line win over them; paths are relative to this
# file. In a pyproject.toml each key stands under [tool.recipe-check].

{target}  # what `recipe-check` alone checks
# preset = "default"  # "quick" trains nothing, "thorough" also tries sizes
# fail-on = "error"  # or "warning", "never": what makes the exit code 1
# budget = 120  # seconds, after which no check is started
# seed = 0
# device = "auto"  # or "cpu", "cuda" or "cuda:1"
# only = []  # ids, groups or stages of checks:  recipe-check list
# skip = []
# html = "recipe-check-report.html"

# What `recipe-check small` checks. Objects are names in the file, or "package.module:object".
# [targets.small]
# file = "train.py"
# model = "build_model"
# data = "train_loader"
# loss = "loss_fn"
# optimizer = "optimizer"
# kwargs = {{ width = 64 }}
# [targets.script]  # run up to its first step, as  recipe-check train.py --capture -- --lr 1e-3
# file = "train.py"
# capture = true
# args = ["--lr", "1e-3"]

# Options of one check (recipe-check explain overfit-one-batch), and what its failure counts as.
# [checks.overfit-one-batch]
# steps = 400
# severity = "warning"  # "error": its warnings fail as well; "off": not run

# A finding that is meant: until a date, or for good with the key permanent. The check still runs.
# [[suppress]]
# check = "batch-dependency"
# target = "train.py:ContrastiveNet"
# reason = "InfoNCE compares samples in the batch by design"
# expires = "2027-02-21"
"""


def write_config(target: str | None) -> Path:
    """Writes recipe-check.toml into the working directory; never over settings that are there."""
    path = Path(OWN_FILE)
    if path.exists():
        raise UsageError(f"{path} is there already", "edit it, or remove it first")
    shared = Path(SHARED_FILE)
    if shared.is_file() and settings_table(shared) is not None:
        raise UsageError(f"{shared} has [tool.recipe-check] already", "edit it there")
    if target is not None:
        _check_exists(target)
    write_whole(path, _TEXT.format(target=_target_line(target)))
    return path


def _check_exists(target: str) -> None:
    file, _ = split_target(target)
    if file.endswith(".py") and not Path(file).is_file():
        raise UsageError(f"no such file: {file}", "give the path of your training script")


def _target_line(target: str | None) -> str:
    if target is None:
        return '# target = "train.py"'
    return f"target = {json.dumps(target, ensure_ascii=False)}"
