"""The engine file: a fixed header, a JSON manifest, and sections that can be mapped as they are.

    0   magic, 8 bytes            \\x89FUSEE\\r\\n
    8   format version, u32
    12  manifest length, u32
    16  file length, u64
    24  SHA-256 of the manifest, 32 bytes
    56  zeros, 8 bytes
    64  manifest: JSON
    ... sections, at multiples of 64 bytes; code and weights at multiples of 64 KiB, so that any machine can map them

Numbers are little-endian. The manifest lists each section's place and digest (``engine.digest``) and what the code
needs from the machine. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from fusee.base.files import sync_folder
from fusee.engine.abi import ABI_VERSION, align
from fusee.engine.artifact import Artifact, check_symbols
from fusee.engine.digest import section_digest
from fusee.engine.encode import encode_plan, encode_weight

MAGIC = b"\x89FUSEE\r\n"
FORMAT_VERSION = 1
HEADER = struct.Struct("<8sIIQ32s8x")
SECTIONS = ("plan", "certificate", "tuning", "graph", "code", "weights", "graph_weights")
MAPPED_ALIGNMENT_BYTES = 1 << 16
_MAPPED = ("code", "weights", "graph_weights")
_GAP_BYTES = 64  # of zeros after the last section: kernels may read so far past a constant


def save(artifact: Artifact, path: str | os.PathLike[str]) -> None:
    """Write the file whole or not at all: under another name, flushed to disk, then renamed.

    Raises OSError when the folder cannot be written.
    """
    check_symbols(artifact.plan, artifact.code)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _write(artifact, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_bytes(value: Any) -> bytes:
    """JSON in the one form that engine files use: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _contents(artifact: Artifact) -> dict[str, bytes | memoryview]:
    program = {
        "plan": encode_plan(artifact.plan),
        "weights": [encode_weight(w) for w in artifact.weights.table],
        "symbols": dict(artifact.code.symbols),
    }
    return {
        "plan": json_bytes(program),
        "certificate": json_bytes(dict(artifact.certificate)),
        "tuning": json_bytes(dict(artifact.tuning)),
        "graph": artifact.graph.encode(),
        "code": artifact.code.data,
        "weights": artifact.weights.data.data,
        "graph_weights": artifact.graph_weights,
    }


def _write(artifact: Artifact, file: BinaryIO) -> None:
    contents = _contents(artifact)
    facts = {
        "abi": ABI_VERSION,
        "arch": "x86-64",
        "built_for": artifact.built_for,
        "code_bytes": artifact.code.code_bytes,
        "device": "cpu",
        "features": sorted(artifact.features),
        "name": artifact.name,
    }
    digests = {name: section_digest(contents[name]) for name in SECTIONS}
    sizes = {name: len(contents[name]) for name in SECTIONS}
    manifest, places = _manifest(facts, sizes, digests)
    end = places[SECTIONS[-1]] + sizes[SECTIONS[-1]] + _GAP_BYTES
    file.write(HEADER.pack(MAGIC, FORMAT_VERSION, len(manifest), end, hashlib.sha256(manifest).digest()))
    file.write(manifest)
    for name in SECTIONS:
        file.write(b"\0" * (places[name] - file.tell()))
        file.write(contents[name])
    file.write(b"\0" * _GAP_BYTES)


def _manifest(facts: dict[str, Any], sizes: dict[str, int], digests: dict[str, str]) -> tuple[bytes, dict[str, int]]:
    """The manifest and the sections' places, which depend on each other's length: grow until they agree."""
    start = 0
    while True:
        places = dict(_places(start, sizes))
        sections = [
            {"name": name, "offset": places[name], "size_bytes": sizes[name], "digest": digests[name]}
            for name in SECTIONS
        ]
        text = json_bytes({**facts, "sections": sections})
        if HEADER.size + len(text) <= start:
            return text, places
        start = align(HEADER.size + len(text))


def _places(start: int, sizes: dict[str, int]) -> Iterator[tuple[str, int]]:
    at = start
    for name in SECTIONS:
        at = align(at, MAPPED_ALIGNMENT_BYTES if name in _MAPPED else 64)
        yield name, at
        at += sizes[name] + _GAP_BYTES
