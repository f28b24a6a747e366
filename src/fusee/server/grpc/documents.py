"""Messages of the protocol's other calls as the JSON of the data plane, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.operations import OPERATIONS, Operation
from fusee.server.plane import DataPlane
from fusee.server.proto import grpc_service_pb2
from fusee.server.types import Json

Convert = Callable[[Json], Json]


class Rpc(NamedTuple):
    """A call of one message and one answer. The conversions are between the messages' JSON and the plane's."""

    operation: Operation
    request: type[Message]
    response: type[Message]
    to_arguments: Convert
    from_answer: Convert

    def arguments(self, message: bytes) -> Mapping[str, Json]:
        """Raises ServingError."""
        try:
            parsed = self.request.FromString(message)
        except DecodeError as err:
            raise invalid(f"the message is no {self.request.DESCRIPTOR.name}: {err}") from err
        return self.to_arguments(document(parsed))

    def answer(self, answer: Json) -> bytes:
        """Raises ServingError INTERNAL for an answer that the message cannot carry."""
        try:
            return ParseDict(self.from_answer(answer), self.response()).SerializeToString()
        except ParseError as err:
            raise ServingError(Reason.INTERNAL, f"the answer of {self.operation.name} cannot be sent: {err}") from err

    async def respond(self, plane: DataPlane, message: bytes) -> bytes:
        """Have the plane answer a message. Raises ServingError."""
        return self.answer(await plane.call(self.operation.name, self.arguments(message)))


def document(message: Message) -> dict[str, Json]:
    """A message as JSON: its own field names, numbers as numbers, bytes in base64, fields that are not set left out."""
    return {field.name: _field(field, value) for field, value in message.ListFields()}


def _field(field: FieldDescriptor, value: Any) -> Json:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {key: _value(entry, value[key]) for key in value}
    if field.is_repeated:
        return [_value(field, v) for v in value]
    return _value(field, value)


def _value(field: FieldDescriptor, value: Any) -> Json:
    if field.message_type is not None:
        return document(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    return value


def _same(value: Json) -> Json:
    return value


def _load_arguments(request: Json) -> Json:
    """Parameters are oneofs in the message, plain values in the plane."""
    parameters = {name: _only(choice) for name, choice in request.get("parameters", {}).items()}
    return {**request, "parameters": parameters}


def _only(choice: Mapping[str, Json]) -> Json:
    """The value of a oneof; None when it is not set."""
    return next(iter(choice.values()), None)


def _trace_arguments(request: Json) -> Json:
    """A setting is a list of strings in the message. An empty one clears it; only the level is a list in the plane."""
    settings: dict[str, Json] = {}
    for name, setting in request.get("settings", {}).items():
        values = setting.get("value", [])
        if not values:
            settings[name] = None
        elif name == "trace_level":
            settings[name] = values
        elif len(values) == 1:
            settings[name] = values[0]
        else:
            raise invalid(f"trace setting {name!r} has {len(values)} values, expected one")
    return {"model_name": request.get("model_name", ""), "settings": settings}


def _trace_answer(settings: Json) -> Json:
    values = {name: v if isinstance(v, list) else [str(v)] for name, v in settings.items()}
    return {"settings": {name: {"value": list(map(str, v))} for name, v in values.items()}}


def _log_arguments(request: Json) -> Json:
    return {"settings": {name: _only(choice) for name, choice in request.get("settings", {}).items()}}


def _log_answer(settings: Json) -> Json:
    return {"settings": {name: _log_setting(value) for name, value in settings.items()}}


def _log_setting(value: Json) -> Json:
    if isinstance(value, bool):
        return {"bool_param": value}
    if isinstance(value, int):
        return {"uint32_param": value}
    return {"string_param": value}


def _config_answer(config: Json) -> Json:
    return {"config": config}


_CONVERSIONS: Mapping[str, tuple[Convert, Convert]] = {
    "model_config": (_same, _config_answer),
    "repository_model_load": (_load_arguments, _same),
    "repository_model_unload": (_load_arguments, _same),
    "trace_setting": (_trace_arguments, _trace_answer),
    "log_settings": (_log_arguments, _log_answer),
}
"""The operations whose JSON is not that of their messages."""


def _rpc(operation: Operation) -> Rpc:
    request: type[Message] = getattr(grpc_service_pb2, f"{operation.rpc}Request")
    response: type[Message] = getattr(grpc_service_pb2, f"{operation.rpc}Response")
    return Rpc(operation, request, response, *_CONVERSIONS.get(operation.name, (_same, _same)))


RPCS: Mapping[str, Rpc] = {operation.rpc: _rpc(operation) for operation in OPERATIONS}
"""By the name of the call in the protocol."""
