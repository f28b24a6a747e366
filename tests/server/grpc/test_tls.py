"""gRPC over TLS, with and without certificates of the callers."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import pytest
import trustme

from fusee.server.grpc import frames as f
from fusee.server.settings import TlsFiles
from fusee.server.tls import tls_context
from server.grpc.byte_client import ByteClient
from server.grpc.grpc_house import RunningDoor, running_door

LIVE = "/inference.GRPCInferenceService/ServerLive"


def server_context(authority: trustme.CA, folder: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    issued = authority.issue_cert("localhost")
    certificate, key = folder / "server.pem", folder / "server.key"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    return tls_context(TlsFiles(certificate, key, client_ca), ["h2"])


def connected(door: RunningDoor, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(door.connect(), server_hostname="localhost")


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with (
        running_door(tls=server_context(authority, tmp_path)) as door,
        grpc.secure_channel(door.address, trusted) as channel,
    ):
        assert channel.unary_unary(LIVE)(b"", timeout=20) == b"\x08\x01"
        large = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as raised:
            large(bytes(1_000_000), timeout=20)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_callers_without_a_certificate_are_not_let_in(tmp_path: Path) -> None:
    authority, callers = trustme.CA(), trustme.CA()
    client_ca = tmp_path / "callers.pem"
    callers.cert_pem.write_to_path(client_ca)
    issued = callers.issue_cert("camera-7")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    roots = authority.cert_pem.bytes()
    known = grpc.ssl_channel_credentials(roots, issued.private_key_pem.bytes(), chain)
    with running_door(tls=server_context(authority, tmp_path, client_ca)) as door:
        with grpc.secure_channel(door.address, known) as channel:
            assert channel.unary_unary(LIVE)(b"", timeout=20) == b"\x08\x01"
        with grpc.secure_channel(door.address, grpc.ssl_channel_credentials(roots)) as channel:
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(LIVE)(b"", timeout=5)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
def test_a_caller_that_does_not_agree_on_h2_is_hung_up_on(tmp_path: Path, protocols: list[str]) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    with running_door(tls=server_context(authority, tmp_path)) as door, connected(door, context) as sock:
        assert ByteClient(sock, greets=False).frame() is None


def test_a_fault_is_told_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    with running_door(tls=server_context(authority, tmp_path)) as door, connected(door, context) as sock:
        client = ByteClient(sock)
        client.send(f.PING, 0, 1, bytes(8))
        assert client.until(f.GOAWAY).code == f.PROTOCOL_ERROR
