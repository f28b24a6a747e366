"""References in PostgreSQL with the pgvector extension, for installations of several machines.

Embeddings are of type ``vector`` and have no index: every one is looked at, as a report says. Arrays and pictures lie
beside them under their hashes.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from assay.cases import Claim
from assay.errors import unavailable
from assay.references.content import Header, from_npy, header_of, restored, sha256, version_taken, written
from assay.references.recent import RecentSnapshots
from assay.references.snapshot import Neighbour, Snapshot
from assay.views import View
from assay.vision.lens import EMBEDDING, Floats

_LOCK = 0x4153534159  # of pg_advisory_xact_lock: one process makes the tables
_TABLES = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TABLE IF NOT EXISTS reference_snapshots (digest text PRIMARY KEY, brand text NOT NULL, model text NOT NULL,"
    " version integer NOT NULL, header bytea NOT NULL, UNIQUE (brand, model, version))",
    "CREATE TABLE IF NOT EXISTS reference_arrays (sha256 text PRIMARY KEY, content bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS reference_pictures (sha256 text PRIMARY KEY, content bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS reference_embeddings (brand text, model text, view text, position integer,"
    f" digest text NOT NULL, embedding vector({EMBEDDING}) NOT NULL, PRIMARY KEY (view, brand, model, position))",
)
_EXTENSION = text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
_MODELS = text("SELECT DISTINCT brand, model FROM reference_snapshots ORDER BY brand, model")
_LATEST = text(
    "SELECT digest FROM reference_snapshots WHERE brand = :brand AND model = :model ORDER BY version DESC LIMIT 1"
)
_HEADER = text("SELECT header FROM reference_snapshots WHERE digest = :digest")
_ARRAY = text("SELECT content FROM reference_arrays WHERE sha256 = :sha256")
_PICTURE = text("SELECT content FROM reference_pictures WHERE sha256 = :sha256")
_ADD_ARRAY = text("INSERT INTO reference_arrays VALUES (:sha256, :content) ON CONFLICT DO NOTHING")
_ADD_PICTURE = text("INSERT INTO reference_pictures VALUES (:sha256, :content) ON CONFLICT DO NOTHING")
_ADD_SNAPSHOT = text("INSERT INTO reference_snapshots VALUES (:digest, :brand, :model, :version, :header)")
_FORGET = text("DELETE FROM reference_embeddings WHERE brand = :brand AND model = :model")
_ADD_EMBEDDING = text(
    "INSERT INTO reference_embeddings VALUES (:brand, :model, :view, :position, :digest, CAST(:embedding AS vector))"
)
_NEAREST = text(
    "SELECT digest, position, embedding <-> CAST(:embedding AS vector) AS distance FROM reference_embeddings"
    " WHERE view = :view ORDER BY distance, brand, model, position LIMIT :most"
)


class PgVectorReferences:
    """Any number of threads and machines may use the database at once. A lost connection is made again."""

    def __init__(self, url: str) -> None:
        """``url`` is postgresql+psycopg://user:password@host/database; nothing is asked of it yet."""
        self._engine = create_engine(url, pool_pre_ping=True)
        self._where = make_url(url).render_as_string(hide_password=True)
        self._recent = RecentSnapshots(self._read)
        self._headers: dict[str, Header] = {}
        self._is_ready = False
        self._turn = threading.Lock()

    def models(self) -> list[Claim]:
        with self._connected() as rows:
            return [Claim(*row) for row in rows.execute(_MODELS)]

    def latest(self, claim: Claim) -> Snapshot | None:
        with self._connected() as rows:
            digest = rows.execute(_LATEST, _keys(claim)).scalar()
        return None if digest is None else self._recent.get(digest)

    def by_digest(self, digest: str) -> Snapshot | None:
        return self._recent.get(digest)

    def picture(self, picture_sha256: str) -> bytes | None:
        with self._connected() as rows:
            content = rows.execute(_PICTURE, {"sha256": picture_sha256}).scalar()
        return None if content is None else bytes(content)

    def add(self, snapshot: Snapshot, pictures: Mapping[str, bytes]) -> None:
        """In one transaction. Raises Refusal CONFLICT when the model has that version."""
        header, arrays = written(snapshot)
        assert sha256(header) == snapshot.digest, "the snapshot is not sealed"
        known = {"digest": snapshot.digest, "version": snapshot.version, "header": header}
        with self._connected() as rows:
            try:
                rows.execute(_ADD_SNAPSHOT, known | _keys(snapshot.claim))
            except IntegrityError as err:
                raise version_taken(snapshot) from err
            for statement, contents in ((_ADD_ARRAY, arrays), (_ADD_PICTURE, pictures)):
                if contents:
                    rows.execute(statement, [{"sha256": key, "content": value} for key, value in contents.items()])
            rows.execute(_FORGET, _keys(snapshot.claim))
            rows.execute(_ADD_EMBEDDING, _embedding_rows(snapshot))

    def nearest(self, view: View, embeddings: Sequence[Floats], most: int) -> list[list[Neighbour]]:
        with self._connected() as rows:
            return [self._nearest(rows, view, embedding, most) for embedding in embeddings]

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _nearest(self, rows: Connection, view: View, embedding: Floats, most: int) -> list[Neighbour]:
        values = {"view": view.value, "embedding": _vector(embedding), "most": most}
        found = rows.execute(_NEAREST, values).all()
        return [self._neighbour(rows, view, *row) for row in found]

    def _neighbour(self, rows: Connection, view: View, digest: str, position: int, distance: float) -> Neighbour:
        header = self._headers.get(digest)
        if header is None:
            content = rows.execute(_HEADER, {"digest": digest}).scalar_one()
            header = self._headers[digest] = header_of(self._checked(bytes(content), digest, "snapshot"))
        return Neighbour(header.claim, header.photos[view][position], distance)

    def _read(self, digest: str) -> Snapshot | None:
        with self._connected() as rows:
            header = rows.execute(_HEADER, {"digest": digest}).scalar()
            if header is None:
                return None
            whole = self._checked(bytes(header), digest, "snapshot")
            return restored(whole, lambda name: from_npy(self._array(rows, name)))

    def _array(self, rows: Connection, digest: str) -> bytes:
        content = rows.execute(_ARRAY, {"sha256": digest}).scalar()
        return self._checked(b"" if content is None else bytes(content), digest, "array")

    def _checked(self, content: bytes, digest: str, what: str) -> bytes:
        if sha256(content) != digest:
            raise unavailable(
                f"{self._where}: reference {what} {digest} is missing or damaged; restore the database from a backup"
            )
        return content

    @contextmanager
    def _connected(self) -> Generator[Connection]:
        """A transaction. Raises Refusal UNAVAILABLE when the database does not answer."""
        try:
            if not self._is_ready:
                self._make_tables()
            with self._engine.begin() as rows:
                yield rows
        except DBAPIError as err:
            raise unavailable(f"{self._where}: {err.orig}") from err

    def _make_tables(self) -> None:
        with self._turn, self._engine.begin() as rows:
            rows.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if not rows.execute(_EXTENSION).scalar():
                raise unavailable(
                    f"{self._where} has no extension 'vector'; install pgvector on the database's machine (Debian: "
                    'postgresql-NN-pgvector from apt.postgresql.org), or set references = "files"'
                )
            for statement in _TABLES:
                rows.execute(text(statement))
            self._is_ready = True


def _keys(claim: Claim) -> dict[str, Any]:
    return {"brand": claim.brand, "model": claim.model}


def _embedding_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {"view": view.value, "position": i, "digest": snapshot.digest, "embedding": _vector(embedding)}
        | _keys(snapshot.claim)
        for view, known in snapshot.views.items()
        for i, embedding in enumerate(known.embeddings)
    ]


def _vector(embedding: Floats) -> str:
    """As pgvector reads it; nine digits tell every float32 apart."""
    return f"[{','.join(f'{value:.9g}' for value in embedding)}]"
