"""The server put together: both doors on real engines, start and stop, what it refuses to do."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client

from fusee.base.errors import DeviceError, RequestError
from fusee.client.address import Address
from fusee.client.process import server_process
from fusee.server.app import serving
from fusee.server.listening import Ports, check_exposure
from fusee.server.settings import Settings

DIGITS = Path(__file__).parents[2] / "models" / "digits"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "digits" / "1").mkdir(parents=True)
    (folder / "digits" / "1" / "model.onnx").write_bytes((DIGITS / "digits.onnx").read_bytes())
    return folder


@pytest.fixture(scope="module")
def settings(repository: Path) -> Settings:
    return Settings(repository=(repository,), http_port=0, grpc_port=0, metrics_port=0)


MODES = {"one process": {}, "isolated": {"is_isolated": True}, "front ends": {"frontends": 2}}


@pytest.fixture(scope="module", params=MODES)
def ports(request: pytest.FixtureRequest, settings: Settings):
    """A server in each way of spreading it over processes."""
    with serving(replace(settings, **MODES[request.param])) as found:
        yield found


def _images() -> tuple[np.ndarray, np.ndarray]:
    with np.load(DIGITS / "digits_test.npz") as held_out:
        return held_out["images"][:8], held_out["labels"][:8]


def test_http_and_grpc_give_the_same_answers(ports: Ports):
    images, labels = _images()
    answers = []
    for client, port in ((http_client, ports.http), (grpc_client, ports.grpc)):
        with client.InferenceServerClient(f"127.0.0.1:{port}") as server:
            tensor = client.InferInput("image", list(images.shape), "FP32")
            tensor.set_data_from_numpy(images)
            answers.append(server.infer("digits", [tensor]).as_numpy("logits"))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert (answers[0].argmax(1) == labels).mean() >= 0.75


def test_metrics_stand_on_their_own_port(ports: Ports):
    with urlopen(f"http://127.0.0.1:{ports.metrics}/metrics") as answer:
        text = answer.read().decode()
    assert re.search(r'^nv_inference_request_success\{model="digits",version="1"\} \d+', text, re.MULTILINE)
    body = b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [0]}]}'
    with pytest.raises(HTTPError, match="404"):
        urlopen(Request(f"http://127.0.0.1:{ports.metrics}/v2/models/digits/infer", body))


def test_a_taken_port_is_said(settings: Settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"
        with pytest.raises(DeviceError, match=said), serving(replace(settings, grpc_port=port)):
            pass


def test_a_repository_that_is_not_there(settings: Settings, tmp_path: Path):
    absent = replace(settings, repository=(tmp_path / "nowhere",))
    with pytest.raises(RequestError, match="nowhere: is no folder"), serving(absent):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_other_machines_need_keys(settings: Settings, host: str):
    exposed = replace(settings, host=host)
    with pytest.raises(
        RequestError, match=rf"--host {re.escape(host)} can be reached .*--keys-file.*--allow-anonymous"
    ):
        check_exposure(exposed)
    check_exposure(replace(exposed, allow_anonymous=True))
    check_exposure(replace(exposed, keys_file=Path("keys.json")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_none(settings: Settings, host: str):
    check_exposure(replace(settings, host=host))


def test_an_engine_process_that_dies_is_replaced(repository: Path):
    """Doors stay open; what is asked meanwhile is unavailable, with a time to come back, and nothing else."""
    images, _ = _images()
    with server_process(repository, ["--isolate"]) as server:
        before = _asked(server.http, images)
        (engine,) = psutil.Process(server.process.pid).children()
        engine.kill()
        engine.wait()
        refused = 0
        while isinstance(answer := _asked(server.http, images), HTTPError):
            assert answer.code == 503
            assert int(answer.headers["retry-after"]) >= 1
            refused += 1
        assert refused
        np.testing.assert_array_equal(answer, before)
        with urlopen(f"http://{server.metrics}/metrics") as page:
            assert 'fusee_process_restarts_total{process="engine"} 1' in page.read().decode()


def _asked(address: Address, images: np.ndarray) -> np.ndarray | HTTPError:
    tensor = {"name": "image", "shape": images.shape, "datatype": "FP32", "data": images.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    try:
        with urlopen(Request(f"http://{address}/v2/models/digits/infer", body)) as answer:
            return np.array(json.load(answer)["outputs"][0]["data"])
    except HTTPError as err:
        return err


def test_the_command_serves_and_stops_when_told(repository: Path):
    with server_process(repository) as server:
        with urlopen(f"http://{server.http}/v2/models/digits/ready") as answer:
            assert answer.status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


def test_a_new_key_is_printed_with_its_digest():
    import hashlib

    command = [sys.executable, "-m", "fusee", "serve", "--new-key", "camera"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["entry"]["name"] == "camera"
    assert found["entry"]["sha256"] == hashlib.sha256(found["key"].encode()).hexdigest()
