"""The pages in a real browser: from signing in to the report and an opinion on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from tests.assay.web.browser import Browser, chromium, claim, sign_in
from tests.assay.web.house import House, build, painted

from assay.cases import Verdict
from assay.views import VIEWS, View

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium")
SLOTS = "[...document.querySelectorAll('.slot')]"


@pytest.fixture
def served(tmp_path: Path) -> Generator[tuple[House, str]]:
    house = build(tmp_path / "home")
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(house.app, log_config=None, timeout_graceful_shutdown=1))
    thread = Thread(target=asyncio.run, args=(server.serve([listening]),))
    thread.start()
    yield house, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    house.store.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()


@pytest.fixture
def browser(tmp_path: Path) -> Generator[Browser]:
    with Browser(tmp_path / "profile") as browser:
        yield browser


def _sign_in(browser: Browser, house: House, url: str) -> None:
    sign_in(browser, url, house.key())


def _photos(folder: Path) -> list[Path]:
    """Six files whose names say nothing, in no order."""
    files = [folder / f"IMG_{number}.jpg" for number in range(len(VIEWS))]
    for file, view in zip(files, reversed(VIEWS), strict=True):
        file.write_bytes(painted(view))
    return files


def test_six_photographs_become_a_report(served: tuple[House, str], browser: Browser, tmp_path: Path) -> None:
    house, url = served
    _sign_in(browser, house, url)
    browser.go(f"{url}/cases/new")
    claim(browser, "Maison Arcel", "Tote 32")
    browser.choose_files("#several", _photos(tmp_path))
    browser.wait(f"{SLOTS}.every(slot => slot.querySelector('.good'))")
    assert browser.run("document.querySelector('#readiness').textContent") == "All views are there."
    case_id = str(browser.run("location.pathname")).removeprefix("/cases/")
    stored = house.store.cases.get(house.tenant.id, case_id).photos
    assert {view: photo.size_bytes for view, photo in stored.items()} == {v: len(painted(v)) for v in VIEWS}
    browser.run("document.querySelector('#submit').click()")
    browser.wait("document.querySelector('.working')")
    house.store.cases.note_stages(case_id, {"compare": 96.0})
    browser.wait("document.querySelector('.stages').textContent.includes('Compared with genuine examples')")
    house.finish(case_id, Verdict.NOT_CONSISTENT)
    browser.wait("document.querySelector('iframe.report')?.contentDocument?.querySelector('h1')")
    browser.wait("parseInt(document.querySelector('iframe.report').style.height) > 1500")
    assert "Not consistent" in browser.run("document.querySelector('iframe.report').contentDocument.body.innerText")
    assert browser.complaints == []


def test_a_doubtful_photograph_is_advised_on_and_taken_again(
    served: tuple[House, str], browser: Browser, tmp_path: Path
) -> None:
    house, url = served
    small, good = tmp_path / "small.jpg", tmp_path / "good.jpg"
    small.write_bytes(painted(View.LOGO, side=120))
    good.write_bytes(painted(View.LOGO))
    browser.size(390, 844)
    _sign_in(browser, house, url)
    browser.go(f"{url}/cases/new")
    assert browser.run("document.querySelector('#submit').disabled") is True
    claim(browser, "Maison Arcel", "Tote 32")
    browser.choose_files("[data-view=logo] input", [small])
    browser.wait("document.querySelector('[data-view=logo] .blocking')")
    assert browser.run("document.querySelector('#readiness').textContent") == "1 to take again."
    browser.choose_files("[data-view=logo] input", [good])
    browser.wait("document.querySelector('[data-view=logo] .good')")
    assert browser.run("document.querySelector('#readiness').textContent") == "5 of 6 still to take."
    assert browser.run("document.documentElement.scrollWidth") == 390
    browser.run("document.querySelector('[data-view=logo] .remove').click()")
    browser.wait("!document.querySelector('.slot.taken')")
    assert browser.complaints == []


def test_a_photograph_that_cannot_be_taken_says_why(
    served: tuple[House, str], browser: Browser, tmp_path: Path
) -> None:
    house, url = served
    text = tmp_path / "letter.jpg"
    text.write_bytes(b"Dear Sir or Madam")
    _sign_in(browser, house, url)
    browser.go(f"{url}/cases/new")
    claim(browser, "Maison Arcel", "Tote 32")
    browser.choose_files("[data-view=logo] input", [text])
    browser.wait("document.querySelector('[data-view=logo] .blocking')")
    assert "expected" in browser.run("document.querySelector('[data-view=logo] .blocking').textContent")
    assert browser.run("document.querySelector('.slot.taken')") is None


def test_a_reviewer_takes_the_first_and_gives_an_opinion(served: tuple[House, str], browser: Browser) -> None:
    house, url = served

    async def reported() -> str:
        async with house.client() as client:
            return await house.reported(client)

    case_id = asyncio.run(reported())
    _sign_in(browser, house, url)
    browser.go(f"{url}/review")
    browser.run("document.querySelector('form[data-api]').requestSubmit()")
    browser.wait(f"location.pathname === '/review/{case_id}' && document.readyState === 'complete'")
    browser.run("document.querySelector('input[value=CONSISTENT]').checked = true")
    browser.run("document.querySelector('#note').value = 'The engraving is right.'")
    browser.run("document.querySelector('form[data-api]').requestSubmit()")
    browser.wait("location.pathname === '/review'")
    (review,) = house.store.reviews.waiting(house.tenant.id)
    assert (review.case_id, review.opinions) == (case_id, 1)
    assert browser.complaints == []


def test_a_key_is_issued_and_shown_once(served: tuple[House, str], browser: Browser) -> None:
    house, url = served
    _sign_in(browser, house, url)
    browser.go(f"{url}/settings")
    browser.run("document.querySelector('#name').value = 'Till'")
    browser.run(
        "document.querySelectorAll('input[value=submit], input[value=review]').forEach(box => box.checked = true)"
    )
    browser.run("document.querySelector('form[data-then=secret]').requestSubmit()")
    browser.wait("document.querySelector('.secret code').textContent")
    caller = house.store.tenants.caller(browser.run("document.querySelector('.secret code').textContent"))
    assert caller is not None
    assert (caller.name, {scope.value for scope in caller.scopes}) == ("Till", {"submit", "review"})
    browser.go(f"{url}/settings")
    assert browser.run("document.querySelector('.secret').hidden") is True
    assert browser.complaints == []
