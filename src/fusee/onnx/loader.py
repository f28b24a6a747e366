"""Read an ONNX file into a checked ModelProto, with external weights mapped from the model's own folder."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from fusee.base.errors import ModelError, ParseError, UnsupportedModel
from fusee.base.types import Array, DType

MAX_PROTOBUF_BYTES = (2 << 30) - 1  # protobuf's own limit for one message
OLDEST_OPSET = 7


def load_model(path: str | Path) -> onnx.ModelProto:
    """Read the file. Raises ModelError for one that is missing, too large, not ONNX, damaged or too old."""
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"{path}: {found}; expected an ONNX file")
    size_bytes = path.stat().st_size
    if size_bytes > MAX_PROTOBUF_BYTES:
        raise ModelError(
            f"{path}: {size_bytes / 2**30:.2f} GiB in one file, but protobuf messages end at 2 GiB; "
            "save the model with external data (onnx.save(..., save_as_external_data=True)) and build that"
        )
    return parse_model(path.read_bytes(), str(path))


def parse_model(data: bytes, name: str) -> onnx.ModelProto:
    """Parse the bytes of an ONNX file; ``name`` is for messages."""
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise ParseError(f"{name}: not an ONNX model, or cut short: {_described(data)} do not parse") from None
    if not model.HasField("graph") or (not model.graph.node and not model.graph.output):
        raise ParseError(f"{name}: not an ONNX model: {_described(data)} hold no graph; expected a ModelProto")
    check_opset(model, name)
    return model


def _described(data: bytes) -> str:
    if data.startswith(b"version https://git-lfs"):
        return f"{len(data)} bytes that stand for a file in Git LFS (fetch it with git lfs pull)"
    return f"{len(data)} bytes"


def check_opset(model: onnx.ModelProto, name: str) -> None:
    """Raise UnsupportedModel unless the model's ai.onnx opset is between 7 and the newest that onnx knows."""
    newest = onnx.defs.onnx_opset_version()
    if not model.opset_import:
        raise ModelError(f"{name}: declares no opset; expected ai.onnx {OLDEST_OPSET} to {newest}. Export it again")
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= newest:
            raise UnsupportedModel(
                f"{name}: opset {entry.version} of ai.onnx; expected {OLDEST_OPSET} to {newest}. "
                "Convert it with onnx.version_converter, or export it again with a supported opset"
            )


def tensor_array(tensor: onnx.TensorProto, folder: Path | None, where: str) -> Array:
    """The array a TensorProto holds. Raises ModelError when it is damaged or its external file is unsafe."""
    if tensor.data_type == onnx.TensorProto.STRING:
        raise UnsupportedModel(f"{where}: holds strings; only numbers and booleans are supported")
    element_type(tensor.data_type, where)
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"{where}: damaged tensor of shape {list(tensor.dims)}: sizes are never negative")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external_array(tensor, folder, where)
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as err:
        raise ModelError(f"{where}: damaged tensor of shape {list(tensor.dims)}: {err}") from None
    return np.asarray(array)


def _external_array(tensor: onnx.TensorProto, folder: Path | None, where: str) -> Array:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    file = external_file(facts.get("location", ""), folder, where)
    dtype = element_type(tensor.data_type, where).numpy
    count = prod(tensor.dims)
    packed = dtype in _PACKED_BITS
    size_bytes = -(-count * _PACKED_BITS.get(dtype, 8 * dtype.itemsize) // 8)
    offset = _offset(facts.get("offset", "0"), where)
    if not 0 <= offset <= file.stat().st_size - size_bytes:
        raise ModelError(
            f"{where}: external data {file.name} has {file.stat().st_size} bytes, but the tensor needs "
            f"{size_bytes} from offset {offset}"
        )
    if not count:
        return np.zeros(tuple(tensor.dims), dtype)
    raw: Array = np.memmap(file, np.uint8, "r", offset, (size_bytes,))
    if packed:
        plain = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=raw.tobytes())
        return np.asarray(numpy_helper.to_array(plain))
    return raw.view(dtype).reshape(tuple(tensor.dims))


def _offset(text: str, where: str) -> int:
    if not text.isdecimal():
        raise ModelError(f"{where}: external data at offset {text!r}; expected a number of bytes")
    return int(text)


_PACKED_BITS: dict[np.dtype[np.generic], int] = {
    np.dtype(ml_dtypes.int4): 4,
    np.dtype(ml_dtypes.uint4): 4,
    np.dtype(ml_dtypes.float4_e2m1fn): 4,
    np.dtype(ml_dtypes.int2): 2,
    np.dtype(ml_dtypes.uint2): 2,
}


def external_file(location: str, folder: Path | None, where: str) -> Path:
    """The file that holds external data. Raises ModelError unless it lies inside the model's folder."""
    if folder is None:
        raise ModelError(f"{where}: external data {location!r}, but the model was given as bytes, without a folder")
    file = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder.resolve()):
        raise ModelError(f"{where}: external data {location!r} lies outside the model's folder; it must be inside")
    if not file.is_file():
        raise ModelError(f"{where}: external data {location!r} does not exist beside the model")
    return file


def element_type(data_type: int, where: str) -> DType:
    """Our element type for ONNX's number. Raises UnsupportedModel for strings and complex numbers."""
    try:
        return DType.of(onnx.helper.tensor_dtype_to_np_dtype(data_type))
    except (ParseError, KeyError, TypeError):
        known = onnx.TensorProto.DataType.Name(data_type) if data_type in _DATA_TYPES else str(data_type)
        raise UnsupportedModel(f"{where}: element type {known} is not supported") from None


_DATA_TYPES = frozenset(onnx.TensorProto.DataType.values())


def nan_initializers(model: onnx.ModelProto, folder: Path | None) -> Iterator[str]:
    """Names of float weights that hold NaN: no exporter writes them on purpose."""
    for tensor in model.graph.initializer:
        if tensor.data_type not in _WIDE_FLOATS:
            continue
        if bool(np.isnan(tensor_array(tensor, folder, f"initializer {tensor.name!r}")).any()):
            yield tensor.name


_WIDE_FLOATS = frozenset(
    (onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
)
