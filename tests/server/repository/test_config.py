"""config.pbtxt: read, refused with a place, completed from an engine, printed as Triton prints it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.serving.triton_peer import running, triton_home
from hypothesis import given
from hypothesis import strategies as st

from fusee.base.types import TensorType
from fusee.engine.plan import PlanInput, PlanOutput
from fusee.server.errors import Reason, ServingError
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.completion import batch_obstacle, complete_defaults, complete_engine
from fusee.server.repository.config import config_json, parse_config, parse_config_json, read_config
from fusee.server.repository.offered import backend_of, check_batching, check_offered
from fusee.server.repository.versions import choose

WHERE = "m/config.pbtxt"


def tensors(kind: type, **types: str) -> tuple:
    return tuple(kind(name, TensorType.parse(text)) for name, text in types.items())


def completed(text: str, inputs: dict[str, str], outputs: dict[str, str]) -> ModelConfig:
    config = parse_config(text, WHERE)
    complete_engine(config, tensors(PlanInput, **inputs), tensors(PlanOutput, **outputs), 16, WHERE)
    complete_defaults(config, "m", "model.fusee", WHERE)
    check_batching(config, WHERE)
    return config


IN, OUT = {"x": "f32[N,3,8]"}, {"y": "f32[N,10]"}


def test_an_engine_that_batches_needs_no_configuration():
    found = config_json(completed("", IN, OUT))
    assert found["name"] == "m"
    assert found["platform"] == found["backend"] == "fusee"
    assert found["max_batch_size"] == 16
    assert found["input"][0] == {
        "name": "x",
        "data_type": "TYPE_FP32",
        "format": "FORMAT_NONE",
        "dims": [3, 8],
        "is_shape_tensor": False,
        "allow_ragged_batch": False,
        "optional": False,
        "is_non_linear_format_io": False,
    }
    assert found["output"][0]["dims"] == [10]
    assert found["dynamic_batching"]["preferred_batch_size"] == [16]
    assert found["version_policy"] == {"latest": {"num_versions": 1}}
    assert found["instance_group"][0] | {"name": "m", "kind": "KIND_CPU", "count": 1} == found["instance_group"][0]
    assert found["default_model_filename"] == "model.fusee"


@pytest.mark.parametrize(
    ("inputs", "outputs", "obstacle"),
    [
        ({"x": "f32[1,3]"}, {"y": "f32[1,3]"}, "x is f32[1,3], whose first dimension is not free"),
        ({"x": "f32[N,3]"}, {"y": "f32[]"}, "y is f32[], which has no dimension"),
        ({"x": "f32[N,3]"}, {"y": "f32[2*N,3]"}, "y is f32[2*N,3], whose first dimension is not free"),
        ({"x": "f32[N,3]", "z": "f32[M,3]"}, {"y": "f32[N]"}, "the first dimension of z is M, that of others N"),
        ({"x": "f32[N,3]"}, {"y": "f32[N,N]"}, "y is f32[N,N], which has N beyond its first dimension"),
        ({"x": "f32[N,3]"}, {"y": "f32[k__n,3]"}, "y is f32[k__n,3], whose first dimension is not free"),
    ],
)
def test_an_engine_that_cannot_batch(inputs: dict[str, str], outputs: dict[str, str], obstacle: str):
    assert batch_obstacle(tensors(PlanInput, **inputs), tensors(PlanOutput, **outputs)) == obstacle
    config = completed("", inputs, outputs)
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert len(config.input[0].dims) == 2
    with pytest.raises(ServingError) as caught:
        completed("max_batch_size: 8", inputs, outputs)
    assert caught.value.message == f"{WHERE}: max_batch_size is 8, but the engine cannot batch: {obstacle}"


def test_dimensions_spelt_out_turn_batching_off():
    config = completed('input { name: "x" dims: [-1, 3, 8] }', IN, OUT)
    assert config.max_batch_size == 0
    assert list(config.output[0].dims) == [-1, 10]


def test_a_size_that_the_engine_leaves_open_may_be_fixed():
    config = completed('input { name: "x" dims: [3, 224] }', {"x": "f32[N,3,W]"}, OUT)
    assert list(config.input[0].dims) == [3, 224]
    assert list(completed("", {"x": "f32[N,3,W]"}, OUT).input[0].dims) == [3, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('input { name: "q" }', "input 'q' is configured; the engine's inputs are 'x'"),
        ('output { name: "q" }', "output 'q' is configured; the engine's outputs are 'y'"),
        (
            'input { name: "x" data_type: TYPE_INT32 }',
            "input 'x' is TYPE_INT32 in the configuration and TYPE_FP32 in the engine",
        ),
        (
            'max_batch_size: 4 input { name: "x" dims: [3, 9] }',
            "input 'x' has dims [3, 9] in the configuration, but is f32[N,3,8] in the engine; dims are given after the "
            "first dimension, which max_batch_size stands for",
        ),
        (
            'max_batch_size: 4 input { name: "x" dims: [-1, 8] }',
            "input 'x' has dims [-1, 8] in the configuration, but is f32[N,3,8] in the engine",
        ),
        ('input { name: "x" optional: true }', "input 'x' is optional in the configuration, but the engine needs"),
        ('name: "n"', "name is 'n', but the model lies in 'm'; both must be the same"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }", "preferred_batch_size 8 is not within"),
        ("dynamic_batching { default_priority_level: 1 }", "there are priorities, but priority_levels is 0"),
        ("dynamic_batching { priority_levels: 2 }", "default_priority_level is 0, expected 1 to 2"),
        (
            "dynamic_batching { priority_levels: 1 default_priority_level: 1 "
            "priority_queue_policy { key: 3 value { } } }",
            "priority_queue_policy for 3; the priorities are 1 to 1",
        ),
    ],
)
def test_a_configuration_that_contradicts_is_refused_with_both_sides(text: str, message: str):
    with pytest.raises(ServingError) as caught:
        completed(text, IN, OUT)
    assert caught.value.message.startswith(f"{WHERE}: {message}")


def test_an_element_type_without_a_name_in_the_protocol_is_refused():
    with pytest.raises(ServingError, match=r"m/config\.pbtxt: input 'x': element type f8e5m2 has no name"):
        completed("", {"x": "f8e5m2[N,3]"}, OUT)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("sequence_batching { }", "sequence_batching"),
        ('batch_input { target_name: "x" }', "batch_input"),
        ('model_operations { op_library_filename: "x.so" }', "model_operations"),
        ('model_repository_agents { agents { name: "x" } }', "model_repository_agents"),
        ("response_cache { enable: true }", "response_cache"),
        ("model_metrics { metric_control { } }", "model_metrics"),
        ('cc_model_filenames { key: "8.0" value: "x" }', "cc_model_filenames"),
        ('runtime: "x"', "runtime"),
        ('parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "x" } }', "TRITON_BATCH_STRATEGY_PATH"),
        ("optimization { cuda { graphs: true } }", "optimization.cuda"),
        ("optimization { graph { level: 1 } }", "optimization.graph"),
        ("optimization { priority: PRIORITY_MAX }", "optimization.priority"),
        ("optimization { eager_batching: true }", "eager_batching"),
        ("instance_group { kind: KIND_GPU }", "instance_group of KIND_GPU"),
        ("instance_group { gpus: 0 }", "instance_group.gpus"),
        ("instance_group { rate_limiter { priority: 1 } }", "rate_limiter"),
        ("instance_group { passive: true }", "passive"),
        ('input { name: "x" reshape { shape: [1] } }', "x: reshape"),
        ('input { name: "x" allow_ragged_batch: true }', "x: allow_ragged_batch"),
        ('input { name: "x" is_shape_tensor: true }', "x: is_shape_tensor"),
        ('ensemble_scheduling { step { model_name: "a" model_namespace: "b" } }', "step a: model_namespace"),
    ],
)
def test_what_is_not_offered_is_refused_with_a_reason(text: str, option: str):
    with pytest.raises(ServingError, match=rf"{WHERE}: .*{option}.* is not offered: \w") as caught:
        check_offered(parse_config(text, WHERE), WHERE)
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: -1", "max_batch_size is -1, expected 0 to"),
        ("instance_group { count: -1 }", "instance_group count is -1"),
        ("input { dims: [1] }", "an input or output has no name"),
        ('input { name: "x" dims: [0] }', "x: a dimension is 0"),
        ('input { name: "x" } input { name: "x" }', "input 'x' is there twice"),
    ],
)
def test_what_is_wrong_in_itself_is_refused(text: str, message: str):
    with pytest.raises(ServingError, match=message):
        check_offered(parse_config(text, WHERE), WHERE)


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("", ""),
        ('platform: "onnxruntime_onnx"', "fusee"),
        ('backend: "onnxruntime"', "fusee"),
        ('backend: "python"', "python"),
        ('platform: "ensemble"', "ensemble"),
        ("ensemble_scheduling { }", "ensemble"),
    ],
)
def test_the_backend_of_a_configuration(text: str, backend: str):
    assert backend_of(parse_config(text, WHERE), WHERE) == backend


def test_another_servers_backend_is_refused():
    with pytest.raises(ServingError, match='platform: "tensorrt_plan" is not offered: the backends here are fusee'):
        backend_of(parse_config('platform: "tensorrt_plan"', WHERE), WHERE)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: 'm'\nzork: 3", ":2:1: "),
        ('max_batch_size: "x"', ":1:17: "),
        ("input {\n  name: 'x'\n  dims: [1, a]\n}", ":3:13: "),
        ("dynamic_batching { }\nsequence_batching { }", ":2:1: "),
    ],
)
def test_a_mistake_has_file_line_and_column(tmp_path: Path, text: str, place: str):
    (tmp_path / "config.pbtxt").write_text(text)
    with pytest.raises(ServingError) as caught:
        read_config(tmp_path / "config.pbtxt", WHERE)
    assert caught.value.message.startswith(WHERE + place)


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path):
    path = tmp_path / "config.pbtxt"
    with pytest.raises(ServingError, match="cannot be read: No such file"):
        read_config(path, WHERE)
    path.write_bytes(b"name: '\xff'")
    with pytest.raises(ServingError, match="is not UTF-8: byte 7"):
        read_config(path, WHERE)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ServingError, match="is larger than 1048576 bytes"):
        read_config(path, WHERE)


def refusal(read: Callable[[], object]) -> str:
    """The message of the ServingError that it raises; the file's name when it raises none."""
    try:
        read()
    except ServingError as err:
        return err.message
    return WHERE


