"""A wheel, installed in an environment of its own, works outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.test_cli import GOOD

ROOT = Path(__file__).parent.parent


def test_the_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    wheel = next(tmp_path.glob("*.whl"))
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel],
        check=True,
    )
    # torch and the other dependencies come from the environment of the tests, without its own
    # (editable) recipe-check: a path in a .pth file is not searched for further .pth files.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    (tmp_path / "good.py").write_text(GOOD)
    code = "import recipe_check, sys; sys.stdout.write(recipe_check.__file__)"
    where = subprocess.run([python, "-c", code], cwd=tmp_path, check=True, capture_output=True,
                           text=True).stdout  # fmt: skip
    assert where.startswith(str(site))
    done = subprocess.run([python, "-m", "recipe_check", "good.py"], cwd=tmp_path, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "recipe-check-report.html").stat().st_size > 50_000
