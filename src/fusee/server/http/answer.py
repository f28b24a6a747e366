"""The answer to an inference: a JSON header, and after it the outputs that go as binary data."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from fusee.server.http.compression import compressed
from fusee.server.http.messages import JSON_TYPE, Response
from fusee.server.types import InferResponse, Json
from fusee.server.wire import Buffer, encode, to_json

_BINARY_TYPE = (b"content-type", b"application/octet-stream")


def infer_response(answer: InferResponse, binary_outputs: Mapping[str, bool], is_binary: bool) -> Response:
    """The answer of a model. An output in shared memory has neither parameters nor data. Raises ServingError for what
    JSON cannot carry."""
    outputs: list[Json] = []
    content: list[Buffer] = [b""]
    for tensor in answer.outputs:
        output: dict[str, Json] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        outputs.append(output)
        if tensor.region is not None:
            continue
        if binary_outputs.get(tensor.name, is_binary):
            piece = encode(tensor)
            output["parameters"] = {"binary_data_size": len(piece)}
            content.append(piece)
        else:
            output["data"] = to_json(tensor)
    content[0] = orjson.dumps(_header(answer, outputs), option=orjson.OPT_SERIALIZE_NUMPY)
    if len(content) == 1:
        return Response(200, JSON_TYPE, content)
    length = (b"inference-header-content-length", b"%d" % len(content[0]))
    return Response(200, (_BINARY_TYPE, length), content)


def _header(answer: InferResponse, outputs: list[Json]) -> dict[str, Json]:
    header: dict[str, Json] = {"id": answer.id} if answer.id else {}
    header["model_name"] = answer.model
    header["model_version"] = answer.version
    if answer.parameters:
        header["parameters"] = answer.parameters
    header["outputs"] = outputs
    return header


def packed(response: Response, encoding: str) -> Response:
    """An answer compressed; ``encoding`` is one that its caller accepts."""
    headers = (*response.headers, (b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    return Response(response.status, headers, (compressed(response.content, encoding),))