words = st.sampled_from(
    [*"{}[]<>:,;\"'#-. \n", "input", "name", "dims", "x", "1", "1e400", "max_batch_size", "TYPE_FP32", "\\x", "inf"]
)


@given(st.one_of(st.text(), st.lists(words).map(" ".join)))
def test_any_text_is_a_configuration_or_a_clear_error(text: str):
    def read() -> None:
        config = parse_config(text, WHERE)
        check_offered(config, WHERE)
        backend_of(config, WHERE)
        choose(config, ["1", "2"], WHERE)
        json.dumps(config_json(config))

    assert refusal(read).startswith(WHERE)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "input", "dims", "maxBatchSize", "parameters", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=10,
)


@given(st.one_of(st.text(), json_values.map(json.dumps), st.integers(1, 100_000).map(lambda n: '{"input":' + "[" * n)))
def test_any_json_is_a_configuration_or_a_clear_error(text: str):
    assert refusal(lambda: parse_config_json(text, WHERE)).startswith(WHERE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (("3",), "3", "", 0, "")),
        ("version_policy { all { } }", (("1", "2", "3"), "3", "", 0, "")),
        ("canary 3 12.5", (("2", "3"), "2", "3", 1250, "")),
        ("shadow 3", (("2", "3"), "2", "", 0, "3")),
        ("canary 3 100 shadow 1", (("1", "2", "3"), "2", "3", 10_000, "1")),
        ("canary 1 0.01", (("1", "3"), "3", "1", 1, "")),
        ("canary 3 5 version_policy { specific { versions: [1, 3] } }", (("1", "3"), "1", "3", 500, "")),
    ],
)
def test_the_choice_of_versions(text: str, expected: tuple):
    found = choose(parse_config(routed(text), WHERE), ["1", "2", "3"], WHERE)
    assert (found.versions, found.stable, found.canary, found.canary_share, found.shadow) == expected


