"""Flatten relocatable ELF objects into one image that runs wherever it is mapped.

Executable sections come first, then read-only data at the next aligned offset. Every relocation is relative to the
place it patches, so nothing is left to do at load time but to map the bytes and protect the first ``code_bytes``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fusee.base.errors import InternalError
from fusee.engine.abi import PAGE_BYTES, align
from fusee.engine.image import CodeImage

_PROGBITS, _SYMTAB, _RELA, _NOBITS = 1, 2, 4, 8  # section types
_WRITE, _ALLOC, _EXEC = 1, 2, 4  # section flags
_X86_64 = 62
_RELATIVE = {2: "<I", 4: "<I", 24: "<Q"}  # R_X86_64_PC32, PLT32, PC64: all store target - place


@dataclass(frozen=True)
class _Section:
    kind: int
    flags: int
    start: int
    size: int
    link: int
    info: int
    align: int


@dataclass(frozen=True)
class _Symbol:
    name: str
    section: int
    value: int
    is_global: bool


@dataclass(frozen=True)
class _Object:
    data: bytes
    sections: tuple[_Section, ...]
    symbols: tuple[_Symbol, ...]


def flatten(objects: Sequence[bytes]) -> CodeImage:
    """Join object files. Raises InternalError for what cannot run anywhere: writable data, unknown symbols."""
    parsed = [_parsed(data) for data in objects]
    places, code_bytes, size = _layout(parsed)
    image = bytearray(size)
    for (i, j), place in places.items():
        section = parsed[i].sections[j]
        image[place : place + section.size] = parsed[i].data[section.start : section.start + section.size]
    known = _global_symbols(parsed, places)
    for i, obj in enumerate(parsed):
        _relocate(image, obj, {j: place for (k, j), place in places.items() if k == i}, known)
    return CodeImage(bytes(image), code_bytes, known)


def _parsed(data: bytes) -> _Object:
    (machine,) = struct.unpack_from("<H", data, 18)
    if data[:6] != b"\x7fELF\x02\x01" or machine != _X86_64:
        raise InternalError(f"expected a little-endian x86-64 ELF object, got machine {machine}, {data[:6]!r}")
    (table,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    sections = tuple(_section(data, table + 64 * i) for i in range(count))
    return _Object(data, sections, tuple(_symbols(data, sections)))


def _section(data: bytes, at: int) -> _Section:
    _, kind, flags, _, start, size, link, info, align, _ = struct.unpack_from("<IIQQQQIIQQ", data, at)
    return _Section(kind, flags, start, size, link, info, max(1, align))


def _symbols(data: bytes, sections: Sequence[_Section]) -> Iterator[_Symbol]:
    table = next(s for s in sections if s.kind == _SYMTAB)
    names = sections[table.link].start
    for at in range(table.start, table.start + table.size, 24):
        name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, at)
        text = data[names + name : data.index(0, names + name)].decode()
        yield _Symbol(text, section, value, info >> 4 == 1)


def _layout(objects: Sequence[_Object]) -> tuple[dict[tuple[int, int], int], int, int]:
    """Where each (object, section) goes, how many bytes are code, and how many there are in all."""
    places: dict[tuple[int, int], int] = {}
    size = _placed(places, objects, 0, _EXEC)
    code_bytes = align(size, PAGE_BYTES)
    return places, code_bytes, _placed(places, objects, code_bytes, 0)


def _placed(places: dict[tuple[int, int], int], objects: Sequence[_Object], end: int, executable: int) -> int:
    for i, obj in enumerate(objects):
        for j, section in enumerate(obj.sections):
            if not _is_loaded(section) or section.flags & _EXEC != executable:
                continue
            places[i, j] = align(end, section.align)
            end = places[i, j] + section.size
    return end


def _is_loaded(section: _Section) -> bool:
    if not section.flags & _ALLOC or section.kind not in (_PROGBITS, _NOBITS) or not section.size:
        return False
    if section.flags & _WRITE:
        raise InternalError(f"code has {section.size} bytes of writable data: kernels keep their state in scratch")
    return True


def _global_symbols(objects: Sequence[_Object], places: Mapping[tuple[int, int], int]) -> dict[str, int]:
    known: dict[str, int] = {}
    for i, obj in enumerate(objects):
        for symbol in obj.symbols:
            if not symbol.is_global or (i, symbol.section) not in places:
                continue
            if symbol.name in known:
                raise InternalError(f"function {symbol.name} is defined twice: symbols must differ between calls")
            known[symbol.name] = places[i, symbol.section] + symbol.value
    return known


def _relocate(image: bytearray, obj: _Object, places: Mapping[int, int], known: Mapping[str, int]) -> None:
    for section in obj.sections:
        if section.kind != _RELA or section.info not in places:
            continue
        for at in range(section.start, section.start + section.size, 24):
            offset, info, addend = struct.unpack_from("<QQq", obj.data, at)
            place = places[section.info] + offset
            target = _address(obj.symbols[info >> 32], places, known)
            _patch(image, place, info & 0xFFFFFFFF, target + addend - place)


def _address(symbol: _Symbol, places: Mapping[int, int], known: Mapping[str, int]) -> int:
    if symbol.section in places:
        return places[symbol.section] + symbol.value
    if symbol.name not in known:
        raise InternalError(f"code calls {symbol.name!r}, which no kernel defines: kernels must not need a library")
    return known[symbol.name]


def _patch(image: bytearray, place: int, kind: int, distance: int) -> None:
    if kind not in _RELATIVE:
        raise InternalError(f"relocation type {kind} is not relative to its place, so the code could not be moved")
    form = _RELATIVE[kind]
    struct.pack_into(form, image, place, distance & (0xFFFFFFFF if form == "<I" else 0xFFFFFFFFFFFFFFFF))
