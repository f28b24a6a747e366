"""Matrix products, convolutions and Einsum: against the onnx evaluator, with fixed, named and run-time sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from small_models import check, imported, model, node

from fusee.base.errors import UnsupportedModel
from fusee.base.types import Array
from fusee.ir.reference import run
from fusee.onnx.einsum import explicit_equation
from fusee.onnx.importer import import_model
from fusee.ops.linear import Einsum


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def op_names(node_proto: Any, inputs: dict[str, Array], **options: Any) -> list[str]:
    return [type(n.op).__name__ for n in imported([node_proto], inputs, **options).nodes()]


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3))],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    # A name stands for any size but 1, so the axis that is 1 keeps its number.
    dims = {"a": [1 if n == 1 else f"a{i}" for i, n in enumerate(a)], "b": [f"b{i}" for i in range(len(b))]}
    check(node("MatMul", ["a", "b"], ["y"]), {"a": random(*a), "b": random(*b)}, shapes=dims)


@pytest.mark.parametrize("attributes", [{}, {"transA": 1, "transB": 1}, {"alpha": 0.5, "beta": 0.25, "transB": 1}])
@pytest.mark.parametrize("c", [None, (), (5,), (3, 1), (3, 5)])
def test_gemm(attributes: dict[str, Any], c: tuple[int, ...] | None) -> None:
    a = random(4, 3) if attributes.get("transA") else random(3, 4)
    b = random(5, 4) if attributes.get("transB") else random(4, 5)
    operands = {"b": b} if c is None else {"b": b, "c": random(*c)}
    check(node("Gemm", ["a", *operands], ["y"], **attributes), {"a": a}, operands=operands)


CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], ...] = (
    ((1, 3, 7, 8), (4, 3, 3, 3), {"pads": [1, 0, 2, 1]}),
    ((2, 4, 7, 8), (6, 2, 3, 2), {"group": 2, "strides": [2, 1], "dilations": [1, 2]}),
    ((1, 5, 9, 9), (5, 1, 3, 3), {"group": 5, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 2, 7, 10), (3, 2, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ((1, 2, 7, 10), (3, 2, 2, 4), {"auto_pad": "SAME_LOWER", "strides": [1, 2]}),
    ((1, 2, 7, 10), (3, 2, 2, 4), {"auto_pad": "VALID"}),
    ((2, 3, 11), (4, 3, 3), {"pads": [1, 2], "strides": [2]}),
    ((1, 2, 4, 5, 6), (3, 2, 2, 3, 2), {"pads": [0, 1, 0, 1, 1, 0]}),
)


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
def test_conv(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    operands = {"w": random(*w), "b": random(w[0])}
    check(node("Conv", ["x", "w", "b"], ["y"], **attributes), {"x": random(*x)}, operands=operands)


def test_conv_pads_first_only_where_padding_depends_on_sizes() -> None:
    inputs, weights = {"x": random(1, 2, 7, 7)}, {"w": random(3, 2, 3, 3)}
    same = node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2])
    assert op_names(same, inputs, constants=weights) == ["Input", "Const", "Conv"]
    named = {"x": [1, 2, "H", "W"]}
    assert "Pad" in op_names(same, inputs, constants=weights, shapes=named)
    stride_one = node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")
    assert "Pad" not in op_names(stride_one, inputs, constants=weights, shapes=named)


def test_conv_refuses_a_kernel_of_unknown_size() -> None:
    inputs = {"x": random(1, 2, 7, 7), "w": random(3, 2, 3, 3)}
    with pytest.raises(UnsupportedModel, match=r"Conv-\d+ 'Conv_0': the kernel sizes of f32\[3,2,k,3\] are not known"):
        imported([node("Conv", ["x", "w"], ["y"])], inputs, shapes={"w": [3, 2, "k", 3]})


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((1, 2, 4, 5), (2, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]}),
        ((1, 4, 4, 5), (4, 3, 2, 3), {"dilations": [2, 1]}),
        ((1, 2, 5), (2, 3, 3), {"strides": [3]}),
        ((1, 2, 3, 3), (2, 1, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ],
)
def test_conv_transpose(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    op = node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)
    check(op, {"x": random(*x)}, operands={"w": random(*w), "b": random(w[1])})


def test_groups_of_a_transposed_convolution_stand_side_by_side() -> None:
    x, w = random(2, 4, 3, 4), random(4, 3, 2, 2)
    whole = node("ConvTranspose", ["x", "w"], ["y"], group=2)
    y = run(imported([whole], {"x": x}, constants={"w": w}), {"x": x})["y"]
    for part in range(2):
        half = slice(2 * part, 2 * part + 2)
        alone = imported([node("ConvTranspose", ["x", "w"], ["y"])], {"x": x[:, half]}, constants={"w": w[half]})
        wanted = run(alone, {"x": x[:, half]})["y"]
        np.testing.assert_allclose(y[:, 3 * part : 3 * part + 3], wanted, rtol=1e-5, atol=1e-6)


def test_conv_transpose_crops_to_the_output_shape() -> None:
    x, w = random(1, 1, 3, 3), random(1, 2, 3, 3)
    op = node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 2], output_shape=[8, 6], auto_pad="SAME_UPPER")
    full = node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 2])
    (wanted,) = run(imported([full], {"x": x}, constants={"w": w}), {"x": x}).values()
    for shapes in ({}, {"x": [1, 1, "H", "W"]}):
        found = run(imported([op], {"x": x}, constants={"w": w}, shapes=shapes), {"x": x})["y"]
        np.testing.assert_array_equal(found, wanted[:, :, :8, :6])


def test_conv_transpose_fills_up_to_the_output_shape() -> None:
    x, w, b = random(1, 1, 2, 2), random(1, 1, 2, 2), np.array([5], np.float32)
    op = node("ConvTranspose", ["x", "w", "b"], ["y"], output_shape=[5, 4])
    y = run(imported([op], {"x": x}, constants={"w": w, "b": b}), {"x": x})["y"]
    assert y.shape == (1, 1, 5, 4)
    assert (y[0, 0, 3:] == 5).all()
    assert (y[0, 0, :, 3:] == 5).all()


def test_deform_conv() -> None:
    operands = {"w": random(4, 2, 2, 2), "o": random(1, 16, 4, 5) * 0.7, "b": random(4), "m": random(1, 8, 4, 5)}
    op = node("DeformConv", ["x", "w", "o", "b", "m"], ["y"], group=2, offset_group=2, kernel_shape=[2, 2])
    check(op, {"x": random(1, 4, 5, 6)}, operands=operands)


EQUATIONS: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = (
    ("ij,jk->ik", ((3, 4), (4, 5))),
    ("ij,jk", ((3, 4), (4, 5))),
    ("ba", ((3, 4),)),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
    ("bhsd,bhtd->bhst", ((2, 3, 4, 5), (2, 3, 6, 5))),
    ("bshd,hdo->bso", ((2, 3, 4, 5), (4, 5, 6))),
    ("...ij,...jk->...ik", ((2, 3, 4), (1, 4, 5))),
    ("i,j->ij", ((3,), (4,))),
    ("ij->", ((3, 4),)),
    ("bi,bij,bj->b", ((2, 3), (2, 3, 4), (2, 4))),
    ("ij,kl->ik", ((3, 4), (2, 5))),
    ("i,i", ((3,), (3,))),
    ("ii->i", ((3, 3),)),
    ("ij,ij->ji", ((3, 4), (3, 4))),
)


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: Sequence[tuple[int, ...]]) -> None:
    arrays = {f"x{i}": random(*shape) for i, shape in enumerate(shapes)}
    proto = node("Einsum", list(arrays), ["y"], equation=equation)
    wanted = np.einsum(equation, *arrays.values()).astype(np.float32)
    found = run(imported([proto], arrays), arrays)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert found.shape == wanted.shape


def test_einsum_with_named_sizes() -> None:
    arrays = {"a": random(2, 3, 4, 5), "b": random(2, 3, 6, 5)}
    dims = {"a": ["n", "h", "s", 5], "b": ["n", "h", "t", 5]}
    op = node("Einsum", ["a", "b"], ["y"], equation="nhsd,nhtd->nhst")
    found = run(import_model(model([op], arrays, ["y"], shapes=dims)), arrays)["y"]
    np.testing.assert_allclose(found, np.einsum("nhsd,nhtd->nhst", *arrays.values()), rtol=1e-5, atol=1e-6)


def test_einsum_of_two_operands_becomes_a_matrix_product() -> None:
    arrays = {"a": random(3, 4), "b": random(4, 5)}
    assert "MatMul" in op_names(node("Einsum", ["a", "b"], ["y"], equation="ij,jk->ik"), arrays)
    diagonal = imported([node("Einsum", ["a"], ["y"], equation="ii->i")], {"a": random(3, 3)})
    assert isinstance(diagonal.outputs[0].op, Einsum)


def test_explicit_equation() -> None:
    assert explicit_equation("b a , a c") == "ba,ac->bc"
    assert explicit_equation("...ij") == "...ij->...ij"
    assert explicit_equation("ii->i") == "ii->i"


def test_det() -> None:
    check(node("Det", ["x"], ["y"]), {"x": random(2, 3, 3)})