def routed(text: str) -> str:
    """``canary 3 5`` and ``shadow 3`` as parameters."""
    words = text.split()
    parameters = ""
    for role, names in (("canary", ["canary_version", "canary_percent"]), ("shadow", ["shadow_version"])):
        if role in words:
            at = words.index(role)
            values = words[at + 1 : at + 1 + len(names)]
            del words[at : at + 1 + len(names)]
            for name, value in zip(names, values, strict=True):
                parameters += f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }} '
    return parameters + " ".join(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("canary 7 5", "canary_version is '7'; the versions are 1, 2, 3"),
        ("canary 3 101", "canary_percent is '101', expected 0 to 100"),
        ("canary 3 -1", "canary_percent is '-1'"),
        ("canary 3 1.234", "canary_percent is '1.234'"),
        ("canary 3 5 shadow 3", "version 3 cannot be canary and shadow"),
        ("canary 3 5 version_policy { specific { versions: [3] } }", "no version is left to serve"),
        ("version_policy { specific { versions: [9] } }", "version_policy names version 9, which is not there"),
        ('parameters { key: "canary_version" value { string_value: "3" } }', "are to be given together"),
    ],
)
def test_a_choice_that_cannot_be_made_says_why(text: str, message: str):
    with pytest.raises(ServingError, match=message):
        choose(parse_config(routed(text), WHERE), ["1", "2", "3"], WHERE)


