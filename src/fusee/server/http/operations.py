"""What HTTP spells otherwise than the protocol's messages: bodies into arguments, answers into bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fusee.server.errors import invalid
from fusee.server.http.fields import flag, is_scalar, natural, parameters, parsed, require
from fusee.server.http.messages import Response, json_response
from fusee.server.types import Json
from fusee.server.wire import Buffer

Arguments = dict[str, Json]
_BODY = "the body"


class Spelling(NamedTuple):
    """How an operation's body and answer are written on HTTP."""

    read: Callable[[Arguments], Arguments]
    write: Callable[[Json], Response]


def arguments_of(operation: str, path: Mapping[str, str], body: Buffer, json_depth: int) -> Arguments:
    """The arguments of an operation: what its path says, and its body when it has one. Raises ServingError."""
    document = parsed(body, _BODY, json_depth) if len(body) else {}
    return {**_spelling(operation).read(document), **path}


def answer_of(operation: str, answer: Json) -> Response:
    """The HTTP answer of an operation's answer."""
    return _spelling(operation).write(answer)


def is_probe(operation: str) -> bool:
    """Whether a failure of the operation says just "not ready"."""
    return operation in _PROBES


def _same(document: Arguments) -> Arguments:
    return document


def _settings(document: Arguments) -> Arguments:
    return {"settings": document} if document else {}


def _index(document: Arguments) -> Arguments:
    return {"ready": flag(document, "ready", _BODY)}


def _with_parameters(document: Arguments) -> Arguments:
    given = parameters(document, _BODY)
    for name, value in given.items():
        if not is_scalar(value):
            raise invalid(f"parameter {name!r} is to be a string, a number, true or false")
    return {"parameters": given}


def _system_region(document: Arguments) -> Arguments:
    require(document, _BODY, "key", "byte_size")
    if not isinstance(document["key"], str):
        raise invalid("the body: 'key' is to be a string")
    return {
        **document,
        "byte_size": natural(document, "byte_size", _BODY),
        "offset": natural(document, "offset", _BODY),
    }


def _cuda_region(document: Arguments) -> Arguments:
    require(document, _BODY, "raw_handle", "device_id", "byte_size")
    handle = document["raw_handle"]
    if not isinstance(handle, dict) or not isinstance(handle.get("b64"), str):
        raise invalid("""'raw_handle' is to be {"b64": "..."}, the handle in base64""")
    sizes = {name: natural(document, name, _BODY) for name in ("device_id", "byte_size")}
    return {**document, **sizes, "raw_handle": handle["b64"]}


def _probe(field: str) -> Callable[[Json], Response]:
    """Health answers say it by their status: 200, or 400 when not ready."""
    return lambda answer: READY if answer[field] else NOT_READY


def _nothing(_: Json) -> Response:
    return Response(200)


def _models(answer: Json) -> Response:
    return json_response(answer["models"])


def _regions(answer: Json) -> Response:
    return json_response(list(answer["regions"].values()))


def _spelling(operation: str) -> Spelling:
    return _SPELLINGS.get(operation, _AS_IT_IS)


READY = Response(200)
NOT_READY = json_response({"error": "not ready"}, 400)
_AS_IT_IS = Spelling(_same, json_response)
_PROBES = ("server_live", "server_ready", "model_ready")
_SPELLINGS: Mapping[str, Spelling] = {
    "server_live": Spelling(_same, _probe("live")),
    "server_ready": Spelling(_same, _probe("ready")),
    "model_ready": Spelling(_same, _probe("ready")),
    "repository_index": Spelling(_index, _models),
    "repository_model_load": Spelling(_with_parameters, _nothing),
    "repository_model_unload": Spelling(_with_parameters, _nothing),
    "system_shared_memory_status": Spelling(_same, _regions),
    "system_shared_memory_register": Spelling(_system_region, _nothing),
    "system_shared_memory_unregister": Spelling(_same, _nothing),
    "cuda_shared_memory_status": Spelling(_same, _regions),
    "cuda_shared_memory_register": Spelling(_cuda_region, _nothing),
    "cuda_shared_memory_unregister": Spelling(_same, _nothing),
    "trace_setting": Spelling(_settings, json_response),
    "log_settings": Spelling(_settings, json_response),
}
