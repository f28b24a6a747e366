"""Keys on the whole server: what each scope opens, on both doors, and how much of it a key may have."""

from __future__ import annotations

import base64
from collections.abc import Generator
from pathlib import Path

import grpc
import pytest

from fusee.server.app import serving
from fusee.server.grpc import frames as f
from fusee.server.listening import Ports
from fusee.server.operations import INFER, OPERATIONS, STREAM_INFER, Operation, Scope
from fusee.server.settings import Settings
from server.security.assembled import PATIENCE_S, SERVICE, ask, call, infer_json, infer_message, speak, write_keys

SCOPES = ("infer", "read", "admin")
PAGES = ("/metrics", "/status", "/status.json")
REFUSED = (401, 403)
REFUSED_CALLS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@pytest.fixture(scope="module", params=[False, True], ids=["one process", "isolated"])
def guarded(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Ports]:
    """A server with a key of each scope, one that may ask once in a long time, and one that may ask one at a time."""
    keys = {scope: {"scopes": [scope]} for scope in SCOPES} | {
        "slow": {"scopes": ["infer"], "requests_per_s": 0.001},
        "single": {"scopes": ["infer"], "concurrent_requests": 1},
    }
    settings = Settings(
        (repository,),
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        keys_file=write_keys(tmp_path_factory.mktemp("keys") / "keys.json", keys),
        allow_python_models=True,
        is_isolated=request.param,
    )
    with serving(settings) as ports:
        yield ports


def key(name: str) -> dict[str, str]:
    return {"x-api-key": f"{name}-secret"}


def refusal(operation: Operation, holder: str) -> int | None:
    """The status that a holder is to be refused with; '' has no key."""
    if operation.scope is Scope.OPEN or holder == operation.scope.value:
        return None
    return 403 if holder in SCOPES else 401


@pytest.mark.parametrize("holder", ["", "unknown", *SCOPES])
def test_http(guarded: Ports, holder: str) -> None:
    for operation in (INFER, *OPERATIONS):
        for method, path in operation.routes:
            filled = path.format(name="echo", model_name="echo", version="1")
            status = ask(guarded.http, method, filled, headers=key(holder) if holder else {}).status
            expected = refusal(operation, holder)
            assert status == expected if expected else status not in REFUSED, (operation.name, path, status)


@pytest.mark.parametrize("holder", ["", "unknown", *SCOPES])
def test_grpc(guarded: Ports, holder: str) -> None:
    codes = {None: None, 401: REFUSED_CALLS[0], 403: REFUSED_CALLS[1]}
    for operation in (INFER, *OPERATIONS):
        code = call(guarded, operation.rpc, b"", key(holder).items() if holder else ()).code
        expected = codes[refusal(operation, holder)]
        assert code is expected if expected else code not in REFUSED_CALLS, (operation.name, code)


@pytest.mark.parametrize("holder", ["", "unknown", *SCOPES])
def test_a_stream(guarded: Ports, holder: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc}") as channel:
        stream = channel.stream_stream(SERVICE + STREAM_INFER.rpc)
        answers = stream(iter([infer_message()]), timeout=PATIENCE_S, metadata=tuple(key(holder).items()))
        if holder == "infer":
            assert b"output" in next(answers)
            return
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
    assert raised.value.code() is REFUSED_CALLS[holder in SCOPES]


@pytest.mark.parametrize("holder", ["", *SCOPES])
def test_pages(guarded: Ports, holder: str) -> None:
    for port in (guarded.http, guarded.metrics):
        for page in PAGES:
            status = ask(port, "GET", page, headers=key(holder) if holder else {}).status
            assert status == {"": 401, "read": 200}.get(holder, 403), (port, page)


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": "Bearer infer-secret"},
        {"authorization": "bearer  infer-secret "},
        {"authorization": "Basic " + base64.b64encode(b"anyone:infer-secret").decode()},
        {"x-api-key": "infer-secret"},
    ],
)
def test_ways_to_send_a_key(guarded: Ports, header: dict[str, str]) -> None:
    assert ask(guarded.http, "POST", "/v2/models/echo/infer", infer_json(), header).status == 200
    assert call(guarded, "ModelInfer", infer_message(), header.items()).code is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": "infer-secret"},
        {"authorization": "Digest infer-secret"},
        {"authorization": "Basic infer-secret"},
        {"authorization": "Basic " + base64.b64encode(b"infer-secret").decode()},
        {"x-api-key": "INFER-SECRET"},
        {"x-api-key": "infer-secre"},
        {"x-api-key": "infer-secret, infer-secret"},
    ],
)
def test_what_is_no_key(guarded: Ports, header: dict[str, str]) -> None:
    answer = ask(guarded.http, "POST", "/v2/models/echo/infer", infer_json(), header)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "secret" not in answer.error
    assert call(guarded, "ModelInfer", infer_message(), header.items()).code is grpc.StatusCode.UNAUTHENTICATED


def test_a_key_has_its_rate_on_both_doors_together(guarded: Ports) -> None:
    assert ask(guarded.http, "POST", "/v2/models/echo/infer", infer_json(), key("slow")).status == 200
    answer = ask(guarded.http, "POST", "/v2/models/echo/infer", infer_json(), key("slow"))
    assert (answer.status, answer.error) == (503, "key 'slow' may send 0.001 requests a second")
    assert 1 <= int(answer.headers["retry-after"]) <= 1000
    outcome = call(guarded, "ModelInfer", infer_message(), key("slow").items())
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 1 <= int(outcome.trailers["retry-after"]) <= 1000


def test_a_key_has_so_many_requests_at_a_time(guarded: Ports) -> None:
    client = speak(guarded)
    client.send(f.HEADERS, f.END_HEADERS, 1, client.block(path=SERVICE + "ModelInfer", **key("single")))
    client.send(f.PING, payload=bytes(8))
    client.until(f.PING, f.ACK)
    answer = ask(guarded.http, "POST", "/v2/models/echo/infer", infer_json(), key("single"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "has 1 requests under way, as many as it may" in answer.error
    assert call(guarded, "ModelInfer", infer_message(), key("single").items()).code is (
        grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    client.send(f.RST_STREAM, stream_id=1, payload=bytes(4))
    client.send(f.PING, payload=bytes(8))
    client.until(f.PING, f.ACK)
    assert ask(guarded.http, "POST", "/v2/models/echo/infer", infer_json(), key("single")).status == 200
    client.sock.close()
