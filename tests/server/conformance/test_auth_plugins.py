"""Triton's clients send our keys by their authentication plugin, and by headers."""

from __future__ import annotations

import pytest
import tritonclient.grpc.auth
import tritonclient.http.auth

from server.conformance.clients import ALL, CAMERA_KEY, Addresses, Client, open_client, refused
from server.conformance.service_cases import SUMMANDS

UNKNOWN = {"http": "401", "grpc": "StatusCode.UNAUTHENTICATED"}
NOT_ALLOWED = {"http": "403", "grpc": "StatusCode.PERMISSION_DENIED"}


def status(client: Client, method: str, *arguments: object) -> str | None:
    """The status that an operation is refused with, if it is."""
    call = client.infer if method == "infer" else lambda *given: client.call(method, *given)
    return refused((), lambda: call(*arguments)).get("error", {}).get("status")


@pytest.mark.parametrize("form", ALL)
def test_a_key_opens_what_its_scopes_allow(form: str, guarded_server: Addresses):
    door = form.split()[0]
    auth = tritonclient.http.auth if door == "http" else tritonclient.grpc.auth
    with open_client(form, guarded_server) as client:
        assert isinstance(client, Client)
        assert client.call("is_server_live"), "probes need no key"
        assert status(client, "infer", "simple", SUMMANDS) == UNKNOWN[door]
        client.raw.register_plugin(auth.BasicAuth("camera", CAMERA_KEY))
        assert status(client, "infer", "simple", SUMMANDS) is None
        assert status(client, "unload_model", "simple") == NOT_ALLOWED[door]
        client.raw.unregister_plugin()
        client.raw.register_plugin(auth.BasicAuth("camera", "another key"))
        assert status(client, "infer", "simple", SUMMANDS) == UNKNOWN[door]


@pytest.mark.parametrize("form", ALL)
def test_a_key_may_come_in_a_header(form: str, guarded_server: Addresses):
    with open_client(form, guarded_server) as client:
        assert isinstance(client, Client)
        assert client.infer("simple", SUMMANDS, headers={"authorization": f"Bearer {CAMERA_KEY}"})["outputs"]
        assert client.infer("simple", SUMMANDS, headers={"x-api-key": CAMERA_KEY})["outputs"]
