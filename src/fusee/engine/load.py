"""Read an engine file: everything is checked before any of it is used, and each problem has its own message."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusee.base.errors import EngineError
from fusee.base.target import CpuTarget
from fusee.engine.abi import ABI_VERSION, PAGE_BYTES
from fusee.engine.artifact import Artifact, check_machine, check_symbols
from fusee.engine.decode import decode_plan, decode_weights
from fusee.engine.digest import section_digest
from fusee.engine.file import FORMAT_VERSION, HEADER, MAGIC, MAPPED_ALIGNMENT_BYTES, SECTIONS
from fusee.engine.image import CodeImage
from fusee.engine.weights import Weights

_AGAIN = "copy it again from its source, or build it again"


@dataclass(frozen=True)
class Section:
    """Where a section lies in the file."""

    name: str
    offset: int
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What an engine file says of itself."""

    name: str
    features: frozenset[str]
    built_for: str
    code_bytes: int
    sections: Mapping[str, Section]


def load(path: str | os.PathLike[str], machine: CpuTarget | None) -> Artifact:
    """The engine in a file, its weights and code mapped read-only from it.

    Checks that the machine has what the code needs, unless it is None (to look at the engine, not to run it). Raises
    EngineError; OSError when the file cannot be read. Replace an engine file only by renaming another over it, as
    ``save`` does: a file overwritten in place changes under the engines that have it mapped.
    """
    where = str(path)
    content = _mapped(path, where)
    manifest = read_manifest(content, where)
    if machine is not None:
        carries_model = manifest.sections["graph"].size_bytes > 0
        check_machine(manifest.features, manifest.built_for, machine, where, carries_model)
    for section in manifest.sections.values():
        _check_digest(content, section, where)
    return _artifact(content, manifest, where)


