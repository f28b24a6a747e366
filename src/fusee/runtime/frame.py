"""What one run works on, and how its steps find tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusee.base.types import Array

Locate = Callable[["Frame"], Array]  # where a tensor is in a run


@dataclass(eq=False)
class Frame:
    """The caller's tensors of one run. ``outputs`` holds None where an array is to be made, once its shape is known."""

    inputs: list[Array]
    input_addresses: list[int]
    outputs: list[Array | None]
    output_addresses: list[int]

    def output(self, index: int) -> Array:
        array = self.outputs[index]
        assert array is not None
        return array


def in_memory(memory: Array, offset_bytes: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Locate:
    """A tensor that is always in the same place."""
    view = np.ndarray(shape, dtype, buffer=memory.data, offset=offset_bytes)
    return lambda _: view


def in_input(index: int, offset_bytes: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Locate:
    return lambda frame: _within(frame.inputs[index], offset_bytes, shape, dtype)


def in_output(index: int, offset_bytes: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Locate:
    return lambda frame: _within(frame.output(index), offset_bytes, shape, dtype)


def _within(array: Array, offset_bytes: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    if array.shape == shape and array.dtype == dtype:
        return array
    return np.ndarray(shape, dtype, buffer=array.reshape(-1).view(np.uint8).data, offset=offset_bytes)
