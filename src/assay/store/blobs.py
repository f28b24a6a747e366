"""Bytes under their SHA-256, each tenant's apart: photographs, pictures, maps.

Whoever needs a blob puts it first and then, in the transaction that names it, calls ``use``. Whoever needs it no more
calls ``forget`` and, in the transaction after, ``remove_unused``. Using and removing hold the tenant's chain, so that
no blob goes while it is being named. What was put and never named is an orphan, which a sweep removes.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, delete, insert, select

from assay.errors import Refusal, unavailable
from assay.store.audit import lock_chain
from assay.store.database import Database, insert_new
from assay.store.tables import blob_uses, blobs
from fusee.base.errors import FuseeError
from fusee.base.files import sync_folder

_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WRITERS = 8  # at once: a disk makes several files durable in the time of one
_PARTIAL = ".partial"  # ends the name of a file that is being written


class DamagedBlob(FuseeError):
    """A blob is not what was put: the disk, or a person, changed it."""


class Blob(NamedTuple):
    """Which blob: content is shared within a tenant, never between two."""

    tenant_id: str
    sha256: str


class BlobStore(Protocol):
    """Where the bytes lie. Every call may raise Refusal UNAVAILABLE."""

    def put(self, tenant_id: str, content: bytes) -> str:
        """The content's SHA-256. See ``put_all``."""
        return self.put_all(tenant_id, [content])[0]

    def put_all(self, tenant_id: str, contents: Sequence[bytes]) -> list[str]:
        """The contents' SHA-256s. They are durable when this returns, and count as written now if they were there."""
        ...

    def get(self, tenant_id: str, sha256: str) -> bytes | None:
        """None: there is no such blob of this tenant. Raises DamagedBlob."""
        ...

    def has(self, tenant_id: str, sha256: str, connection: Connection) -> bool:
        """Whether it is there, asked within a transaction."""
        ...

    def delete(self, tenant_id: str, sha256: str, connection: Connection) -> None:
        """Remove it, if it is there, within a transaction."""
        ...

    def written_before(self, moment: datetime) -> Iterator[Blob]:
        """All blobs, of all tenants, that were last put before ``moment``. Remains of interrupted writes are removed
        on the way."""
        ...


class FolderBlobs(BlobStore):
    """Files in ``folder/TENANT/AB/ABCDEF...``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers = ThreadPoolExecutor(_WRITERS, "blobs")

    def put_all(self, tenant_id: str, contents: Sequence[bytes]) -> list[str]:
        try:
            return list(self._writers.map(partial(self._put, tenant_id), contents))
        except OSError as err:
            raise _no_disk(err) from err

    def _put(self, tenant_id: str, content: bytes) -> str:
        sha256 = digest(content)
        file = self._file(tenant_id, sha256)
        if not _renew(file, content):
            _write_atomically(file, content)
        return sha256

    def get(self, tenant_id: str, sha256: str) -> bytes | None:
        if not _can_be(tenant_id, sha256):
            return None
        try:
            content = self._file(tenant_id, sha256).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise _no_disk(err) from err
        return _intact(tenant_id, sha256, content)

    def has(self, tenant_id: str, sha256: str, connection: Connection) -> bool:
        return self._file(tenant_id, sha256).exists()

    def delete(self, tenant_id: str, sha256: str, connection: Connection) -> None:
        """At once: a transaction that fails does not bring it back."""
        file = self._file(tenant_id, sha256)
        with suppress(FileNotFoundError):
            file.unlink()
            sync_folder(file.parent)

    def written_before(self, moment: datetime) -> Iterator[Blob]:
        for file in self._folder.glob("*/*/*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                if datetime.fromtimestamp(file.stat().st_mtime, UTC) >= moment:
                    continue
                if file.name.endswith(_PARTIAL):
                    file.unlink()
                else:
                    yield Blob(file.parent.parent.name, file.name)

    def _file(self, tenant_id: str, sha256: str) -> Path:
        assert _can_be(tenant_id, sha256), f"blob {tenant_id!r}/{sha256!r}"
        return self._folder / tenant_id / sha256[:2] / sha256


class DatabaseBlobs(BlobStore):
    """Rows of the table ``blobs``: several machines share them without sharing a disk."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def put_all(self, tenant_id: str, contents: Sequence[bytes]) -> list[str]:
        named = {digest(content): content for content in contents}
        with self._database.writing() as connection:
            for sha256, content in sorted(named.items()):  # in one order: no two transactions wait for each other
                new = {"content": content, "written_at": self._clock()}
                row = insert_new(connection, blobs).values(tenant_id=tenant_id, sha256=sha256, **new)
                connection.execute(row.on_conflict_do_update(index_elements=["tenant_id", "sha256"], set_=new))
        return [digest(content) for content in contents]

    def get(self, tenant_id: str, sha256: str) -> bytes | None:
        if not _can_be(tenant_id, sha256):
            return None
        with self._database.reading() as connection:
            content = connection.scalar(select(blobs.c.content).where(_is(tenant_id, sha256)))
        return None if content is None else _intact(tenant_id, sha256, content)

    def has(self, tenant_id: str, sha256: str, connection: Connection) -> bool:
        return connection.scalar(select(blobs.c.sha256).where(_is(tenant_id, sha256))) is not None

    def delete(self, tenant_id: str, sha256: str, connection: Connection) -> None:
        connection.execute(delete(blobs).where(_is(tenant_id, sha256)))

    def written_before(self, moment: datetime) -> Iterator[Blob]:
        with self._database.reading() as connection:
            old = select(blobs.c.tenant_id, blobs.c.sha256).where(blobs.c.written_at < moment)
            found = [Blob(row.tenant_id, row.sha256) for row in connection.execute(old)]
        yield from found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def use(connection: Connection, store: BlobStore, tenant_id: str, case_id: str, named: Mapping[str, str]) -> None:
    """Write down that the case uses these blobs: what for -> SHA-256. Raises Refusal UNAVAILABLE when one of them was
    removed since it was put: another case let go of the same content in this moment."""
    lock_chain(connection, tenant_id)
    for sha256 in named.values():
        if not store.has(tenant_id, sha256, connection):
            raise unavailable(f"content {sha256} was erased while it was being stored; send it again", 0.0)
    if named:
        row = {"case_id": case_id, "tenant_id": tenant_id}
        rows = [{**row, "use": purpose, "sha256": sha256} for purpose, sha256 in named.items()]
        connection.execute(insert(blob_uses), rows)


