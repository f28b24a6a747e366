"""Requests and engine files that do not fit: the whole message, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Fusee


def refused(cli: Fusee, *words: object) -> str:
    ended = cli(*words)
    assert ended.code == 2
    return ended.err


ARRAYS = (
    (
        np.zeros((2, 4), np.float64),
        "input 'x' has element type float64, expected float32 (f32[N,4]); convert it with .astype('float32')",
    ),
    (np.zeros((2, 5), np.float32), "input 'x' is f32[2,5], expected f32[N,4]: dimension 1 is 5, expected 4"),
    (np.zeros(4, np.float32), "input 'x' is f32[4], expected f32[N,4]: it has 1 dimensions instead of 2"),
)


@pytest.mark.parametrize(("array", "message"), ARRAYS, ids=["dtype", "shape", "rank"])
def test_wrong_arrays(cli: Fusee, linear_engine: Path, array: np.ndarray, message: str):
    np.save("x.npy", array)
    assert refused(cli, "run", linear_engine, "-i", "x.npy") == f"fusee: {message}\n"


def test_no_input(cli: Fusee, linear_engine: Path):
    assert refused(cli, "run", linear_engine) == (
        "fusee: inputs without a value: x (f32[N,4]); give --input name=file.npy, a .npz or an image\n"
    )


def test_wrong_names(cli: Fusee, linear_engine: Path, x_npy: Path):
    assert refused(cli, "run", linear_engine, "-i", f"z={x_npy}") == (
        f"fusee: --input z={x_npy}: no input is called 'z'; the inputs are x\n"
    )
    np.savez("both.npz", x=np.load(x_npy), z=np.load(x_npy))
    assert refused(cli, "run", linear_engine, "-i", "both.npz") == (
        "fusee: unknown input 'z'; the engine's inputs are x: f32[N,4]; given: x, z\n"
    )


def test_files_that_are_not_there(cli: Fusee, linear_engine: Path):
    message = refused(cli, "run", linear_engine, "-i", "x=gone.npy")
    assert message == "fusee: --input x=gone.npy: gone.npy does not exist\n"
    assert refused(cli, "run", "gone.fusee", "-i", "x.npy") == "fusee: gone.fusee: No such file or directory\n"
    assert refused(cli, "run", "gone.onnx", "--json") == "fusee: gone.onnx: does not exist; expected an ONNX file\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.npy", "not an array that numpy can read; expected a .npy file of numbers"),
        ("x.npz", "not arrays that numpy can read; expected a .npz file of numbers"),
        ("x.png", "not an image that can be read; expected JPEG, PNG or the like"),
    ],
)
def test_inputs_that_are_something_else(cli: Fusee, linear_engine: Path, tmp_path: Path, name: str, message: str):
    (tmp_path / name).write_text("something else")
    shape_first = "an image cannot fill an input of shape 1x4; expected [1,3,H,W], [1,H,W,3] or one channel"
    wanted = shape_first if name.endswith("png") else f"x.{name[-3:]}: {message}"
    assert refused(cli, "run", linear_engine, "-i", name) == f"fusee: {wanted}\n"


def test_arrays_of_objects_are_not_unpickled(cli: Fusee, linear_engine: Path):
    np.save("x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert refused(cli, "run", linear_engine, "-i", "x.npy") == (
        "fusee: x.npy: not an array that numpy can read; expected a .npy file of numbers\n"
    )


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ("x", "--shapes 'x': expected name:1x3x224x224, or name:scalar"),
        ("x:2xN", "--shapes 'x:2xN': expected name:1x3x224x224, or name:scalar"),
        ("z:2x4", "shapes are given for z; the inputs are x"),
        ("x:2x4x1", "the shape given for x is 2x4x1; it is f32[N,4]"),
        ("x:2x5", "the shape given for x is 2x5; it is f32[N,4]"),
    ],
)
def test_shapes_that_do_not_fit(cli: Fusee, linear_engine: Path, linear_onnx: Path, shapes: str, message: str):
    assert refused(cli, "inspect", linear_engine, "--shapes", shapes) == f"fusee: {message}\n"
    assert refused(cli, "build", linear_onnx, "-q", "--shapes", shapes) == f"fusee: {message}\n"


def test_options_that_do_not_exist(cli: Fusee, linear_onnx: Path, linear_engine: Path):
    assert refused(cli, "build", linear_onnx, "--isa", "sse2") == "fusee: --isa 'sse2': expected one of native, avx2\n"
    assert refused(cli, "run", linear_engine, "--mean", "a,b") == (
        "fusee: 'a,b': expected numbers separated by commas, such as 0.485,0.456,0.406\n"
    )


def test_building_an_engine(cli: Fusee, linear_engine: Path):
    assert refused(cli, "build", linear_engine, "-q") == (
        "fusee: linear: an engine without its model; build from the ONNX file, "
        "or build the engine with --portable to take the model along\n"
    )


def test_a_folder_that_is_not_there(cli: Fusee, linear_onnx: Path):
    assert refused(cli, "build", linear_onnx, "-q", "-o", "gone/made.fusee") == (
        "fusee: gone/made.fusee: its folder does not exist\n"
    )


def damaged(engine: Path, folder: Path, how: str) -> Path:
    data = bytearray(engine.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "bit":
        data[200] ^= 1  # in the manifest
    elif how == "onnx":
        data = bytearray(b"\x08\x08" * 100)
    path = folder / f"{how}.fusee"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("command", ["run", "inspect", "profile"])
@pytest.mark.parametrize("how", ["cut", "bit", "onnx"])
def test_damaged_engines(cli: Fusee, linear_engine: Path, tmp_path: Path, how: str, command: str):
    path = damaged(linear_engine, tmp_path, how)
    message = refused(cli, command, path)
    said = {"cut": "bytes", "bit": "manifest", "onnx": "not a Fusee engine"}
    assert message.startswith(f"fusee: {path}: ")
    assert said[how] in message
    assert message.count("\n") == 1
