"""Cases of tensors on their way: every type, binary and JSON, shared memory, compression, classification."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.shared_memory import SharedMemory

import ml_dtypes
import numpy as np

from server.conformance.case import Case, Cases
from server.conformance.clients import ALL, BOTH_GRPC, BOTH_HTTP, Client, In, Out, refused
from server.conformance.records import Record, array_record
from server.conformance.service_cases import NUMBERS, SUMMANDS

TENSORS = Cases()
SHARED_MEMORY_PREFIX = "/fusee-conformance-"


def sample(datatype: str) -> np.ndarray:
    """Values at the edges of a type, as one batch of one."""
    if datatype == "BYTES":
        return np.array([[b"", b"word", "größer".encode(), bytes(range(1, 200))]], object)
    if datatype == "BOOL":
        return np.array([[True, False, True]])
    if datatype == "BF16":
        return np.array([[0.0, -1.5, 3.0e38, 1.0e-38]], ml_dtypes.bfloat16)
    dtype = np.dtype({"FP": "float", "IN": "int", "UI": "uint"}[datatype[:2]] + datatype.lstrip("FPUINT"))
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return np.array([[0, -0.0, 1 / 3, limits.max, limits.tiny]], dtype)
    bounds = np.iinfo(dtype)
    return np.array([[0, 1, bounds.min, bounds.max]], dtype)


def _identity(datatype: str, is_binary: bool, client: Client) -> Record:
    given, wanted = In("INPUT0", sample(datatype), is_binary), Out("OUTPUT0", is_binary)
    return client.infer(f"identity_{datatype.lower()}", [given], [wanted])


DATATYPES = ("FP16", "FP32", "FP64", "BF16", "INT8", "INT16", "INT32", "INT64")
DATATYPES += ("UINT8", "UINT16", "UINT32", "UINT64", "BOOL", "BYTES")
TENSORS += [Case(f"{name}, binary", ALL, partial(_identity, name, True)) for name in DATATYPES]
TENSORS += [
    Case(f"{name}, JSON", BOTH_HTTP, partial(_identity, name, False))
    for name in DATATYPES
    if name[1:] not in ("P16", "F16", "YTES")
]


@TENSORS.case("BYTES, JSON", *BOTH_HTTP)
def _(client: Client) -> Record:
    words = np.array([["one", "", "größer"]], object)
    return client.infer("identity_bytes", [In("INPUT0", words, False)], [Out("OUTPUT0", False)])


@TENSORS.case("16-bit floats, answered in JSON", *BOTH_HTTP)
def _(client: Client) -> Record:
    def ask(datatype: str) -> Record:
        given = [In("INPUT0", sample(datatype))]
        return refused(
            (datatype,), lambda: client.infer(f"identity_{datatype.lower()}", given, [Out("OUTPUT0", False)])
        )

    return {datatype: ask(datatype) for datatype in ("FP16", "BF16")}


@TENSORS.case("floats without a number", *ALL)
def _(client: Client) -> Record:
    return client.infer("identity_fp32", [In("INPUT0", np.array([[np.nan, np.inf, -np.inf]], np.float32))])


@TENSORS.case("numbers in strings", *ALL)
def _(client: Client) -> Record:
    words = np.array([[str(i).encode() for i in range(16)]], object)
    return client.infer("simple_string", [In("INPUT0", words), In("INPUT1", words)])


@TENSORS.case("a tensor without elements", *ALL)
def _(client: Client) -> Record:
    return client.infer("identity_fp32", [In("INPUT0", np.zeros((1, 0), np.float32))])


@TENSORS.case("lengths that vary", *ALL)
def _(client: Client) -> Record:
    given = [np.arange(n, dtype=np.float32)[np.newaxis] for n in (1, 5, 33)]
    return [client.infer("identity_fp32", [In("INPUT0", array)]) for array in given]


@TENSORS.case("a batch", *ALL)
def _(client: Client) -> Record:
    batch = np.arange(128, dtype=np.int32).reshape(8, 16)
    return client.infer("simple", [In("INPUT0", batch), In("INPUT1", batch)])


@TENSORS.case("no batch axis", *ALL)
def _(client: Client) -> Record:
    two = In("INPUT0", np.ones((2, 3), np.float32)), In("INPUT1", np.ones((2, 7), np.float32))
    return client.infer("no_batch", two)


@TENSORS.case("an ensemble", *ALL)
def _(client: Client) -> Record:
    return client.infer("chain", SUMMANDS)


@TENSORS.case("versions", *ALL)
def _(client: Client) -> Record:
    given = [In("INPUT0", np.zeros((1, 4), np.int32))]
    asked = {v or "by policy": client.infer("versions", given, model_version=v) for v in ("", "1", "3")}
    return {**asked, "2": refused(("versions",), lambda: client.infer("versions", given, model_version="2"))}


@TENSORS.case("8 MB there and back", *ALL)
def _(client: Client) -> Record:
    return client.infer("identity_fp32", [In("INPUT0", np.arange(2**21, dtype=np.float32)[np.newaxis])])


@TENSORS.case("one input binary, one JSON", *BOTH_HTTP)
def _(client: Client) -> Record:
    return client.infer("simple", [In("INPUT0", NUMBERS), In("INPUT1", NUMBERS, False)])


@TENSORS.case("one output binary, one JSON", *BOTH_HTTP)
def _(client: Client) -> Record:
    return client.infer("simple", SUMMANDS, [Out("OUTPUT1"), Out("OUTPUT0", False)])


@TENSORS.case("one output of two", *ALL)
def _(client: Client) -> Record:
    return client.infer("simple", SUMMANDS, [Out("OUTPUT1")])


@TENSORS.case("outputs in the order asked for", *ALL)
def _(client: Client) -> Record:
    return list(client.infer("simple", SUMMANDS, [Out("OUTPUT1"), Out("OUTPUT0")])["outputs"])


@TENSORS.case("inputs in another order", *ALL)
def _(client: Client) -> Record:
    return client.infer("simple", SUMMANDS[::-1])


@TENSORS.case("request id", *ALL)
def _(client: Client) -> Record:
    return [client.infer("simple", SUMMANDS, request_id=name)["id"] for name in ("a-17", "größer")]


SCORES = np.array([[0.5, -1, 7, 3, 3, 0, 12.25, -9, 1e-3, 2], np.arange(10)], np.float32)


def _classified(k: int, items: int, client: Client) -> Record:
    return client.infer("classes", [In("INPUT0", SCORES[:items])], [Out("OUTPUT0", classes=k)])


TENSORS += [Case(f"the first {k} of ten classes", ALL, partial(_classified, k, 1)) for k in (1, 3, 10, 12)]
TENSORS += [Case("classes of a batch", ALL, partial(_classified, 2, 2))]


@TENSORS.case("classes without labels", *ALL)
def _(client: Client) -> Record:
    def ask(datatype: str) -> Record:
        array = np.array([[4, 9, 2]], datatype.lower().replace("fp", "float"))
        return client.infer(f"identity_{datatype.lower()}", [In("INPUT0", array)], [Out("OUTPUT0", classes=2)])

    return {datatype: ask(datatype) for datatype in ("INT32", "FP32", "UINT8", "FP64")}


@TENSORS.case("classes in JSON", *BOTH_HTTP)
def _(client: Client) -> Record:
    return client.infer("classes", [In("INPUT0", SCORES)], [Out("OUTPUT0", is_binary=False, classes=2)])


def _compressed(options: Mapping[str, str], client: Client) -> Record:
    return client.infer("identity_fp32", [In("INPUT0", np.ones((1, 4096), np.float32))], **options)


for algorithm in ("gzip", "deflate"):
    TENSORS += [
        Case(f"request in {algorithm}", BOTH_HTTP, partial(_compressed, {"request_compression_algorithm": algorithm})),
        Case(f"answer in {algorithm}", BOTH_HTTP, partial(_compressed, {"response_compression_algorithm": algorithm})),
        Case(f"messages in {algorithm}", BOTH_GRPC, partial(_compressed, {"compression_algorithm": algorithm})),
    ]


@contextmanager
def _region(client: Client, content: bytes) -> Generator[tuple[str, SharedMemory]]:
    """A registered region with that content, and its name."""
    name = f"region-{client.form.replace(' ', '-')}"
    memory = SharedMemory((SHARED_MEMORY_PREFIX + name).lstrip("/"), create=True, size=len(content))
    try:
        memory.buf[: len(content)] = content
        client.call("register_system_shared_memory", name, SHARED_MEMORY_PREFIX + name, len(content))
        yield name, memory
    finally:
        client.call("unregister_system_shared_memory", name)
        memory.close()
        memory.unlink()


@TENSORS.case("shared memory, in", *ALL)
def _(client: Client) -> Record:
    with _region(client, NUMBERS.tobytes() * 2) as (name, _):
        given = In("INPUT0", NUMBERS, region=(name, 64, 0)), In("INPUT1", NUMBERS, region=(name, 64, 64))
        return client.infer("simple", given)


@TENSORS.case("shared memory, out", *ALL)
def _(client: Client) -> Record:
    with _region(client, bytes(256)) as (name, memory):
        answer = client.infer("simple", SUMMANDS, [Out("OUTPUT1", region=(name, 64, 128)), Out("OUTPUT0")])
        return {"answer": answer, "memory": array_record(np.frombuffer(bytes(memory.buf[:256]), np.int32))}


@TENSORS.case("shared memory, strings", *ALL)
def _(client: Client) -> Record:
    words = np.array([[b"one", b"", b"three"]], object)
    content = b"".join(len(w).to_bytes(4, "little") + w for w in words[0])
    with _region(client, content + bytes(64)) as (name, memory):
        given = In("INPUT0", words, region=(name, len(content), 0))
        answer = client.infer("identity_bytes", [given], [Out("OUTPUT0", region=(name, 64, len(content)))])
        return {"answer": answer, "memory": bytes(memory.buf[: 2 * len(content)]).hex()}


@TENSORS.case("shared memory, status", *ALL)
def _(client: Client) -> Record:
    def regions() -> Record:
        status = client.call("get_system_shared_memory_status")
        return status if isinstance(status, list) else status.get("regions", {})

    before = regions()
    with _region(client, bytes(32)) as (name, _):
        one = client.call("get_system_shared_memory_status", name)
        return {"before": before, "during": regions(), "one": one}


@TENSORS.case("shared memory, wrong places", *ALL)
def _(client: Client) -> Record:
    with _region(client, bytes(128)) as (name, _):

        def read(size: int, offset: int, region: str = name) -> Record:
            given = In("INPUT0", NUMBERS, region=(region, size, offset)), SUMMANDS[1]
            return refused(("INPUT0",), lambda: client.infer("simple", given))

        small = [Out("OUTPUT0", region=(name, 32, 0))]
        return {
            "beyond the end": read(64, 96),
            "too few bytes": read(32, 0),
            "too many bytes": read(128, 0),
            "unknown region": read(64, 0, "nowhere"),
            "output too large": refused(("OUTPUT0",), lambda: client.infer("simple", SUMMANDS, small)),
        }


@TENSORS.case("shared memory, wrong registrations", *ALL)
def _(client: Client) -> Record:
    def register(name: str, key: str, size: int, offset: int = 0) -> Record:
        return refused((name,), lambda: client.call("register_system_shared_memory", name, key, size, offset))

    with _region(client, bytes(128)) as (name, _):
        return {
            "twice": register(name, SHARED_MEMORY_PREFIX + name, 128),
            "no such key": register("other", SHARED_MEMORY_PREFIX + "nowhere", 128),
            "unregister unknown": refused((), lambda: client.call("unregister_system_shared_memory", "nowhere")),
            "status unknown": refused(("nowhere",), lambda: client.call("get_system_shared_memory_status", "nowhere")),
        }


@TENSORS.case("shared memory, all unregistered", *ALL)
def _(client: Client) -> Record:
    with _region(client, bytes(128)):
        client.call("unregister_system_shared_memory")
        client.call("unregister_cuda_shared_memory")
        return [client.call(f"get_{kind}_shared_memory_status") for kind in ("system", "cuda")]
