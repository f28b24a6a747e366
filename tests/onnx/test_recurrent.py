"""LSTM, GRU and RNN: the onnx evaluator where it knows the case, else what the definition says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.errors import UnsupportedModel
from fusee.base.types import Array
from fusee.ir.reference import run
from fusee.ops.recurrent import Lstm

T, N, I, H = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RNG = np.random.default_rng(11)


def f32(*shape: int) -> Array:
    return (RNG.standard_normal(shape) * 0.5).astype(np.float32)


def weights(op: str, directions: int = 1) -> dict[str, Array]:
    rows = GATES[op] * H
    return {"w": f32(directions, rows, I), "r": f32(directions, rows, H), "b": f32(directions, 2 * rows)}


X = f32(T, N, I)


def layer(op: str, feeds: dict[str, Array], inputs: list[str], outputs: int = 2, **attributes: Any) -> dict[str, Array]:
    names = ("y", "last_h", "last_c")[:outputs]
    graph = imported([node(op, inputs, list(names), hidden_size=H, **attributes)], feeds, names)
    return run(graph, feeds)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("inputs", [["x", "w", "r"], ["x", "w", "r", "b"], ["x", "w", "r", "b", "", "h"]])
def test_forward(op: str, inputs: list[str]) -> None:
    known = {**weights(op), "h": f32(1, N, H)}
    operands = {k: known[k] for k in inputs[1:] if k}
    names = ["y", "last"]
    shapes = {"x": ["t", N, I]} if op == "LSTM" else {"x": ["t", "n", I]}
    if "h" in operands:
        shapes = {"x": ["t", N, I]}
    check(node(op, inputs, names, hidden_size=H), {"x": X}, names, operands=operands, shapes=shapes)


@pytest.mark.parametrize("op", GATES)
def test_reverse_is_forward_on_the_reversed_sequence(op: str) -> None:
    feeds = {"x": X, **weights(op)}
    there = layer(op, feeds, ["x", "w", "r", "b"], direction="reverse")
    back = layer(op, {**feeds, "x": X[::-1].copy()}, ["x", "w", "r", "b"])
    np.testing.assert_allclose(there["y"], back["y"][::-1], rtol=1e-6)
    np.testing.assert_allclose(there["last_h"], back["last_h"], rtol=1e-6)


@pytest.mark.parametrize("op", GATES)
def test_bidirectional_is_both(op: str) -> None:
    both = {"x": X, **weights(op, 2)}
    found = layer(op, both, ["x", "w", "r", "b"], direction="bidirectional")
    for d, direction in enumerate(("forward", "reverse")):
        alone = {"x": X, **{k: v[d : d + 1] for k, v in both.items() if k != "x"}}
        one = layer(op, alone, ["x", "w", "r", "b"], direction=direction)
        np.testing.assert_allclose(found["y"][:, d], one["y"][:, 0], rtol=1e-6)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_sequences_end_where_their_lengths_say(op: str, direction: str) -> None:
    lengths = np.array([5, 2, 0], np.int32)
    feeds = {"x": X, **weights(op), "n": lengths}
    found = layer(op, feeds, ["x", "w", "r", "b", "n"], direction=direction)
    for i, length in enumerate(lengths):
        assert not found["y"][length:, :, i].any()
        short = {**feeds, "x": X[:length, i : i + 1]}
        del short["n"]
        if length:
            alone = layer(op, short, ["x", "w", "r", "b"], direction=direction)
            np.testing.assert_allclose(found["y"][:length, :, i : i + 1], alone["y"], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(found["last_h"][:, i : i + 1], alone["last_h"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", GATES)
def test_batch_first_moves_axes(op: str) -> None:
    feeds = {"x": X, **weights(op), "h": f32(1, N, H)}
    inputs = ["x", "w", "r", "b", "", "h"]
    plain = layer(op, feeds, inputs)
    moved = {**feeds, "x": X.transpose(1, 0, 2).copy(), "h": feeds["h"].transpose(1, 0, 2).copy()}
    found = layer(op, moved, inputs, layout=1)
    np.testing.assert_allclose(found["y"], plain["y"].transpose(2, 0, 1, 3), rtol=1e-6)
    np.testing.assert_allclose(found["last_h"], plain["last_h"].transpose(1, 0, 2), rtol=1e-6)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("input_forget", [0, 1])
def test_lstm_with_peepholes(input_forget: int) -> None:
    feeds = {"x": X[:1], **weights("LSTM"), "h": f32(1, N, H), "c": f32(1, N, H), "p": f32(1, 3 * H)}
    inputs = ["x", "w", "r", "b", "", "h", "c", "p"]
    found = layer("LSTM", feeds, inputs, 3, input_forget=input_forget)
    bias = feeds["b"][0, : 4 * H] + feeds["b"][0, 4 * H :]
    gates = X[0] @ feeds["w"][0].T + feeds["h"][0] @ feeds["r"][0].T + bias
    i, o, f, g = np.split(gates, 4, axis=1)
    p_i, p_o, p_f = np.split(feeds["p"][0], 3)
    c = feeds["c"][0]
    i = sigmoid(i + p_i * c)
    f = 1 - i if input_forget else sigmoid(f + p_f * c)
    c = f * c + i * np.tanh(g)
    np.testing.assert_allclose(found["last_c"][0], c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["last_h"][0], sigmoid(o + p_o * c) * np.tanh(c), rtol=1e-5, atol=1e-6)


def test_gru_resets_before_or_after_the_product() -> None:
    feeds = {"x": X[:1], **weights("GRU"), "h": f32(1, N, H)}
    inputs = ["x", "w", "r", "b", "", "h"]
    (w,), (r,), (b,), (h,) = (feeds[k] for k in "wrbh")
    given, kept = X[0] @ w.T + b[: 3 * H], b[3 * H :]
    z = sigmoid(given[:, :H] + h @ r[:H].T + kept[:H])
    reset = sigmoid(given[:, H : 2 * H] + h @ r[H : 2 * H].T + kept[H : 2 * H])
    after = reset * (h @ r[2 * H :].T + kept[2 * H :])
    before = (reset * h) @ r[2 * H :].T + kept[2 * H :]
    for linear, hidden in ((0, before), (1, after)):
        wanted = (1 - z) * np.tanh(given[:, 2 * H :] + hidden) + z * h
        found = layer("GRU", feeds, inputs, linear_before_reset=linear)
        np.testing.assert_allclose(found["last_h"][0], wanted, rtol=1e-5, atol=1e-6)


ACTIVATIONS = {
    "Relu": lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda x: np.where(x < 0, 0.3 * x, x),
    "Affine": lambda x: 0.3 * x + 0.2,
    "ThresholdedRelu": lambda x: np.where(x > 0.3, x, 0),
    "ScaledTanh": lambda x: 0.3 * np.tanh(0.2 * x),
    "HardSigmoid": lambda x: np.clip(0.3 * x + 0.2, 0, 1),
    "Elu": lambda x: np.where(x < 0, 0.3 * (np.exp(x) - 1), x),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Sigmoid": sigmoid,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("clip", [0.0, 0.4])
def test_activations(name: str, clip: float) -> None:
    feeds = {"x": X[:1], **weights("RNN")}
    rest: dict[str, Any] = {"clip": clip} if clip else {}
    found = layer(
        "RNN", feeds, ["x", "w", "r"], activations=[name], activation_alpha=[0.3], activation_beta=[0.2], **rest
    )
    inside = X[0] @ feeds["w"][0].T
    inside = np.clip(inside, -clip, clip) if clip else inside
    np.testing.assert_allclose(found["last_h"][0], ACTIVATIONS[name](inside), rtol=1e-5, atol=1e-6)


def test_constants_go_to_the_activations_that_take_them() -> None:
    names = ["HardSigmoid", "Tanh", "ScaledTanh"]
    feeds = {"x": X, **weights("LSTM")}
    op = node("LSTM", ["x", "w", "r"], ["y"], hidden_size=H, activations=names, activation_alpha=[0.1, 0.7])
    found = imported([op], feeds).outputs[0].op
    assert isinstance(found, Lstm)
    assert found.alphas == pytest.approx((0.1, 0, 0.7))
    assert found.betas == pytest.approx((0.5, 0, 1.0))


def test_an_unknown_activation_is_refused() -> None:
    feeds = {"x": X, **weights("RNN")}
    with pytest.raises(UnsupportedModel, match=r"RNN-\d+ 'RNN_0': activation 'swish'; supported: relu, tanh"):
        layer("RNN", feeds, ["x", "w", "r"], activations=["Swish"])


def test_clipping_bounds_gates_but_not_the_cell() -> None:
    feeds = {"x": X[:1] * 9, **weights("LSTM"), "c": np.full((1, N, H), 3, np.float32)}
    found = layer("LSTM", feeds, ["x", "w", "r", "b", "", "", "c"], 3, clip=0.5)
    low, high = sigmoid(-0.5), sigmoid(0.5)
    assert found["last_c"].max() <= 3 * high + high * np.tanh(0.5) + 1e-6
    ratio = found["last_h"] / np.tanh(found["last_c"])
    assert ratio.min() >= low - 1e-6
    assert ratio.max() <= high + 1e-6
