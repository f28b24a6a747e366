"""Webhooks: signed, delivered to public addresses alone, tried again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from threading import Thread

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.assay.web.house import DOCUMENT, House, build

from assay.errors import Refusal
from assay.web import destinations, webhooks
from assay.web.destinations import resolved, webhook_url
from assay.web.webhooks import LONGEST_DELAY_S, MOST_ATTEMPTS, deliver_due, deliver_webhooks, retry_delay_s, signature

PRIVATE = [
    IPv4Network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
PRIVATE6 = [IPv6Network(net) for net in ("::1/128", "fc00::/7", "fe80::/10", "ff00::/8", "::/128")]


@dataclass
class Receiver:
    """What a tenant's server was sent."""

    url: str
    answers: list[int] = field(default_factory=list[int])  # in order; then 204
    received: list[tuple[Message, bytes]] = field(default_factory=list[tuple[Message, bytes]])


@contextmanager
def receiving() -> Generator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append((self.headers, body))
            status = receiver.answers.pop(0) if receiver.answers else 204
            self.send_response(status)
            self.send_header("location", "http://169.254.169.254/")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://localhost:{server.server_port}/hook?shop=7")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def private_house(tmp_path: Path) -> Generator[House]:
    house = build(tmp_path, private_webhooks=1)
    yield house
    house.store.close()


async def _told(house: House, url: str) -> str:
    """A case with a report, of a tenant with this webhook."""
    house.store.tenants.update(house.tenant.id, webhook_url=url)
    async with house.client() as client:
        return await house.reported(client)


@pytest.mark.anyio
async def test_a_delivery_is_signed(private_house: House) -> None:
    house = private_house
    with receiving() as receiver:
        case_id = await _told(house, receiver.url)
        assert await deliver_due(house.services) == 1
        assert await deliver_due(house.services) == 0
    ((headers, body),) = receiver.received
    told = json.loads(body)
    assert (told["event"], told["case_id"], told["verdict"]) == ("case.reported", case_id, "INCONCLUSIVE")
    assert (headers["assay-event"], headers["assay-delivery"]) == ("case.reported", told["id"])
    assert headers["content-type"] == "application/json"
    secret = house.store.tenants.webhook_secret(house.tenant.id)
    expected = hmac.new(secret.encode(), f"{headers['assay-timestamp']}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["assay-signature"] == f"v1={expected}"
    assert house.services.meter.counts("webhook") == {"delivered": 1}
    described = DOCUMENT["webhooks"]["case"]["post"]
    jsonschema.validate(told, DOCUMENT["components"]["schemas"]["WebhookEvent"])
    for header in described["parameters"]:
        value = headers[header["name"]]
        jsonschema.validate(int(value) if header["schema"]["type"] == "integer" else value, header["schema"])


@pytest.mark.anyio
@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_was_not_taken_is_sent_again_later(private_house: House, status: int) -> None:
    house = private_house
    with receiving() as receiver:
        receiver.answers = [status]
        await _told(house, receiver.url)
        assert await deliver_due(house.services) == 1
        assert await deliver_due(house.services) == 0
        house.clock.now += timedelta(seconds=retry_delay_s(0))
        assert await deliver_due(house.services) == 1
        house.clock.now += timedelta(days=30)
        assert await deliver_due(house.services) == 0
    first, second = receiver.received
    assert first[1] == second[1]
    assert first[0]["assay-delivery"] == second[0]["assay-delivery"]
    assert first[0]["assay-signature"] != second[0]["assay-signature"]
    assert house.services.meter.counts("webhook") == {"delivered": 1, "failed": 1}


@pytest.mark.anyio
async def test_a_receiver_that_stays_away_is_given_up(private_house: House) -> None:
    house = private_house
    with receiving() as receiver:
        url = receiver.url
    await _told(house, url)
    attempts = 0
    while await deliver_due(house.services):
        attempts += 1
        house.clock.now += timedelta(seconds=LONGEST_DELAY_S)
    assert attempts == MOST_ATTEMPTS


@pytest.mark.anyio
async def test_nothing_is_sent_to_ones_own_network(house: House) -> None:
    with receiving() as receiver:
        await _told(house, receiver.url.replace("http:", "https:"))
        assert await deliver_due(house.services) == 1
    assert receiver.received == []
    assert house.services.meter.counts("webhook") == {"failed": 1}


@pytest.mark.anyio
async def test_delivering_goes_on_until_it_is_cancelled(private_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "POLL_S", 0.001)
    with receiving() as receiver:
        await _told(private_house, receiver.url)
        delivered = asyncio.Event()
        loop, real = asyncio.get_running_loop(), private_house.store.webhooks.delivered

        def note(delivery_id: str) -> None:
            real(delivery_id)
            loop.call_soon_threadsafe(delivered.set)

        monkeypatch.setattr(private_house.store.webhooks, "delivered", note)
        task = asyncio.create_task(deliver_webhooks(private_house.services))
        await delivered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(receiver.received) == 1


def _resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    monkeypatch.setattr(destinations.socket, "getaddrinfo", lambda *_, **__: found)


def test_a_public_host_is_pinned_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolves_to(monkeypatch, "93.184.216.34")
    destination = resolved("https://shop.example/hook?a=1", allow_private=False)
    assert (destination.address, destination.host, destination.port) == ("93.184.216.34", "shop.example", 443)
    assert destination.target == "/hook?a=1"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "10.1.2.3",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_a_host_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    _resolves_to(monkeypatch, "93.184.216.34", address)
    with pytest.raises(Refusal, match=r"webhook host 'shop\.example' is at .*, which is not public"):
        resolved("https://shop.example/", allow_private=False)


def _within(network: IPv4Network | IPv6Network) -> st.SearchStrategy[str]:
    kind = IPv4Address if network.version == 4 else IPv6Address
    last = int(network.broadcast_address)
    return st.integers(int(network.network_address), last).map(lambda number: str(kind(number)))


@given(st.sampled_from([*PRIVATE, *PRIVATE6]).flatmap(_within))
def test_no_address_of_a_private_network_passes(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Refusal, match="which is not public"):
        resolved(f"https://{host}/", allow_private=False)


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        url = webhook_url(text, allow_private=False)
    except Refusal:
        return
    assert url.scheme == "https"
    assert url.hostname


def test_the_signature_is_the_documented_one() -> None:
    assert signature("secret", 1700000000, b'{"a":1}') == (
        "v1=" + hmac.new(b"secret", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    )


def test_delays_double_up_to_an_hour() -> None:
    assert [retry_delay_s(n) for n in (0, 1, 2, 9, 10, 1000)] == [5, 10, 20, 2560, 3600, 3600]


@pytest.mark.anyio
async def test_a_tenant_without_url_is_told_nothing(client: httpx.AsyncClient, house: House) -> None:
    await house.reported(client)
    assert await deliver_due(house.services) == 0
