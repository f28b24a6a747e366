"""Memory of a session: aligned, padded at its end so that kernels may read past it, in large pages when it is large."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fusee.base.errors import DeviceError
from fusee.base.types import Array
from fusee.engine.abi import ALIGNMENT_BYTES, PADDING_BYTES, align

HUGE_PAGE_BYTES = 2 << 20
PAGE_BYTES = 4096
_BYTE = ctypes.c_char


@dataclass(frozen=True, eq=False)
class Memory:
    """Bytes at an address that is a multiple of 64."""

    array: Array  # u8
    address: int

    @property
    def size_bytes(self) -> int:
        return self.array.size


def address_of(array: Array) -> int:
    """Where an array's first element lies."""
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, BufferError):  # read-only, empty, or an element type that buffers do not know
        return array.__array_interface__["data"][0]  # five times slower


def allocate(size_bytes: int) -> Memory:
    """Fresh memory of that size, with 64 readable bytes after it. Raises DeviceError when there is not so much."""
    try:
        whole = _pages(size_bytes) if size_bytes >= HUGE_PAGE_BYTES else _bytes(size_bytes, ALIGNMENT_BYTES)
    except (MemoryError, ValueError, OverflowError, OSError) as err:
        raise DeviceError(
            f"no memory: {size_bytes:,} bytes are needed ({err}); use a smaller batch or fewer sessions"
        ) from None
    return Memory(whole, address_of(whole))


def _bytes(size_bytes: int, alignment_bytes: int) -> Array:
    raw = np.zeros(size_bytes + PADDING_BYTES + alignment_bytes, np.uint8)
    start = -address_of(raw) % alignment_bytes
    return raw[start : start + size_bytes]


def _pages(size_bytes: int) -> Array:
    whole = mmap.mmap(-1, align(size_bytes + PADDING_BYTES, HUGE_PAGE_BYTES) + HUGE_PAGE_BYTES)
    with suppress(OSError):  # a kernel without large pages: the memory is as good, only slower
        whole.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(whole, np.uint8)
    start = -address_of(raw) % HUGE_PAGE_BYTES
    return raw[start : start + size_bytes]


def padded_array(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An array with unspecified content that kernels may use: aligned to 64 bytes and padded."""
    size_bytes = dtype.itemsize
    for size in shape:
        size_bytes *= size
    try:
        raw = np.empty(size_bytes + PADDING_BYTES + ALIGNMENT_BYTES, np.uint8)
    except (MemoryError, ValueError, OverflowError):
        raise DeviceError(f"no memory for an array of shape {list(shape)}: {size_bytes:,} bytes are needed") from None
    return np.ndarray(shape, dtype, buffer=raw.data, offset=-address_of(raw) % ALIGNMENT_BYTES)


def is_padded(address: int, size_bytes: int) -> bool:
    """Whether reading 64 bytes past the end stays in the page of the last byte, so that it cannot fault."""
    return (address + size_bytes - 1) // PAGE_BYTES == (address + size_bytes + PADDING_BYTES - 1) // PAGE_BYTES


def padded(array: Array) -> tuple[Array, int]:
    """The array itself when kernels may read past its end, else a copy that is padded; and its address."""
    address = address_of(array)
    if is_padded(address, array.nbytes) or array.size == 0:
        return array, address
    copy = padded_array(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy, address_of(copy)
