"""Classes as text, as Triton's clients read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusee.server.classification import classify
from fusee.server.errors import Reason, ServingError
from fusee.server.types import Tensor
from fusee.server.wire import NUMPY


def tensor(values: Any, datatype: str = "FP32") -> Tensor:
    array = np.array(values, NUMPY[datatype])
    return Tensor("y", datatype, array.shape, array)


def texts(values: Any, k: int, labels: tuple[str, ...] = (), datatype: str = "FP32", is_batched: bool = True) -> Any:
    classified = classify(tensor(values, datatype), k, labels, is_batched=is_batched)
    assert (classified.name, classified.datatype) == ("y", "BYTES")
    assert classified.shape == classified.values().shape
    return classified.values().tolist()


def test_the_best_come_first_with_six_decimals():
    assert texts([[0.1, 0.7, 0.2]], 2) == [[b"0.700000:1", b"0.200000:2"]]
    assert texts([[1e-9, 123456.789, -2]], 3, datatype="FP64") == [[b"123456.789000:1", b"0.000000:0", b"-2.000000:2"]]


def test_labels_stand_behind_where_there_are_any():
    assert texts([[3, 1, 2]], 3, ("cat", "", "höhle")) == [
        [b"3.000000:0:cat", "2.000000:2:höhle".encode(), b"1.000000:1"]
    ]
    assert texts([[3, 1]], 2, ("cat",)) == [[b"3.000000:0:cat", b"1.000000:1"]]


def test_whole_numbers_are_written_whole_and_ranked_at_their_limits():
    assert texts([[0, 255, 7]], 3, datatype="UINT8") == [[b"255:1", b"7:2", b"0:0"]]
    least = -(2**63)
    assert texts([[least, 5, 2**63 - 1]], 3, datatype="INT64") == [
        [f"{2**63 - 1}:2".encode(), b"5:1", f"{least}:0".encode()]
    ]
    assert texts([[2**64 - 1, 0]], 1, datatype="UINT64") == [[f"{2**64 - 1}:0".encode()]]


def test_equal_values_keep_their_order_and_nan_is_last():
    assert texts([[1, 2, 2, 1]], 4) == [[b"2.000000:1", b"2.000000:2", b"1.000000:0", b"1.000000:3"]]
    assert texts([[np.nan, -np.inf, np.inf]], 3) == [[b"inf:2", b"-inf:1", b"nan:0"]]


def test_each_item_of_a_batch_is_flattened():
    assert texts(np.arange(8).reshape(2, 2, 2), 2) == [[b"3.000000:3", b"2.000000:2"], [b"7.000000:3", b"6.000000:2"]]
    assert texts([4, 5], 3) == [[b"4.000000:0"], [b"5.000000:0"]]


def test_without_a_batch_all_values_are_classes():
    assert texts([[1, 2], [4, 3]], 2, is_batched=False) == [b"4.000000:2", b"3.000000:3"]
    assert texts([1, 2], 9, is_batched=False) == [b"2.000000:1", b"1.000000:0"]


def test_no_items_and_no_classes():
    assert texts(np.zeros((0, 4)), 2) == []
    assert texts(np.zeros((2, 0)), 2) == [[], []]


@pytest.mark.parametrize("datatype", ["BYTES", "FP16", "BOOL"])
def test_datatypes_without_an_order_are_refused(datatype: str):
    values = [[b"a"]] if datatype == "BYTES" else [[1]]
    with pytest.raises(
        ServingError, match=f"class result not available for output 'y' due to unsupported type '{datatype}'"
    ):
        classify(tensor(values, datatype), 1, (), is_batched=True)


def test_no_classes_are_asked_for():
    with pytest.raises(ServingError, match="0 classes are asked for") as caught:
        classify(tensor([[1]]), 0, (), is_batched=True)
    assert caught.value.reason is Reason.INVALID
