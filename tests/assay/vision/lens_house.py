"""Lenses for tests, and servers behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from assay.settings import Settings as AssaySettings
from assay.vision import open_lens
from assay.vision.engines import serving_folder
from assay.vision.lens import SIDE, Features, Pixels
from fusee.server.app import SingleServer
from fusee.server.settings import Settings

T = TypeVar("T")


def some_photos(count: int, seed: int = 5) -> list[Pixels]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8))


def assert_same_bits(found: Sequence[Features], expected: Sequence[Features]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in Features._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@asynccontextmanager
async def running_server(repository: Path, port: int = 0, keys_file: Path | None = None) -> AsyncGenerator[int]:
    """A Fusee server on this loop; gives its gRPC port."""
    settings = Settings((repository,), http_port=None, grpc_port=port, metrics_port=None, keys_file=keys_file)
    server = SingleServer(settings)
    ports = await server.open()
    try:
        assert await server.load() == []
        assert ports.grpc is not None
        yield ports.grpc
    finally:
        await server.close(1.0)


class OpenLens:
    """A "local" lens, or a "remote" one with its server, as settings open them, on a loop that runs when asked."""

    def __init__(self, kind: str, engines: Path) -> None:
        self._kind = kind
        self._engines = engines
        self._loop = asyncio.Runner()
        self._open = AsyncExitStack()

    def __enter__(self) -> Self:
        self._loop.__enter__()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.close()

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(asked)

    def look(self, photos: Sequence[Pixels]) -> list[Features]:
        return self.run(self.lens.look(photos))

    async def _start(self) -> None:
        url = ""
        if self._kind == "remote":
            port = await self._open.enter_async_context(running_server(serving_folder(self._engines)))
            url = f"grpc://127.0.0.1:{port}"
        self.lens = open_lens(AssaySettings(self._engines.parent, lens_url=url))
        await self.lens.open()

    async def _stop(self) -> None:
        await self.lens.close()
        await self._open.aclose()
