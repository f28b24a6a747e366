"""TLS and mutual TLS on every port of the whole server, as Triton's clients ask for it."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import trustme

from fusee.base.errors import RequestError
from fusee.server.app import serving
from fusee.server.listening import Ports
from fusee.server.settings import Settings, TlsFiles
from server.security.assembled import write_repository


class Identity(NamedTuple):
    """PEM files of a certificate, and of the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


def issue(folder: Path, name: str) -> Identity:
    """A certificate of an authority of its own."""
    authority = trustme.CA()
    issued = authority.issue_cert(name, "127.0.0.1")
    found = Identity(*(folder / f"{name}.{end}" for end in ("pem", "key", "ca")))
    found.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(found.key)
    authority.cert_pem.write_to_path(found.authority)
    return found


@pytest.fixture(scope="module")
def server(folder: Path) -> Identity:
    return issue(folder, "localhost")


@pytest.fixture(scope="module")
def camera(folder: Path) -> Identity:
    return issue(folder, "camera")


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Identity:
    return issue(folder, "stranger")


@pytest.fixture(scope="module", params=[False, True], ids=["TLS", "mTLS"])
def is_mutual(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module")
def ports(
    server: Identity, camera: Identity, is_mutual: bool, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Ports]:
    repository = write_repository(tmp_path_factory.mktemp("repository"))
    files = TlsFiles(server.certificate, server.key, camera.authority if is_mutual else None)
    settings = Settings(
        (repository,), http_port=0, grpc_port=0, metrics_port=0, tls=files, allow_python_models=True, is_isolated=True
    )
    with serving(settings) as found:
        yield found


def over_http(ports: Ports, server: Identity, shown: Identity | None) -> float:
    """What ``echo`` answers to 5."""

    def context() -> ssl.SSLContext:
        found = ssl.create_default_context(cafile=server.authority)
        if shown is not None:
            found.load_cert_chain(shown.certificate, shown.key)
        return found

    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{ports.http}", ssl=True, ssl_context_factory=context)
    with client:
        return asked(tritonclient.http, client)


def over_grpc(ports: Ports, server: Identity, shown: Identity | None) -> float:
    client = tritonclient.grpc.InferenceServerClient(
        f"127.0.0.1:{ports.grpc}",
        ssl=True,
        root_certificates=str(server.authority),
        private_key=str(shown.key) if shown else None,
        certificate_chain=str(shown.certificate) if shown else None,
    )
    with client:
        return asked(tritonclient.grpc, client)


def asked(library: object, client: object) -> float:
    tensor = library.InferInput("values", [1], "FP32")  # type: ignore[attr-defined]
    tensor.set_data_from_numpy(np.array([5], np.float32))
    return float(client.infer("echo", [tensor]).as_numpy("output")[0])  # type: ignore[attr-defined]


@pytest.mark.parametrize("over", [over_http, over_grpc])
def test_who_trusts_the_server_is_answered(
    over: object, ports: Ports, server: Identity, camera: Identity, is_mutual: bool
) -> None:
    assert over(ports, server, camera if is_mutual else None) == 5.0  # type: ignore[operator]


@pytest.mark.parametrize("over", [over_http, over_grpc])
def test_who_shows_no_certificate_of_the_callers_authority(
    over: object, ports: Ports, server: Identity, stranger: Identity, is_mutual: bool
) -> None:
    for shown in (None, stranger):
        if is_mutual:
            with pytest.raises(Exception, match=r"(?i)ssl|alert|unavailable|handshake|connect|socket|reset|recv"):
                over(ports, server, shown)  # type: ignore[operator]


@pytest.mark.parametrize("over", [over_http, over_grpc])
def test_a_server_that_the_caller_does_not_trust(
    over: object, ports: Ports, stranger: Identity, camera: Identity
) -> None:
    with pytest.raises(Exception, match=r"(?i)certificate|ssl|unavailable|handshake|connect"):
        over(ports, stranger, camera)  # type: ignore[operator]


def test_the_metrics_port_too(ports: Ports, server: Identity, camera: Identity, is_mutual: bool) -> None:
    context = ssl.create_default_context(cafile=server.authority)
    if is_mutual:
        context.load_cert_chain(camera.certificate, camera.key)
    connection = http.client.HTTPSConnection("127.0.0.1", ports.metrics, context=context, timeout=30)
    connection.request("GET", "/metrics")
    assert b"nv_inference_request_success" in connection.getresponse().read()
    connection.close()


def test_plain_bytes_are_not_answered(ports: Ports) -> None:
    for port in (ports.http, ports.grpc, ports.metrics):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"HTTP/1.1 200" not in received(sock)


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(4096)
    except ConnectionResetError:
        return b""


def test_old_versions_of_tls_are_refused(ports: Ports) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    for port in (ports.http, ports.grpc, ports.metrics):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(sock).close()


def test_files_that_are_none_are_named(server: Identity, tmp_path: Path) -> None:
    absent = tmp_path / "absent.pem"
    settings = Settings((tmp_path,), http_port=0, grpc_port=0, metrics_port=None)
    for files in (TlsFiles(absent, server.key), TlsFiles(server.certificate, server.key, absent)):
        tls = Settings(**{**settings.__dict__, "tls": files})
        with pytest.raises(RequestError, match=r"absent\.pem"), serving(tls):
            pass
