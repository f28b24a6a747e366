"""The lens on a server that is away, another one, or full."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
from benchmarks.assay.ports import free_port
from tests.assay.vision.lens_house import assert_same_bits, running_server, some_photos

from assay.errors import Reason, Refusal
from assay.vision.engines import PHOTO, identity_of, serving_folder
from assay.vision.lens import EngineIdentity, Features
from assay.vision.remote import RemoteLens
from fusee.server.proto.grpc_service_pb2 import ModelConfigResponse

pytestmark = pytest.mark.runs_alone
Answer = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]


def lens_at(port: int, engines: Path, deadline_s: float = 60.0) -> RemoteLens:
    return RemoteLens(f"grpc://127.0.0.1:{port}", identity_of(engines, PHOTO), deadline_s)


@asynccontextmanager
async def odd_server(config: Answer, port: int = 0) -> AsyncGenerator[int]:
    """Answers with a configuration of its own, and has no model of the version that is asked for."""
    answers = {"ModelConfig": config, "ModelInfer": has_no_such_version}
    methods = {name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in answers.items()}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    yield port
    await server.stop(None)


async def serves_another(_: bytes, __: grpc.aio.ServicerContext) -> bytes:
    answer = ModelConfigResponse()
    answer.config.parameters["engine_sha256"].string_value = "ffff"
    return answer.SerializeToString()


async def has_no_such_version(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
    return b""


async def is_full(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    return b""


async def opened_and_closed(lens: RemoteLens) -> None:
    try:
        await lens.open()
    finally:
        await lens.close()


def test_refuses_a_server_of_another_engine(packed_engines: Path) -> None:
    async def ask() -> None:
        async with odd_server(serves_another) as port:
            await opened_and_closed(lens_at(port, packed_engines))

    expected = identity_of(packed_engines, PHOTO)
    pattern = f"serves photo engine ffff of network of unknown origin; expected {expected.engine_digest} of "
    with pytest.raises(Refusal, match=pattern) as refused:
        asyncio.run(ask())
    assert refused.value.reason is Reason.UNAVAILABLE


def test_gives_up_at_the_deadline_when_nobody_listens(packed_engines: Path) -> None:
    async def ask() -> None:
        await opened_and_closed(lens_at(free_port(), packed_engines, deadline_s=0.3))

    with pytest.raises(Refusal, match=r"the photo engine at 127\.0\.0\.1") as refused:
        asyncio.run(ask())
    assert refused.value.reason is Reason.UNAVAILABLE
    assert refused.value.retry_after_s


def test_asks_again_when_the_server_comes_back(packed_engines: Path) -> None:
    repository, photos = serving_folder(packed_engines), some_photos(2)

    async def ask() -> tuple[list[Features], list[Features]]:
        async with running_server(repository) as port:
            lens = lens_at(port, packed_engines)
            await lens.open()
            before = await lens.look(photos)
        asked = asyncio.create_task(lens.look(photos))
        await asyncio.sleep(0)  # it is under way while nobody listens
        async with running_server(repository, port):
            after = await asked
            await lens.close()
        return before, after

    before, after = asyncio.run(ask())
    assert_same_bits(after, before)


def test_looks_at_the_engine_of_a_server_that_was_away(packed_engines: Path) -> None:
    async def ask() -> None:
        async with running_server(serving_folder(packed_engines)) as port:
            lens = lens_at(port, packed_engines)
            await lens.open()
        asked = asyncio.create_task(lens.look(some_photos(1)))
        await asyncio.sleep(0)
        async with odd_server(serves_another, port):
            try:
                await asked
            finally:
                await lens.close()

    with pytest.raises(Refusal, match="serves photo engine ffff"):
        asyncio.run(ask())


def test_a_full_server_is_overloaded(packed_engines: Path) -> None:
    async def ask() -> None:
        async with odd_server(is_full) as port:
            await opened_and_closed(lens_at(port, packed_engines))

    with pytest.raises(Refusal, match="the queue is full") as refused:
        asyncio.run(ask())
    assert refused.value.reason is Reason.OVERLOADED


def test_comes_with_its_key(packed_engines: Path, tmp_path: Path) -> None:
    entry = {"name": "assay", "sha256": sha256(b"s3cret").hexdigest(), "scopes": ["infer", "read"]}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [entry]}))

    async def ask() -> None:
        async with running_server(serving_folder(packed_engines), keys_file=tmp_path / "keys.json") as port:
            expected = identity_of(packed_engines, PHOTO)
            lens = RemoteLens(f"grpc://:s3cret@127.0.0.1:{port}", expected)
            await lens.open()
            assert len(await lens.look(some_photos(1))) == 1
            await lens.close()
            with pytest.raises(Refusal, match="a key is needed"):
                await opened_and_closed(lens_at(port, packed_engines))

    asyncio.run(ask())


@pytest.mark.parametrize("url", ["http://host:8000", "host:8001", "grpc://", "grpc://host:1/path", "grpc://me@host:1"])
def test_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(Refusal, match="expected grpc://host:port"):
        RemoteLens(url, EngineIdentity("", ""))


def test_a_refused_address_does_not_show_its_key() -> None:
    with pytest.raises(Refusal, match="setting lens_url is 'http://host:1'; expected"):
        RemoteLens("http://:s3cret@host:1", EngineIdentity("", ""))
