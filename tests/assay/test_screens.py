"""The demonstration in a real browser, with the trained networks: photographs in, report out, no complaints."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tests.assay.screens import take
from tests.assay.web.browser import chromium


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="there is no Chromium")
def test_six_photographs_of_a_counterfeit_become_a_report(tmp_path: Path) -> None:
    sizes = {}
    for file in take(tmp_path):
        with Image.open(file) as image:
            sizes[file.stem] = image.size
    names = ("new-case", "phone", "report", "report-whole", "cases", "review")
    assert set(sizes) == {f"assay-{name}" for name in names}
    assert sizes["assay-report-whole"][1] > 3000, "the whole report, of six views"
    assert sizes["assay-phone"] == (390, 844)
