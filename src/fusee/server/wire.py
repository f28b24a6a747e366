"""Tensors as bytes and as JSON, by the Open Inference Protocol: little-endian, row-major; BYTES elements carry a u32
length each.

Used by both doors, by shared memory and by pipelines. Whatever comes from outside is checked here: sizes against
shapes, numbers against their type's range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from math import prod
from struct import Struct
from typing import Any

import numpy as np

from fusee.base.types import Array, DType
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.types import Json, Tensor

Buffer = bytes | bytearray | memoryview
"""Bytes; a memoryview is one-dimensional and of single bytes."""

BYTES = "BYTES"
DTYPES: Mapping[str, DType] = {
    "BOOL": DType.BOOL,
    "UINT8": DType.U8,
    "UINT16": DType.U16,
    "UINT32": DType.U32,
    "UINT64": DType.U64,
    "INT8": DType.I8,
    "INT16": DType.I16,
    "INT32": DType.I32,
    "INT64": DType.I64,
    "FP16": DType.F16,
    "FP32": DType.F32,
    "FP64": DType.F64,
    "BF16": DType.BF16,
}
"""The element type of every datatype of fixed size."""
DATATYPES = (*DTYPES, BYTES)
NUMPY: Mapping[str, np.dtype[Any]] = {**{n: t.numpy for n, t in DTYPES.items()}, BYTES: np.dtype(object)}
"""The type of the array of a Tensor, by datatype."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_CONFIG_TYPES = {name: f"TYPE_{name}" for name in DTYPES} | {BYTES: "TYPE_STRING"}
_FROM_CONFIG = {config: name for name, config in _CONFIG_TYPES.items()}

LARGEST_COUNT = (2**63 - 1) // 8  # whose bytes still count in 64 bits
LARGEST_RANK = 64  # numpy's
_LENGTH = Struct("<I")
_NOT_IN_JSON = ("FP16", "BF16")
_JSON_TYPES: Mapping[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "whole numbers"),
    "u": (frozenset({int}), "whole numbers, 0 or above"),
    "f": (frozenset({int, float}), "numbers"),
    "O": (frozenset({str}), "strings"),
}
"""What JSON values a kind of array may be made of, and in words."""


def datatype_of(dtype: DType) -> str:
    """The protocol's word for an element type. Raises ServingError UNSUPPORTED when it has none."""
    name = _NAMES.get(dtype)
    if name is None:
        raise ServingError(
            Reason.UNSUPPORTED,
            f"element type {dtype} has no name in the protocol; it has {', '.join(map(str, _NAMES))}",
        )
    return name


def dtype_of(datatype: str) -> DType:
    """The element type of a datatype. Raises ServingError when it is unknown or BYTES, which has none."""
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise invalid(f"datatype {datatype!r} has no element type; expected {', '.join(DTYPES)}")
    return dtype


def config_type_of(datatype: str) -> str:
    """The name in config.pbtxt: "FP32" is "TYPE_FP32", "BYTES" is "TYPE_STRING". Raises ServingError."""
    name = _CONFIG_TYPES.get(datatype)
    if name is None:
        raise invalid(f"datatype {datatype!r} is unknown; expected {', '.join(DATATYPES)}")
    return name


def datatype_of_config(config_type: str) -> str:
    """The datatype of a name in config.pbtxt. Raises ServingError."""
    name = _FROM_CONFIG.get(config_type)
    if name is None:
        raise invalid(f"data_type {config_type} is no type of a tensor; expected {', '.join(_FROM_CONFIG)}")
    return name


def decode(name: str, datatype: str, shape: tuple[int, ...], content: Buffer) -> Tensor:
    """The tensor of its bytes. Arrays of fixed-size elements look at ``content`` itself, nothing is copied.

    Raises ServingError when the datatype is unknown, the shape impossible or the size not the shape's.
    """
    dtype = NUMPY.get(datatype)
    if dtype is None:
        raise invalid(f"tensor {name!r}: datatype {datatype!r} is unknown; expected {', '.join(DATATYPES)}")
    if datatype == BYTES:
        return Tensor(name, datatype, shape, _decode_strings(name, shape, content))
    size_bytes = element_count(name, shape) * dtype.itemsize
    if size_bytes != len(content):
        raise invalid(
            f"tensor {name!r}: {len(content)} bytes of data, expected {size_bytes} for {datatype} of shape "
            f"{list(shape)}"
        )
    if size_bytes == 0:
        return Tensor(name, datatype, shape, np.empty(shape, dtype))
    array = np.frombuffer(content, dtype).reshape(shape)
    if datatype == "BOOL" and (largest := int(array.view(np.uint8).max())) > 1:
        raise invalid(f"tensor {name!r}: a BOOL byte is {largest}, expected 0 or 1")
    return Tensor(name, datatype, shape, array)


def encode(tensor: Tensor) -> bytes | memoryview:
    """The bytes of a tensor: a view of a contiguous array, else a copy."""
    array = tensor.values()
    assert array.dtype == NUMPY[tensor.datatype], (tensor.name, tensor.datatype, array.dtype)
    if tensor.datatype == BYTES:
        return b"".join(chain.from_iterable((_LENGTH.pack(len(e)), e) for e in array.ravel()))
    if array.size == 0:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def element_count(name: str, shape: tuple[int, ...]) -> int:
    """The number of elements. Raises ServingError for a shape that no array can have."""
    check_rank(name, len(shape))
    for size in shape:
        if size < 0:
            raise invalid(f"tensor {name!r}: shape {list(shape)} has a size below 0")
    count = prod(shape)
    bound = count or prod(max(s, 1) for s in shape)  # numpy multiplies past sizes of 0 too
    if bound > LARGEST_COUNT:
        raise invalid(
            f"tensor {name!r}: shape {list(shape[:8])} of {len(shape)} dimensions is too large; expected up to "
            f"{LARGEST_RANK} dimensions and {LARGEST_COUNT} elements"
        )
    return count


