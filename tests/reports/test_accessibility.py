"""What axe-core finds in the report, in a real browser, light and dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from recipe_check.reports.html import HtmlReport
from recipe_check.run_report import Report
from tests.reports.browser import DARK, browse, needs_browser
from tests.reports.sample import passing_report, sample_report

NPM = shutil.which("npm")
RUN = """
for (const folded of document.querySelectorAll("details")) folded.open = true;
axe.run(document, {resultTypes: ["violations"]}).then(found => {
  const pre = document.createElement("pre");
  pre.id = "found";
  pre.textContent = JSON.stringify(found);
  document.body.replaceChildren(pre);
});
"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core from the registry; the tests are skipped where there is none."""
    if NPM is None:
        pytest.skip("no npm on this machine")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(
        [NPM, "pack", "--silent", "axe-core@4"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"axe-core cannot be had: {done.stderr[-200:]}")
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def examined(axe: str, page: str, folder: Path, *options: str) -> dict[str, Any]:
    """What axe says about the page with everything opened; the policy would forbid asking."""
    page, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert count == 1
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"<script>{axe}</script><script>{RUN}</script></body>"))
    dom = browse(file, "--dump-dom", "--virtual-time-budget=60000", *options).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, dom[-500:]
    return dict(json.loads(html.unescape(found[1])))


@needs_browser
@pytest.mark.parametrize("options", [(), (DARK,), ("--window-size=420,900",)],
                         ids=["light", "dark", "narrow"])  # fmt: skip
@pytest.mark.parametrize("report", [sample_report(), passing_report()], ids=["failing", "passing"])
def test_axe_finds_nothing(
    axe: str, report: Report, options: tuple[str, ...], tmp_path: Path
) -> None:
    found = examined(axe, HtmlReport().render(report), tmp_path, *options)
    said = [
        f"{v['impact']} {v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]}"
        for v in found["violations"]
    ]
    assert not said


@needs_browser
def test_axe_would_find_something(axe: str, tmp_path: Path) -> None:
    """The other way round: a picture without words and grey on grey are found."""
    page = HtmlReport().render(passing_report())
    bad = '<img src="data:,"><p style="color:#777;background:#888">low</p></main>'
    found = examined(axe, page.replace("</main>", bad), tmp_path)
    assert {"image-alt", "color-contrast"} <= {v["id"] for v in found["violations"]}
