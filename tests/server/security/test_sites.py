"""A server for this machine's callers, without keys, is none for the pages that a browser here may show."""

from __future__ import annotations

import asyncio

import pytest

from fusee.server.access import Access
from fusee.server.app import house
from fusee.server.door import DoorCounts, House
from fusee.server.http.core import Core
from fusee.server.http.messages import Response
from fusee.server.settings import Limits, Settings
from server.http.http_house import FakePlane, error_of


def asked(is_local: bool, **headers: str) -> Response:
    async def story() -> Response:
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        plane = FakePlane(answers={"server_live": {"live": True}})
        core = Core(House(plane, Access(), Limits(), is_local=is_local), ())
        core.handle("GET", "/v2/health/live", headers, b"", answered.set_result)
        return await answered

    return asyncio.run(story())


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "fusee.localhost", "[::1]:8000", ""])
def test_this_machine(host: str) -> None:
    assert asked(True, host=host).status == 200
    assert asked(True, host=host, origin=f"http://{host}").status == 200


@pytest.mark.parametrize("host", ["example.org", "example.org:8000", "localhost.example.org", "127.0.0.1.example.org"])
def test_a_name_that_was_made_to_lead_here(host: str) -> None:
    answer = asked(True, host=host, origin=f"http://{host}")
    assert answer.status == 403
    assert "is no name of this machine" in error_of(answer)
    assert asked(False, host=host).status == 200


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:9000", "127.0.0.1:8000"])
def test_another_site(origin: str) -> None:
    answer = asked(True, host="127.0.0.1:8000", origin=origin)
    assert answer.status == 403
    assert "is another site" in error_of(answer)


@pytest.mark.parametrize(("allow_anonymous", "is_local"), [(False, True), (True, False)])
def test_which_servers_are_local(allow_anonymous: bool, is_local: bool) -> None:
    settings = Settings(repository=(), allow_anonymous=allow_anonymous)
    assert house(settings, FakePlane(), DoorCounts()).is_local is is_local
