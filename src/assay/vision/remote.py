"""The photo engine on a Fusee server, asked by gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from assay.errors import Reason, Refusal, invalid, unavailable
from assay.vision.answers import INPUT, OUTPUTS, batches, features_of
from assay.vision.engines import ENGINE_PARAMETER, MODEL_PARAMETER, PHOTO, served_version
from assay.vision.lens import EngineIdentity, Features, Pixels

DEADLINE_S = 30.0  # for one batch, all tries together
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # between two tries
MOST_BYTES = 64 * 1024 * 1024  # of one message; features of 16 photographs are 7 MB
_AWAY = ("StatusCode.UNAVAILABLE", "StatusCode.NOT_FOUND")  # it still loads, or came back with another engine
_CHANNEL = (
    ("grpc.max_send_message_length", MOST_BYTES),
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # gRPC's own goes up to two minutes, long after the server is back
    ("grpc.lb_policy_name", "round_robin"),  # over all addresses that the name has; gRPC's own keeps to one
)
T = TypeVar("T")


class RemoteLens:
    """Runs where it is opened: all calls come from that event loop.

    An answer depends on the photographs alone, so what could not be answered is asked again until the deadline.
    """

    def __init__(self, url: str, expected: EngineIdentity, deadline_s: float = DEADLINE_S) -> None:
        """``url`` is grpc://host:port, or grpc://:key@host:port; ``expected``, the engine that is to be served there.

        Raises Refusal INVALID.
        """
        self._address, key = _place(url)
        self._headers = {"x-api-key": key} if key else None
        self._expected = expected
        self._deadline_s = deadline_s
        self._client: InferenceServerClient | None = None
        self._is_known = False  # that the server serves the expected engine; forgotten when it was away

    @property
    def identity(self) -> EngineIdentity:
        return self._expected

    async def open(self) -> None:
        """Raises Refusal UNAVAILABLE when the server does not answer in time, or serves another engine."""
        if self._client is None:
            self._client = InferenceServerClient(self._address, channel_args=_CHANNEL)
        await self._persist(self._check)

    async def close(self) -> None:
        client, self._client = self._client, None
        self._is_known = False
        if client is not None:
            await client.close()

    async def look(self, photos: Sequence[Pixels]) -> list[Features]:
        answers = await asyncio.gather(*(self._answer(batch) for batch in batches(photos)))
        return [features for answer in answers for features in answer]

    async def _answer(self, batch: Pixels) -> list[Features]:
        async def ask(left_s: float) -> list[Features]:
            if not self._is_known:
                await self._check(left_s)
            return await self._infer(batch, left_s)

        return await self._persist(ask)

    async def _infer(self, batch: Pixels, left_s: float) -> list[Features]:
        tensor = InferInput(INPUT, list(batch.shape), "UINT8")
        tensor.set_data_from_numpy(batch)
        wanted = [InferRequestedOutput(name) for name in OUTPUTS]
        version = served_version(self._expected)
        result: Any = await self._opened().infer(
            PHOTO, [tensor], version, wanted, client_timeout=left_s, headers=self._headers
        )
        return features_of({name: result.as_numpy(name) for name in OUTPUTS})

    async def _check(self, left_s: float) -> None:
        """Refuse a server of another engine: its features would be compared with references that it did not make."""
        answer: Any = await self._opened().get_model_config(
            PHOTO, as_json=True, client_timeout=left_s, headers=self._headers
        )
        served = _identity_in(answer["config"].get("parameters", {}))
        if served != self._expected:
            raise unavailable(
                f"{self._address} serves photo engine {served.engine_digest or 'of unknown origin'} of network "
                f"{served.model_digest or 'of unknown origin'}; expected {self._expected.engine_digest} of "
                f"{self._expected.model_digest}: serve this installation's engines/serving"
            )
        self._is_known = True

    async def _persist(self, ask: Callable[[float], Awaitable[T]]) -> T:
        """What ``ask`` gives, asked again while the server is away. It is told how many seconds are left."""
        ends, pause_s = monotonic() + self._deadline_s, FIRST_PAUSE_S
        while True:
            try:
                return await ask(max(ends - monotonic(), 0.001))
            except InferenceServerException as err:
                if err.status() not in _AWAY or monotonic() + pause_s >= ends:
                    raise self._refusal(err) from err
                self._is_known = False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _opened(self) -> InferenceServerClient:
        if self._client is None:
            raise unavailable("the lens is closed; open it first")
        return self._client

    def _refusal(self, error: InferenceServerException) -> Refusal:
        is_full = error.status() == "StatusCode.RESOURCE_EXHAUSTED"
        reason = Reason.OVERLOADED if is_full else Reason.UNAVAILABLE
        return Refusal(reason, f"the photo engine at {self._address}: {error.message()} ({error.status()})", 1.0)


def _place(url: str) -> tuple[str, str]:
    """host:port, and the key, '' without one."""
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    name, _, key = user.partition(":")
    if parts.scheme != "grpc" or not address or name or parts.path.strip("/"):
        shown = parts._replace(netloc=address).geturl()  # without the key
        raise invalid(f"setting lens_url is {shown!r}; expected grpc://host:port or grpc://:key@host:port")
    return address, key


def _identity_in(parameters: Mapping[str, Any]) -> EngineIdentity:
    def text(name: str) -> str:
        return str(parameters.get(name, {}).get("string_value", ""))

    return EngineIdentity(text(MODEL_PARAMETER), text(ENGINE_PARAMETER))
