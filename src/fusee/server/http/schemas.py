"""JSON schemas of the protocol's bodies, as the OpenAPI document holds them."""

from __future__ import annotations

from collections.abc import Mapping

from fusee.server.types import Json
from fusee.server.wire import DATATYPES

_TEXT: Json = {"type": "string"}
_NATURAL: Json = {"type": "integer", "minimum": 0}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_ANY: Json = {"type": "object"}


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": properties}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Json:
    return {"type": "array", "items": _ref(name)}


def _shape(minimum: int) -> Json:
    return {"type": "array", "items": {"type": "integer", "minimum": minimum}}


_DATATYPE: Json = {"type": "string", "enum": list(DATATYPES)}
_FREE: Json = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_COUNT = _object(("count", "ns"), count=_NATURAL, ns=_NATURAL)

SCHEMAS: Mapping[str, Json] = {
    "Error": _object(("error",), error=_TEXT),
    "ServerMetadata": _object(("name", "version", "extensions"), name=_TEXT, version=_TEXT, extensions=_TEXTS),
    "TensorMetadata": _object(("name", "datatype", "shape"), name=_TEXT, datatype=_DATATYPE, shape=_shape(-1)),
    "ModelMetadata": _object(
        ("name", "platform", "inputs", "outputs"),
        name=_TEXT,
        versions=_TEXTS,
        platform=_TEXT,
        inputs=_list("TensorMetadata"),
        outputs=_list("TensorMetadata"),
    ),
    "RequestInput": _object(
        ("name", "shape", "datatype"),
        name={"type": "string", "minLength": 1},
        shape=_shape(0),
        datatype=_DATATYPE,
        parameters=_object(
            binary_data_size=_NATURAL,
            shared_memory_region=_TEXT,
            shared_memory_offset=_NATURAL,
            shared_memory_byte_size=_NATURAL,
        ),
        data={"type": "array", "description": "Row-major, flat or nested as the shape is."},
    ),
    "RequestOutput": _object(
        ("name",),
        name={"type": "string", "minLength": 1},
        parameters=_object(
            binary_data={"type": "boolean"},
            classification=_NATURAL,
            shared_memory_region=_TEXT,
            shared_memory_offset=_NATURAL,
            shared_memory_byte_size=_NATURAL,
        ),
    ),
    "InferenceRequest": _object(
        ("inputs",),
        id=_TEXT,
        parameters=_FREE,
        inputs={**_list("RequestInput"), "minItems": 1},
        outputs=_list("RequestOutput"),
    ),
    "ResponseOutput": _object(
        ("name", "shape", "datatype"),
        name=_TEXT,
        shape=_shape(0),
        datatype=_DATATYPE,
        parameters=_ANY,
        data={"type": "array"},
    ),
    "InferenceResponse": _object(
        ("model_name", "outputs"),
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_FREE,
        outputs=_list("ResponseOutput"),
    ),
    "ModelStatistics": _object(
        ("name", "version", "inference_count", "execution_count", "inference_stats"),
        name=_TEXT,
        version=_TEXT,
        last_inference=_NATURAL,
        inference_count=_NATURAL,
        execution_count=_NATURAL,
        inference_stats={"type": "object", "additionalProperties": _COUNT},
        batch_stats={"type": "array", "items": _ANY},
    ),
    "Statistics": _object(("model_stats",), model_stats=_list("ModelStatistics")),
    "IndexEntry": _object(("name",), name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT),
    "Index": _list("IndexEntry"),
    "Region": _object(("name", "byte_size"), name=_TEXT, key=_TEXT, offset=_NATURAL, byte_size=_NATURAL),
    "Regions": _list("Region"),
    "ModelConfig": _object(("name",), name=_TEXT, platform=_TEXT, max_batch_size=_NATURAL),
    "Settings": _ANY,
}
"""Named schemas."""

EMPTY: Json = {"description": "Done."}


def _answer(name: str) -> Json:
    return {"description": f"{name}.", "content": {"application/json": {"schema": _ref(name)}}}


def _body(schema: Json, is_required: bool = False) -> Json:
    return {"required": is_required, "content": {"application/json": {"schema": schema}}}


_BINARY: Json = {"schema": {"type": "string", "format": "binary"}}
_INFERRED = _answer("InferenceResponse")

ANSWERS: Mapping[str, Json] = {
    "infer": {**_INFERRED, "content": {**_INFERRED["content"], "application/octet-stream": _BINARY}},
    "server_metadata": _answer("ServerMetadata"),
    "model_metadata": _answer("ModelMetadata"),
    "model_config": _answer("ModelConfig"),
    "model_statistics": _answer("Statistics"),
    "repository_index": _answer("Index"),
    "system_shared_memory_status": _answer("Regions"),
    "cuda_shared_memory_status": _answer("Regions"),
    "trace_setting": _answer("Settings"),
    "log_settings": _answer("Settings"),
}
"""What operations answer; those missing answer with nothing."""

_INFER_BODY = _body(_ref("InferenceRequest"), is_required=True)
BODIES: Mapping[str, Json] = {
    "infer": {**_INFER_BODY, "content": {**_INFER_BODY["content"], "application/octet-stream": _BINARY}},
    "repository_index": _body(_object(ready={"type": "boolean"})),
    "repository_model_load": _body(_object(parameters=_FREE)),
    "repository_model_unload": _body(_object(parameters=_FREE)),
    "system_shared_memory_register": _body(
        _object(("key", "byte_size"), key=_TEXT, offset=_NATURAL, byte_size=_NATURAL), is_required=True
    ),
    "cuda_shared_memory_register": _body(
        _object(
            ("raw_handle", "device_id", "byte_size"),
            raw_handle=_object(("b64",), b64=_TEXT),
            device_id=_NATURAL,
            byte_size=_NATURAL,
        ),
        is_required=True,
    ),
    "trace_setting": _body(_ref("Settings")),
    "log_settings": _body(_ref("Settings")),
}
"""What operations take."""
