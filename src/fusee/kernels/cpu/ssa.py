"""Typed names of LLVM IR: what an emitted instruction yields, and how types and literals are written."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from fusee.base.types import DType


@dataclass(frozen=True)
class Ssa:
    """A value in LLVM IR: its text (``%t4``, or a literal) and its type (``i64``, ``<16 x float>``, ``ptr``)."""

    text: str
    type: str

    def __str__(self) -> str:
        return self.text

    @property
    def typed(self) -> str:
        """``i64 %t4``: how instructions name an operand with its type."""
        return f"{self.type} {self.text}"

    @property
    def lanes(self) -> int:
        return lanes_of(self.type)


Index = Ssa | int  # an i64: numbers known at build stay Python ints, so that arithmetic on them folds

MEMORY_TYPES: dict[DType, str] = {
    DType.F64: "double",
    DType.F32: "float",
    DType.F16: "half",
    DType.BF16: "bfloat",
    DType.I64: "i64",
    DType.I32: "i32",
    DType.I16: "i16",
    DType.U64: "i64",
    DType.U32: "i32",
    DType.U16: "i16",
}
_MANGLED = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16", "ptr": "p0"}
_BITS = {"float": 32, "double": 64, "half": 16, "bfloat": 16, "ptr": 64}


def memory_type(dtype: DType) -> str:
    """How one element lies in memory: 8-bit and narrower types, and bool, are ``i8``."""
    return MEMORY_TYPES.get(dtype, "i8")


def vector(element: str, lanes: int) -> str:
    """``<16 x float>``, or the element type itself for one lane."""
    return f"<{lanes} x {element}>" if lanes > 1 else element


def element_of(type: str) -> str:
    """``float`` of ``<16 x float>``; a scalar type is its own element."""
    found = re.fullmatch(r"<\d+ x (.+)>", type)
    return found[1] if found else type


def lanes_of(type: str) -> int:
    found = re.match(r"<(\d+) x ", type)
    return int(found[1]) if found else 1


def with_element(type: str, element: str) -> str:
    """The type of as many lanes with another element."""
    return vector(element, lanes_of(type))


def bits_of(type: str) -> int:
    """The width of one lane."""
    element = element_of(type)
    return _BITS[element] if element in _BITS else int(element[1:])


def is_float(type: str) -> bool:
    return not element_of(type).startswith(("i", "p"))


def mangled(type: str) -> str:
    """How intrinsics name the type: ``v16f32``."""
    element = element_of(type)
    return ("" if element == type else f"v{lanes_of(type)}") + _MANGLED.get(element, element)


def literal(type: str, number: float) -> Ssa:
    """A constant of a scalar type, or with that constant in each lane of a vector type."""
    element = element_of(type)
    text = _float_text(element, number) if is_float(element) else str(int(number))
    return Ssa(text if element == type else f"splat ({element} {text})", type)


def _float_text(element: str, number: float) -> str:
    if element == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', number))[0]:04X}"
    if element == "bfloat":
        return f"0xR{struct.unpack('<I', struct.pack('<f', number))[0] >> 16:04X}"
    if element == "float":
        number = struct.unpack("<f", struct.pack("<f", number))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def lane_numbers(type: str) -> Ssa:
    """``0, 1, 2, ...`` as a vector constant of an integer type."""
    element = element_of(type)
    return Ssa("<" + ", ".join(f"{element} {i}" for i in range(lanes_of(type))) + ">", type)


def zero(type: str) -> Ssa:
    return Ssa("zeroinitializer" if lanes_of(type) > 1 else "null" if type == "ptr" else literal(type, 0).text, type)
