"""A model's configuration: read from text or JSON, written as the JSON that Triton prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from fusee.server.errors import invalid
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.types import Json

MOST_CONFIG_BYTES = 1 << 20
_DEEPEST_JSON = 32


def read_config(path: Path, where: str) -> ModelConfig:
    """The configuration in a config.pbtxt. Raises ServingError with file, line and column."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_CONFIG_BYTES + 1)
    except OSError as err:
        raise invalid(f"{where}: cannot be read: {err.strerror}") from err
    if len(content) > MOST_CONFIG_BYTES:
        raise invalid(f"{where}: is larger than {MOST_CONFIG_BYTES} bytes")
    try:
        return parse_config(content.decode(), where)
    except UnicodeDecodeError as err:
        raise invalid(f"{where}: is not UTF-8: byte {err.start}") from err


def parse_config(text: str, where: str) -> ModelConfig:
    """The configuration of a protobuf text. Raises ServingError."""
    try:
        return text_format.Parse(text, ModelConfig())
    except text_format.ParseError as err:
        raise invalid(f"{where}{_place(err)}: {_without_place(err)}") from err
    except RecursionError as err:
        raise invalid(f"{where}: is nested too deep") from err


def _place(err: text_format.ParseError) -> str:
    line, column = err.GetLine(), err.GetColumn()
    return "" if line is None else f":{line}:{column or 1}"


def _without_place(err: text_format.ParseError) -> str:
    """The message without the "line:column : " that protobuf puts before it."""
    place, separator, rest = str(err).partition(" : ")
    return rest if separator and place.replace(":", "").isdigit() else str(err)


def parse_config_json(text: str, where: str) -> ModelConfig:
    """The configuration that a load call carries as JSON. Raises ServingError."""
    if len(text) > MOST_CONFIG_BYTES:
        raise invalid(f"{where}: is larger than {MOST_CONFIG_BYTES} bytes")
    try:
        return json_format.Parse(text, ModelConfig(), max_recursion_depth=_DEEPEST_JSON)
    except (json_format.ParseError, RecursionError) as err:
        raise invalid(f"{where}: {str(err) or 'is nested too deep'}") from err


def config_json(config: ModelConfig) -> Json:
    """The configuration as Triton prints it: the fields' own names, numbers as numbers, every default shown, messages
    that are not there left out."""
    return _message_json(config)


def _message_json(message: Message) -> dict[str, Json]:
    return {
        field.name: _field_json(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field_json(field: Any, value: Any) -> Json:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        mapping: Mapping[Any, Any] = value
        return {str(key): _value_json(inner, mapping[key]) for key in sorted(mapping)}
    if field.is_repeated:
        return [_value_json(field, item) for item in value]
    return _value_json(field, value)


def _value_json(field: Any, value: Any) -> Json:
    if isinstance(value, Message):
        return _message_json(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    return value
