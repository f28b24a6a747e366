"""The body of an inference request: a JSON header, and after it the binary data of the inputs it names.

The header is read into a ``Plan``, which says where each input lies; a plan whose inputs all lie outside the header
holds for every body with the same header, so that a caller who repeats itself has it read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.http.fields import checked_object, flag, is_scalar, natural, parameters, parsed, whole
from fusee.server.settings import Limits
from fusee.server.types import InferRequest, Json, Parameters, Region, Tensor, WantedOutput
from fusee.server.wire import Buffer, decode, from_json

_REQUEST = "the inference request"
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
_OURS = ("headers",)  # set by servers, never by callers
_REGION_FIELDS = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


class Lying(NamedTuple):
    """An input that lies in the binary data."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """A JSON header, read. ``binary_outputs`` says for each named output whether it goes as binary data, and
    ``is_binary`` for all others."""

    id: str
    inputs: tuple[Tensor | Lying, ...]
    outputs: tuple[WantedOutput, ...]
    binary_outputs: Mapping[str, bool]
    is_binary: bool
    binary_bytes: int  # of all inputs together
    is_reusable: bool
    parameters: Parameters
    priority: int
    timeout_us: int

    def request(self, model: str, version: str, traceparent: str, binary: memoryview) -> InferRequest:
        """The request, given the binary data that follows the header. Raises ServingError."""
        if len(binary) != self.binary_bytes:
            raise invalid(
                f"{len(binary)} bytes of binary data follow the JSON header, expected the {self.binary_bytes} that the "
                "inputs' binary_data_size say"
            )
        inputs = tuple(
            [
                decode(i.name, i.datatype, i.shape, binary[i.start : i.end]) if isinstance(i, Lying) else i
                for i in self.inputs
            ]
        )
        return InferRequest(
            model,
            version,
            self.id,
            inputs,
            self.outputs,
            self.parameters,
            self.priority,
            self.timeout_us,
            traceparent=traceparent,
        )


def read_plan(header: Buffer, limits: Limits) -> Plan:
    """Read a JSON header. Raises ServingError naming what is wrong."""
    document = parsed(header, _REQUEST, limits.json_depth)
    inputs = _entries(document, "inputs", limits.tensors)
    outputs = _entries(document, "outputs", limits.tensors)
    if not inputs:
        raise invalid("the inference request has no 'inputs'")
    given = parameters(document, _REQUEST)
    placed, binary_bytes = _placed(inputs)
    named = {e["name"]: parameters(e, f"output {e['name']!r}") for e in outputs}
    is_binary = flag(given, "binary_data_output", _REQUEST)
    return Plan(
        id=_id(document),
        inputs=placed,
        outputs=tuple(_wanted(name, asked) for name, asked in named.items()),
        binary_outputs={n: flag(p, "binary_data", f"output {n!r}", is_binary) for n, p in named.items()},
        is_binary=is_binary,
        binary_bytes=binary_bytes,
        is_reusable=all(isinstance(i, Lying) or i.region is not None for i in placed),
        parameters=_free(given),
        priority=natural(given, "priority", _REQUEST),
        timeout_us=natural(given, "timeout", _REQUEST),
    )


def _entries(document: Mapping[str, Json], field: str, limit: int) -> list[dict[str, Json]]:
    """The inputs or the outputs: objects with a name each, no name twice."""
    entries = document.get(field, [])
    if not isinstance(entries, list):
        raise invalid(f"{field!r} is to be a list")
    if len(entries) > limit:
        raise invalid(f"{len(entries)} {field}, but a request may have {limit}")
    names: set[str] = set()
    for index, entry in enumerate(entries):
        name = checked_object(entry, f"{field}[{index}]").get("name")
        if not isinstance(name, str) or not name:
            raise invalid(f"{field}[{index}] has no 'name'")
        if name in names:
            raise invalid(f"{field[:-1]} {name!r} appears twice")
        names.add(name)
    return entries


def _placed(entries: Iterable[Mapping[str, Json]]) -> tuple[tuple[Tensor | Lying, ...], int]:
    """Every input, where it lies, and the size of the binary data of all."""
    placed: list[Tensor | Lying] = []
    at = 0
    for entry in entries:
        where = f"input {entry['name']!r}"
        name, datatype, shape = entry["name"], _datatype(entry, where), _shape(entry, where)
        given = parameters(entry, where)
        region = _region(given, where)
        sources = (region is not None, "binary_data_size" in given, "data" in entry)
        if sum(sources) != 1:
            raise invalid(f"{where} is to have one of 'data', binary_data_size and shared_memory_region")
        if region is not None:
            placed.append(Tensor(name, datatype, shape, None, region))
        elif "data" in entry:
            placed.append(from_json(name, datatype, shape, entry["data"]))
        else:
            end = at + natural(given, "binary_data_size", where)
            placed.append(Lying(name, datatype, shape, at, end))
            at = end
    return tuple(placed), at


def _wanted(name: str, given: Mapping[str, Json]) -> WantedOutput:
    where = f"output {name!r}"
    region = _region(given, where)
    if region is not None and given.get("binary_data"):  # clients say false beside a region
        raise invalid(f"{where} has both binary_data and shared_memory_region; expected one")
    return WantedOutput(name, natural(given, "classification", where), region)


def _region(given: Mapping[str, Json], where: str) -> Region | None:
    if "shared_memory_region" not in given:
        if stray := next((f for f in _REGION_FIELDS if f in given), None):
            raise invalid(f"{where} has {stray!r} without 'shared_memory_region'")
        return None
    name = given["shared_memory_region"]
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}: 'shared_memory_region' is to be a name")
    if "shared_memory_byte_size" not in given:
        raise invalid(f"{where} has 'shared_memory_region' without 'shared_memory_byte_size'")
    offset_bytes = natural(given, "shared_memory_offset", where)
    return Region(name, offset_bytes, natural(given, "shared_memory_byte_size", where))


def _free(given: Mapping[str, Json]) -> Parameters:
    """The parameters that go on to the model: those that the protocol does not reserve. Raises ServingError."""
    free: dict[str, bool | int | float | str] = {}
    for name, value in given.items():
        if name in _OURS or name.startswith("triton_"):
            raise invalid(f"parameter {name!r} is reserved and cannot be given")
        if name in _SEQUENCES:
            if value not in (0, "", False):
                raise ServingError(Reason.UNSUPPORTED, f"parameter {name!r}: sequences are not offered")
        elif name not in ("priority", "timeout", "binary_data_output"):
            if not is_scalar(value):
                raise invalid(f"parameter {name!r} is to be a string, a number, true or false")
            free[name] = value
    return free


def _id(document: Mapping[str, Json]) -> str:
    value = document.get("id", "")
    if not isinstance(value, str):
        raise invalid("'id' is to be a string")
    return value


def _datatype(entry: Mapping[str, Json], where: str) -> str:
    datatype = entry.get("datatype")
    if not isinstance(datatype, str):
        raise invalid(f"{where} has no 'datatype'")
    return datatype


def _shape(entry: Mapping[str, Json], where: str) -> tuple[int, ...]:
    shape = entry.get("shape")
    sizes = [whole(size) for size in shape] if isinstance(shape, list) else [None]
    if None in sizes:
        raise invalid(f"{where}: 'shape' is to be a list of whole numbers")
    return tuple(size for size in sizes if size is not None)
