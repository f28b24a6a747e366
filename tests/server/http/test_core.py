"""The HTTP core without sockets: what is asked, what is answered, what is refused and in which words."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib
from functools import wraps

import numpy as np
import orjson
import pytest

from fusee.server.access import Access, Key
from fusee.server.door import Content, Page
from fusee.server.errors import Reason, ServingError, not_found
from fusee.server.http.messages import STATUSES
from fusee.server.operations import INFER, OPERATIONS, Scope
from fusee.server.types import InferResponse, Region, Tensor
from server.http.http_house import (
    CONFIG,
    Asker,
    FakePlane,
    binary_tensor,
    body_of,
    document_of,
    error_of,
    tensor,
)

FOUR = np.arange(4, dtype=np.float32)


def in_loop(test):
    @wraps(test)
    def run(*args, **kwargs):
        return asyncio.run(test(*args, **kwargs))

    return run


def test_every_reason_has_a_status():
    assert set(STATUSES) == set(Reason)


class TestInfer:
    @in_loop
    async def test_json_request_and_answer(self):
        plane = FakePlane()
        answer = await Asker(plane).infer({"id": "7", "inputs": [tensor(values=(1.5, 0.1))]})
        assert answer.status == 200
        assert dict(answer.headers) == {b"content-type": b"application/json"}
        assert document_of(answer) == {
            "id": "7",
            "model_name": "identity",
            "model_version": "1",
            "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [2], "data": [1.5, 0.1]}],
        }
        assert list(document_of(answer)) == ["id", "model_name", "model_version", "outputs"]

    @in_loop
    async def test_binary_request_with_binary_answer(self):
        plane = FakePlane()
        wanted = [{"name": "OUT", "parameters": {"binary_data": True}}]
        answer = await Asker(plane).infer({"inputs": [binary_tensor(16)], "outputs": wanted}, FOUR.tobytes())
        header = document_of(answer)
        assert dict(answer.headers)[b"content-type"] == b"application/octet-stream"
        assert header["outputs"] == [
            {"name": "OUT", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}}
        ]
        assert "id" not in header
        assert body_of(answer).endswith(FOUR.tobytes())
        assert np.array_equal(plane.requests[0].inputs[0].values(), FOUR)

    @in_loop
    async def test_binary_data_output_is_the_default_of_each_output(self):
        request = {
            "parameters": {"binary_data_output": True},
            "inputs": [tensor("IN0"), tensor("IN1")],
            "outputs": [{"name": "OUT0"}, {"name": "OUT1", "parameters": {"binary_data": False}}],
        }
        first, second = document_of(await Asker(FakePlane()).infer(request))["outputs"]
        assert first["parameters"] == {"binary_data_size": 8}
        assert second["data"] == [1.0, 2.0]

    @in_loop
    async def test_several_binary_inputs_lie_one_after_the_other(self):
        plane = FakePlane()
        inputs = [binary_tensor(8, "IN0"), tensor("IN1"), binary_tensor(8, "IN2")]
        await Asker(plane).infer({"inputs": inputs}, FOUR.tobytes())
        arrays = [t.values().tolist() for t in plane.requests[0].inputs]
        assert arrays == [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]

    @in_loop
    async def test_shared_memory_in_and_out(self):
        plane = FakePlane()
        where = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
        request = {
            "inputs": [
                {"name": "IN", "datatype": "FP32", "shape": [2], "parameters": {**where, "shared_memory_offset": 4}}
            ],
            "outputs": [{"name": "OUT", "parameters": where}],
        }
        answer = await Asker(plane).infer(request)
        assert plane.requests[0].inputs == (Tensor("IN", "FP32", (2,), None, Region("r", 4, 8)),)
        assert plane.requests[0].outputs[0].region == Region("r", 0, 8)
        assert document_of(answer)["outputs"] == [{"name": "OUT", "datatype": "FP32", "shape": [2]}]

    @in_loop
    async def test_what_a_request_says_reaches_the_plane(self):
        plane = FakePlane()
        parameters = {"priority": 2, "timeout": 1500, "sequence_id": 0, "threshold": 0.5, "mode": "fast"}
        wanted = [{"name": "OUT", "parameters": {"classification": 3}}]
        asker = Asker(plane)
        body = orjson.dumps({"inputs": [tensor()], "outputs": wanted, "parameters": parameters})
        await asker.ask("POST", "/v2/models/m%2Fx/versions/4/infer?a=b", body, {"traceparent": "00-aa-bb-01"})
        request = plane.requests[0]
        assert (request.model, request.version, request.traceparent) == ("m/x", "4", "00-aa-bb-01")
        assert (request.priority, request.timeout_us) == (2, 1500)
        assert request.parameters == {"threshold": 0.5, "mode": "fast"}
        assert request.outputs[0].classification == 3

    @in_loop
    async def test_the_same_head_and_header_read_once_give_each_body_its_own_arrays(self):
        plane = FakePlane()
        asker = Asker(plane)
        header = orjson.dumps({"inputs": [binary_tensor(8)]})
        call = asker.core.prepare("POST", "/v2/models/m/infer", {"inference-header-content-length": str(len(header))})
        for value in (1, 2):
            asker.core.start(call, header + np.full(2, value, np.float32).tobytes(), lambda _: None)
        assert [r.inputs[0].values().tolist() for r in plane.requests] == [[1.0, 1.0], [2.0, 2.0]]
        assert plane.requests[0].timing is not plane.requests[1].timing

    @in_loop
    async def test_a_plan_with_json_values_is_not_kept(self):
        plane = FakePlane()
        asker = Asker(plane)
        call = asker.core.prepare("POST", "/v2/models/m/infer", {})
        body = orjson.dumps({"inputs": [tensor()]})
        for _ in range(2):
            asker.core.start(call, body, lambda _: None)
        first, second = (r.inputs[0].values() for r in plane.requests)
        assert not np.shares_memory(first, second)

    @in_loop
    async def test_model_parameters_are_answered(self):
        plane = FakePlane(response=lambda r: InferResponse(r.model, "1", "", (), {"note": "x"}))
        assert document_of(await Asker(plane).infer({"inputs": [tensor()]}))["parameters"] == {"note": "x"}

    @in_loop
    async def test_nan_cannot_go_as_json(self):
        answer = await Asker(FakePlane()).infer({"inputs": [binary_tensor(4)]}, np.float32("nan").tobytes())
        assert answer.status == 400
        assert error_of(answer) == "output 'OUT': holds NaN or infinity, which JSON cannot carry; ask for binary_data"


def _request(**changes):
    return {"inputs": [tensor()], **changes}


def _input(**changes):
    return _request(inputs=[{**tensor(), **changes}])


WRONG = [
    ([], "the inference request is to be a JSON object"),
    ({}, "the inference request has no 'inputs'"),
    (_request(inputs={}), "'inputs' is to be a list"),
    (_request(inputs=[3]), "inputs[0] is to be a JSON object"),
    (_request(inputs=[{}]), "inputs[0] has no 'name'"),
    (_request(inputs=[tensor(), tensor()]), "input 'IN' appears twice"),
    (_request(outputs=[{"name": "A"}, {"name": "A"}]), "output 'A' appears twice"),
    (_request(id=7), "'id' is to be a string"),
    (_input(datatype=1), "input 'IN' has no 'datatype'"),
    (_input(datatype="FLOAT"), "tensor 'IN': datatype 'FLOAT' is unknown; expected BOOL"),
    (_input(shape=[1.5]), "input 'IN': 'shape' is to be a list of whole numbers"),
    (_input(shape=[True]), "input 'IN': 'shape' is to be a list of whole numbers"),
    (_input(shape=[-2]), "tensor 'IN': shape [-2] has a size below 0"),
    (_input(shape=[2**62, 4]), "is too large; expected up to 64 dimensions"),
    (_input(shape=[3]), "tensor 'IN': 2 elements, expected 3 for shape [3]"),
    (_input(data=["a", "b"]), "tensor 'IN': an element is 'a', expected numbers for FP32"),
    (_input(parameters={"binary_data_size": 8}), "one of 'data', binary_data_size and shared_memory_region"),
    (_input(parameters={"shared_memory_offset": 8}), "'shared_memory_offset' without 'shared_memory_region'"),
    (_input(parameters=[]), "'parameters' of input 'IN' is to be a JSON object"),
    (_request(parameters={"priority": -1}), "'priority' is to be a whole number, 0 or above"),
    (_request(parameters={"timeout": "1"}), "'timeout' is to be a whole number, 0 or above"),
    (_request(parameters={"binary_data_output": 1}), "'binary_data_output' is to be true or false"),
    (_request(parameters={"triton_x": 1}), "parameter 'triton_x' is reserved and cannot be given"),
    (_request(parameters={"headers": "x"}), "parameter 'headers' is reserved and cannot be given"),
    (_request(parameters={"x": [1]}), "parameter 'x' is to be a string, a number, true or false"),
    (_request(outputs=[{"name": "A", "parameters": {"classification": -1}}]), "'classification' is to be a whole"),
    (
        _request(outputs=[{"name": "A", "parameters": {"shared_memory_region": "r"}}]),
        "output 'A' has 'shared_memory_region' without 'shared_memory_byte_size'",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(("document", "message"), WRONG, ids=[m[:50] for _, m in WRONG])
    @in_loop
    async def test_wrong_documents(self, document, message):
        answer = await Asker(FakePlane()).infer(document)
        assert answer.status == 400
        assert message in error_of(answer)

    @in_loop
    async def test_sequences_are_not_offered(self):
        answer = await Asker(FakePlane()).infer(_request(parameters={"sequence_id": 5}))
        assert (answer.status, error_of(answer)) == (501, "parameter 'sequence_id': sequences are not offered")

    @in_loop
    async def test_too_many_tensors(self):
        answer = await Asker(FakePlane(), tensors=2).infer(_request(inputs=[tensor(f"IN{i}") for i in range(3)]))
        assert error_of(answer) == "3 inputs, but a request may have 2"

    @in_loop
    async def test_json_too_deep(self):
        answer = await Asker(FakePlane(), json_depth=8).ask("POST", "/v2/models/m/infer", b"[" * 9 + b"]" * 9)
        assert error_of(answer) == "the JSON is nested more than 8 deep"
        answer = await Asker(FakePlane()).ask("POST", "/v2/models/m/infer", b"[" * 90000)
        assert answer.status == 400

    @pytest.mark.parametrize("length", ["-1", "x", "1_0", "٣", "", "99999999999999999999999"])
    @in_loop
    async def test_header_length_is_no_number(self, length):
        headers = {"inference-header-content-length": length}
        answer = await Asker(FakePlane()).ask("POST", "/v2/models/m/infer", b"{}", headers)
        assert "expected a whole number" in error_of(answer)

    @in_loop
    async def test_header_length_beyond_the_body(self):
        headers = {"inference-header-content-length": "3"}
        answer = await Asker(FakePlane()).ask("POST", "/v2/models/m/infer", b"{}", headers)
        assert error_of(answer) == "inference-header-content-length is 3, but the body has 2 bytes"

    @pytest.mark.parametrize("size", [0, 15, 17])
    @in_loop
    async def test_binary_data_of_another_size(self, size):
        header = orjson.dumps({"inputs": [binary_tensor(16)]})
        headers = {"inference-header-content-length": str(len(header))}
        answer = await Asker(FakePlane()).ask("POST", "/v2/models/m/infer", header + bytes(size), headers)
        assert error_of(answer).startswith(f"{size} bytes of binary data follow the JSON header, expected the 16")

    @pytest.mark.parametrize(
        ("reason", "status"), [(r, s) for r, s in STATUSES.items()], ids=[r.value for r in STATUSES]
    )
    @in_loop
    async def test_statuses_of_what_the_plane_says(self, reason, status):
        answer = await Asker(FakePlane(error=ServingError(reason, "so it is", 1.2))).infer(_request())
        assert (answer.status, error_of(answer)) == (status, "so it is")
        headers = dict(answer.headers)
        if reason is Reason.UNAUTHENTICATED:
            assert b"Bearer" in headers[b"www-authenticate"]
        else:
            assert headers[b"retry-after"] == b"2"

    @in_loop
    async def test_too_many_requests_under_way(self):
        plane = FakePlane(holds=True)
        asker = Asker(plane, requests=1)
        first = asyncio.ensure_future(asker.infer(_request()))
        await plane.arrived.get()
        second = await asker.infer(_request())
        assert (second.status, dict(second.headers)[b"retry-after"]) == (503, b"1")
        assert error_of(second) == "1 requests are under way, as many as may be"
        plane.waiting[0]()
        assert (await first).status == 200
        assert asker.core.under_way == 0


class TestCompression:
    @pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    @in_loop
    async def test_both_ways(self, encoding, pack):
        plane = FakePlane()
        header = orjson.dumps({"inputs": [binary_tensor(4096)], "parameters": {"binary_data_output": True}})
        headers = {
            "content-encoding": encoding,
            "accept-encoding": encoding,
            "inference-header-content-length": str(len(header)),
        }
        answer = await Asker(plane).ask("POST", "/v2/models/m/infer", pack(header + bytes(4096)), headers)
        found = dict(answer.headers)
        plain = zlib.decompress(body_of(answer), 47)
        assert found[b"content-encoding"] == encoding.encode()
        assert plain[int(found[b"inference-header-content-length"]) :] == bytes(4096)

    @in_loop
    async def test_bombs_are_refused_at_the_limit(self):
        headers = {"content-encoding": "gzip"}
        asker = Asker(FakePlane(), body_bytes=1000)
        answer = await asker.ask("POST", "/v2/models/m/infer", gzip.compress(bytes(10**7)), headers)
        assert (answer.status, error_of(answer)) == (413, "the body is more than 1000 bytes once decompressed")

    @in_loop
    async def test_what_bombs_hold_counts(self):
        asker = Asker(FakePlane(), request_bytes=1000)
        answer = await asker.ask(
            "POST", "/v2/models/m/infer", gzip.compress(bytes(10**5)), {"content-encoding": "gzip"}
        )
        assert answer.status == 503

    @pytest.mark.parametrize(
        ("body", "encoding", "status", "message"),
        [
            (b"x", "br", 501, "content-encoding 'br' is not offered; use gzip or deflate, or none"),
            (b"plain", "gzip", 400, "the body is no gzip"),
            (gzip.compress(b"{}")[:-4], "gzip", 400, "the body is no gzip: it is cut short"),
            (gzip.compress(b"{}") + b"!", "gzip", 400, "the body is no gzip: it has bytes after its end"),
        ],
    )
    @in_loop
    async def test_broken(self, body, encoding, status, message):
        answer = await Asker(FakePlane()).ask("POST", "/v2/models/m/infer", body, {"content-encoding": encoding})
        assert answer.status == status
        assert error_of(answer).startswith(message)

    @pytest.mark.parametrize("accept", ["gzip;q=0", "br", "identity", "gzip; q=0.0"])
    @in_loop
    async def test_not_when_unwanted(self, accept):
        answer = await Asker(FakePlane()).infer({"inputs": [tensor(values=[0.0] * 2000)]}, accept_encoding=accept)
        assert b"content-encoding" not in dict(answer.headers)

    @in_loop
    async def test_not_when_small(self):
        answer = await Asker(FakePlane()).infer(_request(), accept_encoding="gzip")
        assert b"content-encoding" not in dict(answer.headers)


class TestRaw:
    @in_loop
    async def _ask(self, plane, body):
        headers = {"inference-header-content-length": "0"}
        return await Asker(plane).ask("POST", "/v2/models/identity/infer", body, headers)

    def test_one_input_with_a_size_to_be_found(self):
        plane = FakePlane(answers={"model_config": CONFIG})
        answer = self._ask(plane, FOUR.tobytes())
        assert plane.requests[0].inputs[0].shape == (1, 4)
        assert document_of(answer)["outputs"][0]["parameters"] == {"binary_data_size": 16}

    def test_bytes_input_takes_the_body_as_its_element(self):
        config = {**CONFIG, "input": [{"name": "IN", "data_type": "TYPE_STRING", "dims": [1]}]}
        plane = FakePlane(answers={"model_config": config})
        assert body_of(self._ask(plane, b"picture")).endswith(b"\x07\x00\x00\x00picture")
        assert plane.requests[0].inputs[0].values().tolist() == [[b"picture"]]

    @pytest.mark.parametrize(
        ("dims", "message"),
        [
            ([-1, -1], "input 'IN': [1, -1, -1] has several sizes to be found"),
            ([3], "input 'IN': the body holds 4 elements, which do not fill shape [1, 3]"),
            ([3, -1], "input 'IN': the body holds 4 elements, which do not fill shape [1, 3, -1]"),
        ],
    )
    def test_shapes_that_do_not_fit(self, dims, message):
        config = {**CONFIG, "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": dims}]}
        answer = self._ask(FakePlane(answers={"model_config": config}), FOUR.tobytes())
        assert answer.status == 400
        assert message in error_of(answer)

    def test_several_inputs(self):
        config = {**CONFIG, "input": CONFIG["input"] * 2}
        answer = self._ask(FakePlane(answers={"model_config": config}), b"")
        assert "model 'identity' has 2 inputs" in error_of(answer)

    def test_unknown_model(self):
        answer = self._ask(FakePlane(answers={"model_config": not_found("no such model")}), b"")
        assert (answer.status, error_of(answer)) == (404, "no such model")

    def test_cancelled_on_the_way(self):
        async def run():
            plane = FakePlane(holds=True, answers={"model_config": CONFIG})
            answered = asyncio.get_running_loop().create_future()
            headers = {"inference-header-content-length": "0"}
            core = Asker(plane).core
            ticket = core.handle("POST", "/v2/models/m/infer", headers, FOUR.tobytes(), answered.set_result)
            await plane.arrived.get()
            ticket.cancel()
            assert (await answered).status == 499
            assert plane.tickets[0].cancelled.is_set()
            assert core.under_way == 0

        asyncio.run(run())


OPERATION_CASES = [
    ("GET", "/v2/health/live", b"", "server_live", {}, {"live": True}, 200, b""),
    ("GET", "/v2/health/ready", b"", "server_ready", {}, {"ready": False}, 400, b'{"error":"not ready"}'),
    ("GET", "/v2/models/m/ready", b"", "model_ready", {"name": "m"}, {"ready": True}, 200, b""),
    ("GET", "/v2/models/m/ready", b"", "model_ready", {"name": "m"}, not_found("m"), 400, b'{"error":"not ready"}'),
    ("GET", "/v2", b"", "server_metadata", {}, {"name": "fusee"}, 200, b'{"name":"fusee"}'),
    ("GET", "/v2/models/m/versions/3", b"", "model_metadata", {"name": "m", "version": "3"}, {}, 200, b"{}"),
    ("GET", "/v2/models/stats", b"", "model_statistics", {}, {"model_stats": []}, 200, b'{"model_stats":[]}'),
    ("GET", "/v2/models/stats/config", b"", "model_config", {"name": "stats"}, {}, 200, b"{}"),
    ("GET", "/v2/models/m/config", b"", "model_config", {"name": "m"}, not_found("no m"), 404, b'{"error":"no m"}'),
    (
        "POST",
        "/v2/repository/index",
        b'{"ready":true}',
        "repository_index",
        {"ready": True},
        {"models": []},
        200,
        b"[]",
    ),
    (
        "POST",
        "/v2/repository/models/m/load",
        b'{"parameters":{"config":"{}"}}',
        "repository_model_load",
        {"model_name": "m", "parameters": {"config": "{}"}},
        {},
        200,
        b"",
    ),
    (
        "POST",
        "/v2/systemsharedmemory/region/r/register",
        b'{"key":"/k","byte_size":8.0,"name":"other"}',
        "system_shared_memory_register",
        {"name": "r", "key": "/k", "byte_size": 8, "offset": 0},
        {},
        200,
        b"",
    ),
    (
        "GET",
        "/v2/systemsharedmemory/status",
        b"",
        "system_shared_memory_status",
        {},
        {"regions": {"r": {"name": "r"}}},
        200,
        b'[{"name":"r"}]',
    ),
    (
        "POST",
        "/v2/cudasharedmemory/region/r/register",
        b'{"raw_handle":{"b64":"QQ=="},"device_id":0,"byte_size":8}',
        "cuda_shared_memory_register",
        {"name": "r", "raw_handle": "QQ==", "device_id": 0, "byte_size": 8},
        {},
        200,
        b"",
    ),
    ("GET", "/v2/logging", b"", "log_settings", {}, {"log_info": True}, 200, b'{"log_info":true}'),
    (
        "POST",
        "/v2/models/m/trace/setting",
        b'{"trace_rate":null}',
        "trace_setting",
        {"model_name": "m", "settings": {"trace_rate": None}},
        {"trace_rate": "1"},
        200,
        b'{"trace_rate":"1"}',
    ),
]


class TestOperations:
    @pytest.mark.parametrize(
        ("method", "path", "body", "operation", "arguments", "answer", "status", "content"),
        OPERATION_CASES,
        ids=[f"{c[0]} {c[1]} {c[6]}" for c in OPERATION_CASES],
    )
    @in_loop
    async def test_spelling(self, method, path, body, operation, arguments, answer, status, content):
        plane = FakePlane(answers={operation: answer})
        response = await Asker(plane).ask(method, path, body)
        assert plane.calls == [(operation, arguments)]
        assert (response.status, body_of(response)) == (status, content)

    @in_loop
    async def test_every_route_is_found(self):
        for operation in OPERATIONS:
            for method, path in operation.routes:
                call = Asker(FakePlane()).core.prepare(method, path, {})
                assert call.endpoint.operation == operation.name
                assert call.arguments == {f[1:-1]: f for f in path.split("/") if f.startswith("{")}

    @pytest.mark.parametrize(
        ("path", "body", "message"),
        [
            ("repository/index", b'{"ready":1}', "the body: 'ready' is to be true or false"),
            ("repository/models/m/load", b'{"parameters":[]}', "'parameters' of the body is to be a JSON object"),
            ("repository/models/m/unload", b'{"parameters":{"":{}}}', "parameter '' is to be a string, a number"),
            ("systemsharedmemory/region/r/register", b"", "the body has no 'key'"),
            ("systemsharedmemory/region/r/register", b'{"key":1,"byte_size":8}', "the body: 'key' is to be a string"),
            ("systemsharedmemory/region/r/register", b'{"key":"k","byte_size":-1}', "'byte_size' is to be a whole"),
            ("cudasharedmemory/region/r/register", b'{"device_id":0,"byte_size":8}', "the body has no 'raw_handle'"),
            (
                "cudasharedmemory/region/r/register",
                b'{"raw_handle":"x","device_id":0,"byte_size":8}',
                """'raw_handle' is to be {"b64": "..."}, the handle in base64""",
            ),
        ],
    )
    @in_loop
    async def test_bodies_that_are_wrong(self, path, body, message):
        plane = FakePlane()
        answer = await Asker(plane).ask("POST", f"/v2/{path}", body)
        assert answer.status == 400
        assert message in error_of(answer)
        assert plane.calls == []

    @pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff"])
    @in_loop
    async def test_bodies_that_are_no_object(self, body):
        answer = await Asker(FakePlane()).ask("POST", "/v2/repository/index", body)
        assert answer.status == 400
        assert error_of(answer).startswith("the body is")

    @in_loop
    async def test_a_bug_is_500_and_logged(self, caplog):
        plane = FakePlane(answers={"server_metadata": ZeroDivisionError("secret")})
        answer = await Asker(plane).ask("GET", "/v2")
        assert (answer.status, error_of(answer)) == (500, "the server failed; its log says more")
        assert "secret" in caplog.text

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "",
            "*",
            "/v2/",
            "/v2/models",
            "/v2/models//config",
            "/v2/models/m/infer/x",
            "/v2/../v2",
            "/v2/%00",
            "/%2fv2",
        ],
    )
    @in_loop
    async def test_unknown_paths(self, path):
        answer = await Asker(FakePlane()).ask("GET", path)
        assert answer.status == 404
        assert "is not a path of this server" in error_of(answer)

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("POST", "/v2", b"GET, HEAD"),
            ("GET", "/v2/models/m/infer", b"POST"),
            ("PUT", "/v2/logging", b"GET, POST, HEAD"),
        ],
    )
    @in_loop
    async def test_other_methods(self, method, path, allow):
        answer = await Asker(FakePlane()).ask(method, path)
        assert (answer.status, dict(answer.headers)[b"allow"]) == (405, allow)

    @in_loop
    async def test_pages(self):
        async def render():
            return Content("text/plain", b"up 1")

        asker = Asker(FakePlane(), pages=(Page("/metrics", Scope.READ, render),))
        answer = await asker.ask("GET", "/metrics")
        assert (answer.headers, body_of(answer)) == (((b"content-type", b"text/plain"),), b"up 1")


class TestAccess:
    def _asker(self, plane, **key):
        made = Key("k", hashlib.sha256(b"secret").digest(), frozenset({Scope.INFER}), **key)
        return Asker(plane, Access((made,)))

    @in_loop
    async def test_without_a_key(self):
        answer = await self._asker(FakePlane()).infer(_request())
        assert answer.status == 401
        assert b"Bearer" in dict(answer.headers)[b"www-authenticate"]

    @in_loop
    async def test_probes_need_none(self):
        plane = FakePlane(answers={"server_live": {"live": True}})
        assert (await self._asker(plane).ask("GET", "/v2/health/live")).status == 200

    @in_loop
    async def test_with_one(self):
        asker = self._asker(FakePlane())
        assert (await asker.infer(_request(), x_api_key="secret")).status == 200
        answer = await asker.ask("GET", "/v2", headers={"x-api-key": "secret"})
        assert (answer.status, error_of(answer)) == (403, "key 'k' has not the scope 'read' that this needs")

    @in_loop
    async def test_what_is_begun_is_ended(self):
        asker = self._asker(FakePlane(), concurrent_requests=1)
        for document in (_request(), {}, _request()):
            await asker.infer(document, x_api_key="secret")
        assert (await asker.infer(_request(), x_api_key="secret")).status == 200


@in_loop
async def test_the_openapi_document_has_every_route():
    answer = await Asker(FakePlane()).ask("GET", "/openapi.json")
    document = document_of(answer)
    for operation in (INFER, *OPERATIONS):
        for method, path in operation.routes:
            assert method.lower() in document["paths"][path], (method, path)
    names = [e["operationId"] for p in document["paths"].values() for e in p.values()]
    assert len(set(names)) == len(names)
