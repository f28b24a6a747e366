"""Names and paths that lead elsewhere, and what is off until somebody asks for it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest

from fusee.server.app import serving
from fusee.server.listening import Ports
from fusee.server.proto.grpc_service_pb2 import (
    RepositoryModelLoadRequest,
    SystemSharedMemoryRegisterRequest,
)
from fusee.server.settings import ModelControl, Settings
from server.security.assembled import ask, call, infer_json, infer_message, write_repository

NAMES = (
    "..",
    "../outside",
    "../../etc",
    "/etc/passwd",
    "outside/../outside",
    ".hidden",
    "a/b",
    "a\\b",
    "a\0b",
    "\ud7ff\u202e",
    "a" * 129,
    "a" * 1500,
    "linked",
    "file:///etc",
    "%2e%2e",
    "*",
    "",
)
LOAD = "/v2/repository/models/{}/load"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("names")
    repository = write_repository(folder / "repository")
    write_repository(folder / "outside")
    (repository / "linked").symlink_to(folder / "outside" / "echo")
    return Settings((repository,), http_port=0, grpc_port=0, metrics_port=None, allow_python_models=True)


@pytest.fixture(scope="module")
def defaults(settings: Settings) -> Generator[Ports]:
    """A server as it is when only a repository is named; Python models are allowed, to have one."""
    with serving(replace(settings, strict_readiness=False)) as ports:
        yield ports


@pytest.fixture(scope="module")
def explicit(settings: Settings) -> Generator[Ports]:
    """A server whose callers decide what is loaded."""
    with serving(replace(settings, model_control=ModelControl.EXPLICIT, load_models=("echo",))) as ports:
        yield ports


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names(explicit: Ports, name: str) -> None:
    quoted = quote(name, safe="")
    requests = (
        (f"/v2/models/{quoted}/infer", infer_json()),
        (LOAD.format(quoted), b""),
        (f"/v2/models/{quoted}/config", b""),
    )
    for path, body in requests:
        answer = ask(explicit.http, "GET" if path.endswith("config") else "POST", path, body)
        assert 400 <= answer.status < 500, (path, answer)
        assert b"/etc" not in answer.body or b"/etc" in name.encode()
    load = RepositoryModelLoadRequest(model_name=name).SerializeToString()
    infer = infer_message(model_name=name)
    for rpc, message in (("RepositoryModelLoad", load), ("ModelInfer", infer), ("RepositoryModelUnload", load)):
        code = call(explicit, rpc, message).code
        assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), (rpc, code)
        assert code is not grpc.StatusCode.OK or (rpc, name) == ("RepositoryModelUnload", "linked")


@pytest.mark.parametrize("version", ["../1", "1/../1", "-1", "1e0", "0x1", "9" * 400, "١"])
def test_versions(explicit: Ports, version: str) -> None:
    answer = ask(explicit.http, "POST", f"/v2/models/echo/versions/{quote(version, safe='')}/infer", infer_json())
    assert answer.status == 404


@pytest.mark.parametrize(
    "path", ["//etc/passwd", "/../../etc/passwd", "/v2/../etc", "/%2e%2e/etc", "/v2/models/..%2f.."]
)
def test_paths_are_no_files(defaults: Ports, path: str) -> None:
    assert ask(defaults.http, "GET", path).status == 404


def test_a_link_out_of_the_repository_is_named(defaults: Ports) -> None:
    index = json.loads(ask(defaults.http, "POST", "/v2/repository/index").body)
    (found,) = (entry for entry in index if entry["name"] == "linked")
    assert found["state"] == "UNAVAILABLE"
    assert "leads out of the repository and is not followed" in found["reason"]


def test_models_come_and_go_only_where_that_was_asked_for(defaults: Ports) -> None:
    for action in ("load", "unload"):
        answer = ask(defaults.http, "POST", f"/v2/repository/models/echo/{action}")
        assert (answer.status, "is not allowed" in answer.error) == (503, True)
    outcome = call(defaults, "RepositoryModelLoad", RepositoryModelLoadRequest(model_name="echo").SerializeToString())
    assert outcome.code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("key", ["config", "file:1/pipeline.py", "file:1/../../x", "file:../x", "file:/etc/x"])
def test_a_load_brings_nothing_along(explicit: Ports, key: str) -> None:
    content = base64.b64encode(b"raise SystemExit").decode()
    body = json.dumps({"parameters": {key: content}}).encode()
    answer = ask(explicit.http, "POST", LOAD.format("echo"), body)
    assert (answer.status, "--allow-load-override" in answer.error) == (403, True)


@pytest.mark.parametrize(
    "key", ["file:1/../../x", "file:../x", "file:/etc/x", "file:1/.hidden", "file:01/x", "file:1/a/b"]
)
def test_files_of_a_load_stay_in_their_folder(settings: Settings, key: str) -> None:
    body = json.dumps({"parameters": {"config": "{}", f"file:{key}": base64.b64encode(b"x").decode()}}).encode()
    allowed = replace(settings, model_control=ModelControl.EXPLICIT, allow_load_override=True)
    with serving(replace(allowed, grpc_port=None)) as ports:
        assert ask(ports.http, "POST", LOAD.format("echo"), body).status == 400


def test_shared_memory_is_off(defaults: Ports) -> None:
    body = b'{"key": "/anything", "offset": 0, "byte_size": 64}'
    answer = ask(defaults.http, "POST", "/v2/systemsharedmemory/region/mine/register", body)
    assert (answer.status, "shared memory is off" in answer.error) == (501, True)
    register = SystemSharedMemoryRegisterRequest(name="mine", key="/anything", byte_size=64).SerializeToString()
    assert call(defaults, "SystemSharedMemoryRegister", register).code is grpc.StatusCode.UNIMPLEMENTED


def test_shared_memory_where_it_is_on(settings: Settings) -> None:
    """Only keys with the prefix, no links, no paths; of what is registered, no more than it has."""
    own = Path("/dev/shm") / f"fusee-security-{os.getpid()}"
    own.write_bytes(bytes(64))
    link = own.with_name(f"{own.name}-link")
    link.symlink_to("/etc/passwd")
    try:
        with serving(replace(settings, grpc_port=None, shared_memory_prefix="/fusee-security-")) as ports:
            cases = {
                "/other": 403,
                f"/{link.name}": 400,
                f"/{own.name}/../other": 400,
                "/../etc/passwd": 400,
                f"/{own.name}": 200,
            }
            for key, status in cases.items():
                body = json.dumps({"key": key, "offset": 0, "byte_size": 64}).encode()
                found = ask(ports.http, "POST", "/v2/systemsharedmemory/region/mine/register", body)
                assert found.status == status, (key, found)
            beyond = {"shared_memory_region": "mine", "shared_memory_byte_size": 64, "shared_memory_offset": 1}
            body = {"inputs": [{"name": "values", "datatype": "FP32", "shape": [16], "parameters": beyond}]}
            answer = ask(ports.http, "POST", "/v2/models/echo/infer", json.dumps(body).encode())
            assert (answer.status, "Invalid offset" in answer.error) == (400, True)
    finally:
        own.unlink()
        link.unlink()


def test_python_models_are_not_run(settings: Settings) -> None:
    with serving(replace(settings, grpc_port=None, allow_python_models=False, strict_readiness=False)) as ports:
        (found,) = (e for e in json.loads(ask(ports.http, "POST", "/v2/repository/index").body) if e["name"] == "echo")
    assert "--allow-python-models" in found["reason"]


def test_a_server_listens_on_loopback() -> None:
    assert Settings(()).host == "127.0.0.1"