TRITON_MODEL = """import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        return [backend.InferenceResponse([backend.Tensor("y", r.inputs()[0].as_numpy())]) for r in requests]
"""
COMPARED = {
    "plain": "max_batch_size: 8 dynamic_batching { }",
    "bare": "",
    "full": """max_batch_size: 8
        instance_group [{ count: 2 kind: KIND_CPU }, { name: "b" kind: KIND_CPU }]
        dynamic_batching {
          preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100 priority_levels: 2 default_priority_level: 1
          priority_queue_policy { key: 2 value { max_queue_size: 4 } }
          default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 }
        }
        model_warmup { name: "w" batch_size: 1
          inputs { key: "x" value { data_type: TYPE_FP32 dims: [4] zero_data: true } } }
        parameters { key: "k" value { string_value: "v" } }
        metric_tags { key: "a" value: "b" }
        version_policy { specific { versions: [1] } }""",
}
TENSORS = 'input { name: "x" data_type: TYPE_FP32 dims: [4] } output { name: "y" data_type: TYPE_FP32 dims: [4] }'


@pytest.mark.triton
def test_defaults_are_those_of_the_real_triton(tmp_path: Path):
    home = triton_home()
    if home is None:
        pytest.skip("the real Triton is not installed")
    for name, text in COMPARED.items():
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(TRITON_MODEL)
        (tmp_path / name / "config.pbtxt").write_text(f'backend: "python" {text} {TENSORS}')
    with running(home, tmp_path) as addresses:
        for name, text in COMPARED.items():
            with urllib.request.urlopen(f"http://{addresses.http}/v2/models/{name}/config") as answer:
                theirs = json.load(answer)
            config = parse_config(f'backend: "python" {text} {TENSORS}', WHERE)
            complete_defaults(config, name, "model.py", WHERE)
            assert config_json(config) == theirs
