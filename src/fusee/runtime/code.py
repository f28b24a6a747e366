"""Map compiled code: read-only from the engine's file, then executable; never writable and executable at once."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fusee.base.errors import DeviceError
from fusee.engine.image import CodeImage
from fusee.runtime.memory import address_of

_READ_EXECUTE = 5  # PROT_READ | PROT_EXEC


@dataclass(frozen=True, eq=False)
class LoadedCode:
    """Addresses of functions, valid as long as this object lives."""

    addresses: Mapping[str, int]
    mapped: memoryview


def load_code(image: CodeImage) -> LoadedCode:
    """Make an image executable. Raises DeviceError when the system does not allow it."""
    view = image.data if _is_mapped(image.data) else _in_memory_file(image.data)
    base = address_of(np.frombuffer(view, np.uint8))
    libc = ctypes.CDLL(None, use_errno=True)
    protect = libc.mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(base, image.code_bytes, _READ_EXECUTE):
        reason = os.strerror(ctypes.get_errno())
        raise DeviceError(f"the system refuses to run the engine's code ({reason}); is its folder mounted noexec?")
    return LoadedCode({name: base + offset for name, offset in image.symbols.items()}, memoryview(view))


def _is_mapped(content: bytes | memoryview) -> bool:
    return isinstance(content, memoryview) and isinstance(content.obj, mmap.mmap)


def _in_memory_file(content: bytes | memoryview) -> memoryview:
    handle = os.memfd_create("fusee-code", os.MFD_CLOEXEC)
    try:
        os.write(handle, content)
        return memoryview(mmap.mmap(handle, len(content), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
    finally:
        os.close(handle)
