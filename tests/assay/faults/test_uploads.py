"""Bad uploads over real connections to a running server: a clear 4xx each, and the server goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.rigs import Rig, rig
from benchmarks.assay.faults.uploads import MIB, Caller, answer_on, bad_photographs

from assay.views import View


@pytest.fixture(scope="module")
def running(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig("embedded", template, tmp_path_factory.mktemp("uploads")) as running:
        yield running


@pytest.fixture
def caller(running: Rig) -> Caller:
    return Caller(running.addresses[0], running.customers[0].key)


@pytest.fixture
def draft(caller: Caller, running: Rig) -> Iterator[str]:
    """A case without photographs, which it still is afterwards; and the server still answers."""
    case_id = caller.draft()
    yield case_id
    headers = {"authorization": f"Bearer {caller.key}"}
    case = httpx.get(f"{caller.address}/v1/cases/{case_id}", headers=headers).json()
    assert (case["state"], case["photos"]) == ("draft", [])
    assert "Traceback" not in (running.settings.home.parent / "web.log").read_text()


BAD = list(bad_photographs(b""))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_photograph_gets_a_clear_answer(caller: Caller, draft: str, template: Template, name: str) -> None:
    content, status = bad_photographs(template.cases[0][View.LOGO])[name]

    answer = caller.put(draft, content)

    assert answer.is_clear
    assert answer.status == status


def test_forty_megabytes_that_nobody_announced(caller: Caller, draft: str) -> None:
    answer = caller.put_chunked(draft, bytes(40 * MIB))

    assert answer.is_clear
    assert answer.status == 413


FORM = "multipart/form-data; boundary=ab"


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("way", [("PUT", "/{}/photos/logo", "image/jpeg"), ("POST", "", FORM)], ids=["raw", "form"])
def test_an_upload_that_is_given_up(caller: Caller, draft: str, way: tuple[str, str, str], is_reset: bool) -> None:
    method, path, media_type = way
    head = caller.head(method, "/v1/cases" + path.format(draft), content_type=media_type, content_length=str(MIB))
    with caller.connect() as connection:
        connection.sendall(head + b'--ab\r\ncontent-disposition: form-data; name="logo"; filename="a"\r\n\r\n')
        connection.sendall(bytes(100_000))
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.slow  # the server's patience
def test_uploads_that_stop_are_told_and_keep_nobody_waiting(caller: Caller, draft: str, template: Template) -> None:
    head = caller.head("PUT", f"/v1/cases/{draft}/photos/logo", content_type="image/jpeg", content_length=str(MIB))
    held = [caller.connect() for _ in range(100)]
    for connection in held:
        connection.sendall(head + bytes(1000))

    assert caller.put(draft, b"no photograph").status == 415

    answers = [answer_on(connection) for connection in held]
    for connection in held:
        connection.close()
    assert {(answer.status, answer.is_clear) for answer in answers} == {(408, True)}