def _mapped(path: str | os.PathLike[str], where: str) -> memoryview:
    with open(path, "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes < HEADER.size:
            head = file.read(HEADER.size)
            if head and head[: len(MAGIC)] == MAGIC[: len(head)]:
                raise EngineError(f"{where}: truncated: {size_bytes} bytes, less than the header; {_AGAIN}")
            raise _not_an_engine(where, head)
        return memoryview(mmap.mmap(file.fileno(), size_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))


def _not_an_engine(where: str, head: bytes) -> EngineError:
    return EngineError(
        f"{where}: not a Fusee engine: it starts with {head[:8]!r}, expected {MAGIC!r}; "
        "engines are made by `fusee build model.onnx`"
    )


def read_manifest(content: memoryview, where: str) -> Manifest:
    """Header and manifest, checked. Raises EngineError."""
    magic, version, manifest_bytes, file_bytes, digest = HEADER.unpack_from(content)
    if magic != MAGIC:
        raise _not_an_engine(where, magic)
    _check_version(version, where)
    _check_length(len(content), file_bytes, where)
    text = content[HEADER.size : HEADER.size + manifest_bytes]
    if any(content[HEADER.size - 8 : HEADER.size]) or hashlib.sha256(text).digest() != digest:
        raise EngineError(f"{where}: damaged: header or manifest do not match their checksum; {_AGAIN}")
    return _parsed_manifest(json_value(text, f"{where}: manifest"), len(content), where)


def _check_version(version: int, where: str) -> None:
    if version == FORMAT_VERSION:
        return
    advice = "update Fusee" if version > FORMAT_VERSION else "build the engine again with this Fusee"
    age = "newer" if version > FORMAT_VERSION else "older"
    raise EngineError(f"{where}: format version {version} is {age} than this Fusee reads ({FORMAT_VERSION}); {advice}")


def _check_length(found: int, expected: int, where: str) -> None:
    if found < expected:
        raise EngineError(f"{where}: truncated: {found} of {expected} bytes are there; {_AGAIN}")
    if found > expected:
        extra = found - expected
        raise EngineError(f"{where}: {extra} bytes of trailing garbage after the engine's {expected}; {_AGAIN}")


def json_value(text: bytes | memoryview, where: str) -> Any:
    """JSON text as values. Raises EngineError."""
    try:
        return json.loads(bytes(text))
    except (ValueError, RecursionError) as err:
        raise EngineError(f"{where}: not JSON ({err}); {_AGAIN}") from None


def _parsed_manifest(value: Any, file_bytes: int, where: str) -> Manifest:
    try:
        abi, arch, device = value["abi"], value["arch"], value["device"]
        sections = [Section(s["name"], s["offset"], s["size_bytes"], s["digest"]) for s in value["sections"]]
        manifest = Manifest(
            str(value["name"]),
            frozenset(str(f) for f in value["features"]),
            str(value["built_for"]),
            int(value["code_bytes"]),
            {s.name: s for s in sections},
        )
    except (KeyError, TypeError, ValueError) as err:
        raise EngineError(f"{where}: manifest: {type(err).__name__} {err}: a field is missing or wrong") from None
    if (arch, device) != ("x86-64", "cpu"):
        raise EngineError(f"{where}: made for {device} on {arch}, this Fusee runs engines for cpu on x86-64")
    if abi != ABI_VERSION:
        advice = "build the engine again with this Fusee"
        raise EngineError(f"{where}: its code follows call layout {abi}, this Fusee has {ABI_VERSION}; {advice}")
    _check_sections(sections, file_bytes, where)
    return manifest


def _check_sections(sections: list[Section], file_bytes: int, where: str) -> None:
    names = tuple(s.name for s in sections)
    if names != SECTIONS:
        raise EngineError(f"{where}: manifest: sections are {', '.join(map(str, names))}, expected {SECTIONS}")
    end = HEADER.size
    for section in sections:
        if not (type(section.offset) is int and type(section.size_bytes) is int):
            raise EngineError(f"{where}: manifest: section {section.name} has no whole numbers as its place")
        if section.offset < end or section.size_bytes < 0 or section.offset + section.size_bytes > file_bytes:
            place = f"bytes {section.offset} to {section.offset + section.size_bytes}"
            raise EngineError(f"{where}: manifest: section {section.name} takes {place}, outside {end} to {file_bytes}")
        end = section.offset + section.size_bytes


def _check_digest(content: memoryview, section: Section, where: str) -> None:
    if section_digest(_slice(content, section)) != section.digest:
        raise EngineError(f"{where}: damaged: section {section.name} does not match its checksum; {_AGAIN}")


def _slice(content: memoryview, section: Section) -> memoryview:
    return content[section.offset : section.offset + section.size_bytes]


def _artifact(content: memoryview, manifest: Manifest, where: str) -> Artifact:
    parts = {name: _slice(content, section) for name, section in manifest.sections.items()}
    try:
        program = json_value(parts["plan"], "plan")
        table = decode_weights(_field(program, "weights"), len(parts["weights"]))
        plan = decode_plan(_field(program, "plan"), len(table))
        code = _code(parts["code"], manifest, _field(program, "symbols"))
        check_symbols(plan, code)
        return Artifact(
            plan,
            code,
            Weights(table, np.frombuffer(parts["weights"], np.uint8)),
            manifest.features,
            manifest.built_for,
            bytes(parts["graph"]).decode(errors="replace"),
            parts["graph_weights"],
            _facts(parts["certificate"], "certificate"),
            _facts(parts["tuning"], "tuning"),
        )
    except EngineError as err:
        raise EngineError(f"{where}: {err}") from None


def _field(program: Any, key: str) -> Any:
    if not isinstance(program, dict) or key not in program:
        raise EngineError(f"plan: {key} is missing; {_AGAIN}")
    return program[key]


def _facts(text: memoryview, where: str) -> dict[str, Any]:
    value = json_value(text, where)
    if not isinstance(value, dict):
        raise EngineError(f"{where}: expected an object, found {type(value).__name__}")
    return value


def _code(image: memoryview, manifest: Manifest, symbols: Any) -> CodeImage:
    place = manifest.sections["code"].offset
    if place % MAPPED_ALIGNMENT_BYTES or manifest.sections["weights"].offset % MAPPED_ALIGNMENT_BYTES:
        raise EngineError(f"manifest: code is at {place}, expected a multiple of {MAPPED_ALIGNMENT_BYTES}")
    if not 0 < manifest.code_bytes <= len(image) or manifest.code_bytes % PAGE_BYTES:
        raise EngineError(f"manifest: {manifest.code_bytes} bytes of code, expected pages within {len(image)} bytes")
    if not isinstance(symbols, dict) or not all(type(v) is int for v in symbols.values()):
        raise EngineError("plan: symbols are not names with whole numbers")
    return CodeImage(image, manifest.code_bytes, symbols)
