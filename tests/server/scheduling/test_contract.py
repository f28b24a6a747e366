"""Requests that do not agree with a model are told so in the words that clients of the protocol know."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fusee.server.errors import Reason, ServingError
from fusee.server.scheduling.contract import BATCH_NOTE, Admitted, Contract
from fusee.server.types import InferRequest, Tensor, TensorSpec, WantedOutput

BATCHED = Contract(
    "m", [TensorSpec("a", "FP32", (-1, 16)), TensorSpec("b", "INT64", (-1, 2))], [TensorSpec("y", "FP32", (-1, 1))], 8
)
WHOLE = Contract(
    "m", [TensorSpec("a", "FP32", (-1, 3))], [TensorSpec("y", "FP32", (3,)), TensorSpec("z", "FP32", (3,))], 0
)
IMAGES = Contract("m", [TensorSpec("a", "BF16", (-1, 3, -1, -1))], [TensorSpec("y", "FP32", (-1, 1))], 8)


def tensor(name: str, datatype: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
    return Tensor(name, datatype, shape, np.zeros(shape, dtype))


def admit(contract: Contract, *inputs: Tensor, outputs: tuple[str, ...] = ()) -> Admitted:
    return contract.admit(InferRequest("m", "", "", inputs, tuple(WantedOutput(o) for o in outputs)))


def a(n: int = 2, width: int = 16) -> Tensor:
    return tensor("a", "FP32", (n, width), np.float32)


def b(n: int = 2) -> Tensor:
    return tensor("b", "INT64", (n, 2), np.int64)


def test_a_good_request_passes_its_arrays_as_they_are():
    first, second = a(), b()
    admitted = admit(BATCHED, second, first)
    assert admitted.arrays["a"] is first.array
    assert admitted.arrays["b"] is second.array
    assert (admitted.items, admitted.outputs) == (2, None)


def test_only_requests_of_the_same_item_shape_have_the_same_signature():
    def signature(*shape: int) -> object:
        return admit(IMAGES, tensor("a", "BF16", shape, ml_dtypes.bfloat16)).signature

    assert signature(1, 3, 4, 5) == signature(2, 3, 4, 5) != signature(1, 3, 5, 4)


def test_without_a_batch_dimension_a_request_is_one_item():
    assert admit(WHOLE, a(7, 3)).items == 1


def test_wanted_outputs_are_found():
    assert admit(WHOLE, a(1, 3), outputs=("z",)).outputs == (1,)


@pytest.mark.parametrize(
    ("contract", "inputs", "outputs", "message"),
    [
        (
            BATCHED,
            [a()],
            [],
            "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing required input(s) "
            "['b']. Please provide all required input(s).",
        ),
        (WHOLE, [a(1, 3), b()], [], "expected 1 inputs but got 2 inputs for model 'm': unexpected inference input 'b'"),
        (
            WHOLE,
            [a(1, 3)] * 2,
            [],
            "expected 1 inputs but got 2 inputs for model 'm': an input is given more than once",
        ),
        (WHOLE, [b()], [], "unexpected inference input 'b' for model 'm'"),
        (
            BATCHED,
            [a(), a()],
            [],
            "expected 2 inputs but got 2 inputs for model 'm'. Got input(s) ['a','a'], but missing required input(s) "
            "['b']. Please provide all required input(s).",
        ),
        (
            WHOLE,
            [tensor("a", "FP64", (1, 3), np.float64)],
            [],
            "inference input 'a' data-type is 'FP64', but model 'm' expects 'FP32'",
        ),
        (WHOLE, [a(1, 4)], [], "unexpected shape for input 'a' for model 'm'. Expected [-1,3], got [1,4]."),
        (
            WHOLE,
            [tensor("a", "FP32", (3,), np.float32)],
            [],
            "unexpected shape for input 'a' for model 'm'. Expected [-1,3], got [3].",
        ),
        (
            BATCHED,
            [a(1, 8), b(1)],
            [],
            "unexpected shape for input 'a' for model 'm'. Expected [-1,16], got [1,8]." + BATCH_NOTE,
        ),
        (
            BATCHED,
            [tensor("a", "FP32", (), np.float32), b()],
            [],
            "unexpected shape for input 'a' for model 'm'. Expected [-1,16], got []." + BATCH_NOTE,
        ),
        (BATCHED, [a(9), b(9)], [], "inference request batch-size must be <= 8 for 'm'"),
        (BATCHED, [a(0), b(0)], [], "inference request batch-size must be >= 1 for 'm'"),
        (BATCHED, [a(2), b(3)], [], "input 'b' batch size does not match other inputs for 'm': 3, but 'a' has 2"),
        (WHOLE, [a(1, 3)], ["q"], "unexpected inference output 'q' for model 'm'"),
    ],
)
def test_bad_requests(contract: Contract, inputs: list[Tensor], outputs: list[str], message: str):
    with pytest.raises(ServingError) as caught:
        admit(contract, *inputs, outputs=tuple(outputs))
    assert (caught.value.reason, caught.value.message) == (Reason.INVALID, message)
