"""fusee bench --server and fusee serve --tune, against servers that run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from google.protobuf import text_format

from fusee.base.errors import RequestError
from fusee.client.tune import Tried, Tuning, Way, tune, way_config
from fusee.server.app import serving
from fusee.server.listening import Ports
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.settings import Settings

from .conftest import Fusee

DIGITS = Path(__file__).parents[2] / "models/digits/digits.onnx"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    shutil.copy(DIGITS, folder / "digits.onnx")
    return folder


@pytest.fixture(scope="module")
def ports(repository: Path) -> Generator[Ports]:
    with serving(Settings((repository,), http_port=0, grpc_port=None, metrics_port=None)) as found:
        yield found


def test_a_load_is_reported(cli: Fusee, ports: Ports):
    url = f"http://127.0.0.1:{ports.http}"
    ended = cli("bench", "digits", "--server", url, "--rate", 50, "--duration", 0.4, "--batch", 2, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    (load,) = found["loads"]
    assert load["failed"] == {}
    assert 0 < load["latency_ms"]["p50"] <= load["latency_ms"]["p99"] <= load["latency_ms"]["max"]
    assert found["server_mean_us"]["compute_infer"] > 0


def test_a_capacity_is_searched(cli: Fusee, ports: Ports):
    url = f"http://127.0.0.1:{ports.http}"
    ended = cli("bench", "digits", "--server", url, "--rate", 4, "--duration", 0.3, "--p99-ms", 0.001)
    assert ended.code == 0, ended.err
    assert "within p99 <= 0.001 ms: no rate that was tried" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "with 404: Request for unknown model: 'nothing' is not found"),
        (("digits", "--shapes", "picture:1x1"), "--shapes 'picture': model 'digits' has the inputs image"),
    ],
)
def test_what_cannot_be_measured(cli: Fusee, ports: Ports, words: tuple[str, ...], said: str):
    ended = cli("bench", *words, "--server", f"http://127.0.0.1:{ports.http}")
    assert ended.code == 2
    assert said in ended.err


def test_no_server(cli: Fusee):
    ended = cli("bench", "digits", "--server", "http://127.0.0.1:1")
    assert ended.code == 2
    assert "no server answers at 127.0.0.1:1" in ended.err


def _tuning(repository: Path, model: str = "digits") -> Tuning:
    return Tuning(repository, model, target_p99_s=0.5, duration_s=0.2, first_rate_per_s=20.0)


def test_a_way_is_written_over_the_configuration(tmp_path: Path):
    shutil.copytree(DIGITS.parent, tmp_path / "digits" / "1")
    (tmp_path / "digits" / "config.pbtxt").write_text(
        "max_batch_size: 2\ndynamic_batching { preferred_batch_size: 2 }\n"
        'parameters { key: "note" value { string_value: "kept" } }'
    )
    text = way_config(_tuning(tmp_path), Way(instances=2, threads=1, max_batch_size=8, delay_us=300))
    config = text_format.Parse(text, ModelConfig())
    assert config.max_batch_size == 8
    assert config.dynamic_batching.max_queue_delay_microseconds == 300
    assert not config.dynamic_batching.preferred_batch_size
    assert [g.count for g in config.instance_group] == [2]
    assert {k: v.string_value for k, v in config.parameters.items()} == {"note": "kept", "threads": "1"}


def test_a_model_that_is_not_there(repository: Path):
    with pytest.raises(RequestError, match="--tune: there is no model 'other' in"):
        way_config(_tuning(repository, "other"), Way(1, 1, 1, 0))


@pytest.mark.slow
def test_tuning_measures_ways_and_keeps_the_best(repository: Path):
    tried: list[Tried] = []
    best = tune(_tuning(repository), tried.append)
    assert best in tried
    assert best.rate_per_s == max(t.rate_per_s for t in tried) > 0
    assert {t.way.max_batch_size for t in tried} == {1, 4, 16}
