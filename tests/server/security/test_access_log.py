"""The access log: a line for every request, by whose key, and never the key."""

from __future__ import annotations

import asyncio
import hashlib
import logging

import grpc
import pytest

from fusee.server.access import Access, Key
from fusee.server.door import House
from fusee.server.http.door import HttpDoor
from fusee.server.observe.logs import ACCESS, ROOT, LogSettings
from fusee.server.operations import Scope
from fusee.server.settings import Limits
from server.grpc.grpc_house import FakePlane, running_door
from server.grpc.grpc_house import listening as bound
from server.http.http_house import FakePlane as HttpPlane
from server.http.http_house import Wire, get, infer_body, post_infer

SECRET = "the-camera-s-secret"
KEYS = (Key("camera", hashlib.sha256(SECRET.encode()).digest(), frozenset({Scope.INFER})),)
SERVICE = "/inference.GRPCInferenceService/"


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def requests(self) -> list[tuple[object, ...]]:
        found = [r.__dict__["fields"] for r in self.records if r.name == ACCESS.name]
        assert all(entry["duration_us"] >= 0 for entry in found)
        return [(e["door"], e["operation"], e["code"], e["caller"]) for e in found]


@pytest.fixture
def lines():
    """All that is logged while the access log is on, at the highest verbosity."""
    settings, handler = LogSettings(has_access=True), Lines()
    settings.open()
    settings.update({"log_verbose_level": 9})
    ROOT.addHandler(handler)
    yield handler
    ROOT.removeHandler(handler)
    settings.update({"log_verbose_level": 0})
    settings.close()


def talk(has_access_log: bool, requests: list[bytes]) -> list[int]:
    """The statuses of some requests to an HTTP door."""

    async def story() -> list[int]:
        door = HttpDoor(House(HttpPlane(), Access(KEYS), Limits(), has_access_log=has_access_log), ())
        await door.listen(bound(), None)
        try:
            return [await ask(door, content) for content in requests]
        finally:
            await door.close(0.0)

    async def ask(door: HttpDoor, content: bytes) -> int:
        wire = await Wire.to(door)
        answer = await wire.ask(content)
        wire.close()
        return answer.status

    return asyncio.run(story())


def test_http(lines: Lines) -> None:
    infer = post_infer(infer_body(), f"x-api-key: {SECRET}")
    statuses = talk(True, [infer, post_infer(infer_body(), "x-api-key: another"), get("/nowhere"), b"nonsense\r\n\r\n"])
    assert statuses == [200, 401, 404, 400]
    assert lines.requests == [
        ("http", "infer", 200, "camera"), ("http", "infer", 401, ""), ("http", "", 404, ""), ("http", "", 400, ""),
    ]  # fmt: skip
    assert SECRET not in repr([r.__dict__ for r in lines.records])


def test_off_says_nothing(lines: Lines) -> None:
    assert talk(False, [get("/nowhere"), post_infer(infer_body())]) == [404, 401]
    assert lines.requests == []


def test_grpc(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.grpc.grpc_house.House", lambda *given: House(*given, has_access_log=True))
    with (
        running_door(FakePlane(), Access(KEYS)) as door,
        grpc.insecure_channel(door.address) as channel,
    ):
        channel.unary_unary(SERVICE + "ServerLive")(b"", timeout=20)
        for key in (SECRET, "another"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(SERVICE + "ModelInfer")(b"", timeout=20, metadata=(("x-api-key", key),))
        stream = channel.stream_stream(SERVICE + "ModelStreamInfer")
        assert list(stream(iter(()), timeout=20, metadata=(("authorization", f"Bearer {SECRET}"),))) == []
    assert lines.requests == [
        ("grpc", "ServerLive", 0, "anyone"), ("grpc", "ModelInfer", 3, "camera"), ("grpc", "ModelInfer", 16, ""),
        ("grpc", "ModelStreamInfer", 0, "camera"),
    ]  # fmt: skip
    assert SECRET not in repr([r.__dict__ for r in lines.records])