def check_rank(name: str, rank: int) -> None:
    """Raises ServingError. Before anything is made of the dimensions: the product of millions takes days."""
    if rank > LARGEST_RANK:
        raise invalid(f"tensor {name!r}: shape of {rank} dimensions is too large; expected up to {LARGEST_RANK}")


def _decode_strings(name: str, shape: tuple[int, ...], content: Buffer) -> Array:
    count = element_count(name, shape)
    if count * _LENGTH.size > len(content):
        raise invalid(
            f"tensor {name!r}: {len(content)} bytes of data, expected at least {count * _LENGTH.size} for BYTES of "
            f"shape {list(shape)}, 4 for the length of each element"
        )
    array = np.empty(count, dtype=object)
    view, at = memoryview(content), 0
    for i in range(count):
        start = at + _LENGTH.size
        if start > len(view):
            raise invalid(f"tensor {name!r}: the data ends at byte {len(view)}, before the length of element {i}")
        at = start + _LENGTH.unpack_from(view, at)[0]
        if at > len(view):
            raise invalid(
                f"tensor {name!r}: element {i} has {at - start} bytes by its length, but {len(view) - start} are left"
            )
        array[i] = bytes(view[start:at])
    if at != len(view):
        raise invalid(f"tensor {name!r}: {len(view) - at} bytes are left over after {count} elements")
    return array.reshape(shape)


def from_json(name: str, datatype: str, shape: tuple[int, ...], values: Json) -> Tensor:
    """The tensor of a JSON list, flat or nested as the shape is.

    Raises ServingError for FP16 and BF16, which JSON does not carry, for another number of elements than the shape's,
    and for an element of the wrong kind or out of its type's range.
    """
    dtype = NUMPY.get(datatype)
    if dtype is None:
        raise invalid(f"tensor {name!r}: datatype {datatype!r} is unknown; expected {', '.join(DATATYPES)}")
    if datatype in _NOT_IN_JSON:
        raise invalid(f"tensor {name!r}: {datatype} cannot be sent as JSON; send it as binary data")
    count = element_count(name, shape)
    flat = _flat(name, shape, values)
    if len(flat) != count:
        raise invalid(f"tensor {name!r}: {len(flat)} elements, expected {count} for shape {list(shape)}")
    allowed, words = _JSON_TYPES[dtype.kind]
    if not allowed.issuperset(map(type, flat)):
        wrong = next(v for v in flat if type(v) not in allowed)
        raise invalid(f"tensor {name!r}: an element is {_shown(wrong)}, expected {words} for {datatype}")
    if datatype == BYTES:
        return Tensor(name, datatype, shape, _encoded_strings(flat).reshape(shape))
    return Tensor(name, datatype, shape, _numbers(name, datatype, flat).reshape(shape))


def to_json(tensor: Tensor) -> Json:
    """The elements as a flat row-major sequence: a list of strings, or an array for orjson's OPT_SERIALIZE_NUMPY.

    Raises ServingError for what JSON cannot carry: FP16, BF16, NaN, infinity, and BYTES that are no UTF-8.
    """
    array, name = tensor.values(), tensor.name
    if tensor.datatype in _NOT_IN_JSON:
        raise invalid(f"output {name!r}: {tensor.datatype} cannot be sent as JSON; ask for binary_data")
    if tensor.datatype == BYTES:
        try:
            return [e.decode() for e in array.ravel()]
        except UnicodeDecodeError as err:
            raise invalid(f"output {name!r}: an element is no UTF-8 ({err.reason}); ask for binary_data") from err
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise invalid(f"output {name!r}: holds NaN or infinity, which JSON cannot carry; ask for binary_data")
    return np.ascontiguousarray(array).reshape(-1)


def _flat(name: str, shape: tuple[int, ...], values: Json) -> list[Json]:
    """The elements of a list that is flat, or nested as ``shape`` says. Raises ServingError."""
    if not isinstance(values, list):
        raise invalid(f"tensor {name!r}: 'data' is {_shown(values)}, expected a list")
    level: list[Json] = values
    if not level or not isinstance(level[0], list):
        return level
    if not shape or len(level) != shape[0]:
        raise invalid(f"tensor {name!r}: {len(level)} nested lists, expected shape {list(shape)}")
    for size in shape[1:]:
        if any(type(v) is not list or len(v) != size for v in level):
            raise invalid(f"tensor {name!r}: the lists are not nested as shape {list(shape)} says")
        level = list(chain.from_iterable(level))
    return level


def _numbers(name: str, datatype: str, flat: list[Json]) -> Array:
    dtype = NUMPY[datatype]
    try:
        with np.errstate(over="raise"):
            return np.array(flat, dtype)
    except (OverflowError, FloatingPointError) as err:
        raise invalid(f"tensor {name!r}: an element is out of the range of {datatype}") from err


def _encoded_strings(flat: Iterable[str]) -> Array:
    elements = [v.encode() for v in flat]
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def _shown(value: Json) -> str:
    """A value as an error shows it, cut short."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
