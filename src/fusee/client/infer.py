"""Requests made once and sent often: inference over HTTP with binary tensors."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusee.base.errors import DeviceError, RequestError
from fusee.base.types import Array
from fusee.client.address import Address
from fusee.server.types import Json, Tensor
from fusee.server.wire import dtype_of, encode

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class PreparedRequest:
    """The bytes of a whole HTTP request, and what its answer's body must be (None: anything)."""

    parts: list[bytes]
    is_expected: Callable[[bytes], bool] = lambda _: True


def ask(address: Address, method: str, path: str, document: Json = None, api_key: str = "") -> Json:
    """One JSON call. Raises DeviceError when no server answers there, RequestError when it refuses."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)
    headers = {"x-api-key": api_key} if api_key else {}
    body = None if document is None else json.dumps(document)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except OSError as err:
        raise DeviceError(f"no server answers at {address}: {err.strerror or err}") from err
    finally:
        connection.close()
    if answer.status != 200:
        raise RequestError(f"{address} answers {method} {path} with {answer.status}: {_message(content)}")
    return json.loads(content) if content else None


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")


def random_tensors(metadata: Json, sizes: Mapping[str, tuple[int, ...]], batch: int, seed: int) -> list[Tensor]:
    """Random inputs for a model: sizes given by name, else 1 (``batch`` first) where the metadata has -1."""
    generator = np.random.default_rng(seed)
    tensors: list[Tensor] = []
    for item in metadata["inputs"]:
        declared = tuple(int(d) for d in item["shape"])
        first = batch if declared[:1] == (-1,) else None
        shape = sizes.get(item["name"]) or tuple(
            first if i == 0 and first is not None else (1 if d < 0 else d) for i, d in enumerate(declared)
        )
        array = _random_array(generator, item["datatype"], shape)
        tensors.append(Tensor(item["name"], item["datatype"], shape, array))
    return tensors


def _random_array(generator: np.random.Generator, datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == "BYTES":
        raise RequestError("the model takes BYTES: give the content with --input")
    dtype = dtype_of(datatype).numpy
    if dtype.kind in "iu":
        return generator.integers(0, 100, shape).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.standard_normal(shape, np.float32).astype(dtype)


def infer_request(address: Address, model: str, tensors: list[Tensor], api_key: str = "") -> PreparedRequest:
    """A request whose inputs and outputs are binary."""
    contents = [bytes(encode(t)) for t in tensors]
    inputs: list[dict[str, Any]] = [
        {"name": t.name, "shape": t.shape, "datatype": t.datatype, "parameters": {"binary_data_size": len(c)}}
        for t, c in zip(tensors, contents, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    size_bytes = len(head) + sum(map(len, contents))
    lines = [
        f"POST /v2/models/{model}/infer HTTP/1.1",
        f"Host: {address}",
        f"Content-Length: {size_bytes}",
        f"Inference-Header-Content-Length: {len(head)}",
        *([f"x-api-key: {api_key}"] if api_key else []),
    ]
    return PreparedRequest([("\r\n".join(lines) + "\r\n\r\n").encode() + head, *contents])
