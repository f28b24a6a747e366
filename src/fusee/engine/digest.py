"""The digest of a section: SHA-256 over the SHA-256 of each MiB, so that several threads can compute it."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

CHUNK_BYTES = 1 << 20
_PARALLEL_CHUNKS = 8  # fewer are not worth starting threads


def section_digest(content: bytes | memoryview) -> str:
    """The digest as 64 hex digits. hashlib lets other threads run while it reads."""
    view = memoryview(content)
    chunks = [view[i : i + CHUNK_BYTES] for i in range(0, len(view), CHUNK_BYTES)]
    return hashlib.sha256(b"".join(_chunk_digests(chunks))).hexdigest()


def _chunk_digests(chunks: list[memoryview]) -> list[bytes]:
    threads = min(4, len(os.sched_getaffinity(0)))
    if len(chunks) < _PARALLEL_CHUNKS or threads == 1:
        return [hashlib.sha256(c).digest() for c in chunks]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda c: hashlib.sha256(c).digest(), chunks, chunksize=1))
