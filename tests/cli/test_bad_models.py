"""Models that are damaged, contradictory, unsafe or unsupported: one clear paragraph each, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cli.conftest import Fusee, linear, model

RELU = helper.make_node("Relu", ["x"], ["y"])
MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")
NEWEST = onnx.defs.onnx_opset_version()


def refused(cli: Fusee, path: str) -> str:
    """The message of a build that must be refused; nothing may be written."""
    ended = cli("build", path, "--quiet", "-o", "made.fusee")
    assert ended.code == 2
    assert ended.out == ""
    assert not Path("made.fusee").exists()
    return ended.err


def weights(*shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), "w")


def raw_weights(dims: list[int], data_type: int = TensorProto.FLOAT, data: bytes = b"") -> onnx.TensorProto:
    return TensorProto(name="w", dims=dims, data_type=data_type, raw_data=data)


def without_opset() -> onnx.ModelProto:
    found = model([RELU])
    del found.opset_import[:]
    return found


def with_input_twice() -> onnx.ModelProto:
    found = model([RELU])
    found.graph.input.append(found.graph.input[0])
    return found


def test_a_missing_file(cli: Fusee):
    assert refused(cli, "gone.onnx") == "fusee: gone.onnx: does not exist; expected an ONNX file\n"


def test_a_folder(cli: Fusee, tmp_path: Path):
    (tmp_path / "net.onnx").mkdir()
    assert refused(cli, "net.onnx") == "fusee: net.onnx: is a folder; expected an ONNX file\n"


BYTES = (
    ("text", b"this is no model\n", "not an ONNX model, or cut short: 17 bytes do not parse"),
    ("random", np.random.default_rng(0).bytes(999), "not an ONNX model, or cut short: 999 bytes do not parse"),
    ("empty", b"", "not an ONNX model: 0 bytes hold no graph; expected a ModelProto"),
    ("cut", linear().SerializeToString()[:100], "not an ONNX model, or cut short: 100 bytes do not parse"),
    (
        "pointer",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "not an ONNX model, or cut short: 56 bytes that stand for a file in Git LFS (fetch it with git lfs pull) "
        "do not parse",
    ),
)


@pytest.mark.parametrize(("data", "message"), [row[1:] for row in BYTES], ids=[row[0] for row in BYTES])
def test_what_is_not_onnx(cli: Fusee, tmp_path: Path, data: bytes, message: str):
    (tmp_path / "net.onnx").write_bytes(data)
    assert refused(cli, "net.onnx") == f"fusee: net.onnx: {message}\n"


def test_more_than_protobuf_holds(cli: Fusee, tmp_path: Path):
    with (tmp_path / "net.onnx").open("wb") as file:
        file.truncate(3 << 30)  # sparse: takes no room
    assert refused(cli, "net.onnx") == (
        "fusee: net.onnx: 3.00 GiB in one file, but protobuf messages end at 2 GiB; save the model with external data "
        "(onnx.save(..., save_as_external_data=True)) and build that\n"
    )


CONTRADICTIONS: tuple[tuple[str, Callable[[], onnx.ModelProto], str], ...] = (
    (
        "cycle",
        lambda: model([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]),
        "net: Add 'Add_0' needs 'b', which is only computed after it: the graph has a cycle, or is not sorted",
    ),
    (
        "dangling",
        lambda: model([helper.make_node("Relu", ["nowhere"], ["y"])]),
        "net: Relu 'Relu_0' needs 'nowhere', which is never computed",
    ),
    (
        "no output",
        lambda: model([helper.make_node("Relu", ["x"], ["z"])]),
        "net: output 'y' needs 'y', which is never computed",
    ),
    (
        "computed twice",
        lambda: model([RELU, helper.make_node("Abs", ["x"], ["y"])]),
        "Abs-17 'Abs_1': 'y' is computed twice; names must be unique",
    ),
    ("input twice", with_input_twice, "net: inputs x appear twice; names must be unique"),
    (
        "shapes",
        lambda: model([MATMUL], [weights(5, 3)]),
        "MatMul (from fc): f32[N,4] and f32[5,3] share an axis of 4 and 5; the two must be equal",
    ),
    (
        "axis",
        lambda: model([helper.make_node("Softmax", ["x"], ["y"], axis=7)]),
        "Softmax-17 'Softmax_0': axis 7 is not one of a tensor of rank 2",
    ),
    (
        "no operand",
        lambda: model([helper.make_node("Relu", [], ["y"])]),
        "Relu-17 'Relu_0': input 0 is missing; it has 0 inputs",
    ),
    (
        "attribute of another type",
        lambda: model([helper.make_node("Softmax", ["x"], ["y"], axis="last")]),
        "Softmax-17 'Softmax_0': the attribute 'axis' is of type STRING; expected INT",
    ),
    (
        "damaged weights",
        lambda: model([MATMUL], [raw_weights([4, 4], data=b"abc")]),
        "initializer 'w': damaged tensor of shape [4, 4]: buffer size must be a multiple of element size",
    ),
    (
        "negative size",
        lambda: model([MATMUL], [raw_weights([-4, 4])]),
        "initializer 'w': damaged tensor of shape [-4, 4]: sizes are never negative",
    ),
    (
        "NaN",
        lambda: model([MATMUL], [numpy_helper.from_array(np.full((4, 1), np.nan, np.float32), "w")]),
        "net: weights hold NaN: w. Every result would be NaN; the training run or the export went wrong, "
        "so export the model again",
    ),
    (
        "newer opset",
        lambda: model([RELU], opset=NEWEST + 1),
        f"net.onnx: opset {NEWEST + 1} of ai.onnx; expected 7 to {NEWEST}. Convert it with onnx.version_converter, "
        "or export it again with a supported opset",
    ),
    (
        "older opset",
        lambda: model([RELU], opset=6),
        f"net.onnx: opset 6 of ai.onnx; expected 7 to {NEWEST}. Convert it with onnx.version_converter, "
        "or export it again with a supported opset",
    ),
    ("no opset", without_opset, f"net.onnx: declares no opset; expected ai.onnx 7 to {NEWEST}. Export it again"),
)


@pytest.mark.parametrize(
    ("make", "message"), [row[1:] for row in CONTRADICTIONS], ids=[row[0] for row in CONTRADICTIONS]
)
def test_models_that_contradict_themselves(
    cli: Fusee, tmp_path: Path, make: Callable[[], onnx.ModelProto], message: str
):
    (tmp_path / "net.onnx").write_bytes(make().SerializeToString())
    assert refused(cli, "net.onnx") == f"fusee: {message}\n"


def test_everything_unsupported_is_listed_at_once(cli: Fusee, tmp_path: Path):
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="first"),
        helper.make_node("StringNormalizer", ["x"], ["b"], name="second"),
        helper.make_node("Bar", ["a"], ["y"], name="third", domain="my.own"),
    ]
    onnx.save(model(nodes, [raw_weights([2], TensorProto.COMPLEX64, bytes(16))]), tmp_path / "net.onnx")
    assert refused(cli, "net.onnx") == (
        "fusee: net: 4 thing(s) in the model are not supported:\n"
        "  - initializer 'w': element type COMPLEX64 is not supported\n"
        "  - Foo-17 'first': no lowering for it; add one in fusee/onnx and list it in LOWERINGS\n"
        "  - StringNormalizer-17 'second': strings are not supported; do text processing before the model\n"
        "  - my.own.Bar-1 'third': no lowering for it; add one in fusee/onnx and list it in LOWERINGS\n"
    )


def test_strings_and_sequences(cli: Fusee, tmp_path: Path):
    inputs = [
        helper.make_tensor_value_info("s", TensorProto.STRING, [2]),
        helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, [2]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
    ]
    onnx.save(model([RELU], inputs=inputs), tmp_path / "net.onnx")
    assert refused(cli, "net.onnx") == (
        "fusee: net: 2 thing(s) in the model are not supported:\n"
        "  - input 's': element type STRING is not supported\n"
        "  - input 'q': its type is sequence_type; only dense tensors are supported\n"
    )


def external(location: str, **facts: object) -> onnx.ModelProto:
    tensor = TensorProto(name="w", dims=[4, 4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **facts}.items():
        tensor.external_data.add(key=key, value=str(value))
    return model([MATMUL], [tensor])


OUTSIDE = "lies outside the model's folder; it must be inside"
EXTERNAL = (
    ("/etc/passwd", {}, f"'/etc/passwd' {OUTSIDE}"),
    ("../weights.bin", {}, f"'../weights.bin' {OUTSIDE}"),
    ("link.bin", {}, f"'link.bin' {OUTSIDE}"),
    ("", {}, f"'' {OUTSIDE}"),
    ("gone.bin", {}, "'gone.bin' does not exist beside the model"),
    ("short.bin", {}, "short.bin has 20 bytes, but the tensor needs 64 from offset 0"),
    ("inside.bin", {"offset": 4}, "inside.bin has 64 bytes, but the tensor needs 64 from offset 4"),
    ("inside.bin", {"offset": -4}, "at offset '-4'; expected a number of bytes"),
    ("inside.bin", {"offset": "near the end"}, "at offset 'near the end'; expected a number of bytes"),
)


@pytest.mark.parametrize(("location", "facts", "message"), EXTERNAL)
def test_external_data(cli: Fusee, tmp_path: Path, location: str, facts: dict[str, object], message: str):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, size in (("weights.bin", 64), ("model/short.bin", 20), ("model/inside.bin", 64)):
        (tmp_path / name).write_bytes(bytes(size))
    (folder / "link.bin").symlink_to("../weights.bin")
    (folder / "net.onnx").write_bytes(external(location, **facts).SerializeToString())
    assert refused(cli, "model/net.onnx") == f"fusee: initializer 'w': external data {message}\n"


def test_external_data_inside_the_folder_is_read(cli: Fusee, tmp_path: Path):
    np.eye(4, dtype=np.float32).tofile(tmp_path / "w.bin")
    (tmp_path / "net.onnx").write_bytes(external("w.bin", offset=0, length=64).SerializeToString())
    np.save("x.npy", np.ones((1, 4), np.float32))
    assert cli("build", "net.onnx", "-q").code == 0
    assert "[[1.0, 1.0, 1.0, 1.0]]" in cli("run", "net.fusee", "-i", "x.npy").out
