"""The pictures in docs/images: `make demo`'s installation in a real browser, from signing in to the report.

``python -m tests.assay.screens docs/images`` takes them anew.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from demo import assay
from demo.client import Client
from PIL import Image
from tests.assay.web.browser import Browser, claim, sign_in

from assay.synthetic import draw_style

SLOTS = "[...document.querySelectorAll('.slot')]"
DESK, PHONE = (1280, 1100), (390, 844)
COUNTERFEIT = assay.EXAMPLES[1]


def take(folder: Path) -> list[Path]:
    """The new case as a phone and a desk show it, the report, the list and the review, as JPEG files."""
    address, key = assay.start()
    try:
        with TemporaryDirectory(ignore_cleanup_errors=True) as name, Browser(Path(name) / "profile") as browser:
            return _taken(browser, address, key, Path(name), folder)
    finally:
        assay.stop()


def _taken(browser: Browser, address: str, key: str, scratch: Path, folder: Path) -> list[Path]:
    files: list[Path] = []

    def picture(name: str, is_whole_page: bool = True) -> None:
        browser.run("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
        browser.wait("[...document.images].every(image => image.complete)")
        file = folder / f"assay-{name}.jpg"
        with Image.open(BytesIO(browser.screenshot(is_whole_page))) as shot:
            shot.convert("RGB").save(file, quality=85)
        files.append(file)

    client, claimed = Client(address, key), draw_style(assay.CLAIMED)
    for example in assay.EXAMPLES:
        if example is not COUNTERFEIT:
            client.report_on(claimed.brand, claimed.model, assay.photographs(example), example.name)
    browser.size(*DESK)
    sign_in(browser, address, key)
    case_id = _six_photographs(browser, address, scratch)
    picture("new-case")
    browser.size(*PHONE)
    browser.run("document.querySelector('.slot').scrollIntoView()")
    picture("phone", is_whole_page=False)
    browser.size(*DESK)
    browser.run("document.querySelector('#submit').click()")
    browser.wait("document.querySelector('iframe.report')?.contentDocument?.querySelector('h1')")
    browser.go(f"{address}/v1/cases/{case_id}/report.html")
    picture("report", is_whole_page=False)
    picture("report-whole")
    browser.go(f"{address}/cases")
    picture("cases", is_whole_page=False)
    browser.go(f"{address}/review/{case_id}")
    picture("review")
    assert browser.complaints == [], browser.complaints
    return files


def _six_photographs(browser: Browser, address: str, scratch: Path) -> str:
    """A counterfeit's, dropped all at once under names that say nothing; the views are recognised."""
    claimed = draw_style(assay.CLAIMED)
    browser.go(f"{address}/cases/new")
    claim(browser, claimed.brand, claimed.model)
    files: list[Path] = []
    for number, content in enumerate(reversed(assay.photographs(COUNTERFEIT).values())):
        files.append(scratch / f"IMG_{number}.jpg")
        files[-1].write_bytes(content)
    browser.choose_files("#several", files)
    browser.wait(f"{SLOTS}.every(slot => slot.querySelector('.good'))")
    return str(browser.run("location.pathname")).removeprefix("/cases/")


if __name__ == "__main__":
    for taken in take(Path(sys.argv[1])):
        print(taken)