def forget(connection: Connection, case_id: str, purposes: Iterable[str] | None = None) -> set[str]:
    """The case uses these blobs no more (None: none at all). Their SHA-256s, for ``remove_unused``."""
    mine = blob_uses.c.case_id == case_id
    chosen = mine if purposes is None else mine & blob_uses.c.use.in_(list(purposes))
    forgotten = set(connection.scalars(select(blob_uses.c.sha256).where(chosen)))
    connection.execute(delete(blob_uses).where(chosen))
    return forgotten


def remove_unused(connection: Connection, store: BlobStore, tenant_id: str, sha256s: Iterable[str]) -> int:
    """Remove those that no case of the tenant uses; how many they were. A file does not come back when a transaction
    fails: whatever made these blobs unused must be committed, or not matter."""
    lock_chain(connection, tenant_id)
    among = blob_uses.c.sha256.in_(list(sha256s))
    used = set(connection.scalars(select(blob_uses.c.sha256).where(blob_uses.c.tenant_id == tenant_id, among)))
    unused = sorted(set(sha256s) - used)
    for sha256 in unused:
        store.delete(tenant_id, sha256, connection)
    return len(unused)


def _is(tenant_id: str, sha256: str):
    return (blobs.c.tenant_id == tenant_id) & (blobs.c.sha256 == sha256)


def _can_be(tenant_id: str, sha256: str) -> bool:
    return bool(_TENANT.fullmatch(tenant_id) and _SHA256.fullmatch(sha256))


def _intact(tenant_id: str, sha256: str, content: bytes) -> bytes:
    found = digest(content)
    if found == sha256:
        return content
    raise DamagedBlob(
        f"blob {sha256} of tenant {tenant_id} is damaged: its {len(content)} bytes have SHA-256 {found}; "
        "restore it from a backup, or erase its case"
    )


def _no_disk(err: OSError) -> Refusal:
    return unavailable(f"the blob store does not answer now ({err.strerror}); try again")


def _renew(file: Path, content: bytes) -> bool:
    """Whether the content was there, unharmed. It counts as written now."""
    with suppress(FileNotFoundError):
        if file.read_bytes() == content:
            os.utime(file)
            return True
    return False


def _write_atomically(file: Path, content: bytes) -> None:
    """A reader sees all of it or nothing, and so does who starts again after a power cut."""
    _make_folder(file.parent)
    descriptor, partial = tempfile.mkstemp(dir=file.parent, suffix=_PARTIAL)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
    except BaseException:
        os.unlink(partial)
        raise
    sync_folder(file.parent)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    sync_folder(folder.parent)
