"""References in a folder: SQLite rows beside files named after their content."""

from __future__ import annotations

import sqlite3
import threading
from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assay.cases import Claim
from assay.errors import unavailable
from assay.references.content import Header, from_npy, header_of, npy_bytes, restored, sha256, version_taken, written
from assay.references.recent import RecentSnapshots
from assay.references.search import Hit, nearest_rows
from assay.references.shards import Shards
from assay.references.snapshot import Neighbour, ReferencePhoto, Snapshot
from assay.views import VIEWS, View
from assay.vision.lens import EMBEDDING, Floats

BUSY_S = 30.0  # that a writer waits for another
_TABLES = """
CREATE TABLE IF NOT EXISTS snapshots (
    digest TEXT PRIMARY KEY, brand TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL, header BLOB NOT NULL,
    UNIQUE (brand, model, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS indexes (view TEXT PRIMARY KEY, shard TEXT NOT NULL, moment TEXT NOT NULL) WITHOUT ROWID;
"""
_LATEST = """
SELECT digest, header FROM snapshots AS s
WHERE version = (SELECT max(version) FROM snapshots WHERE brand = s.brand AND model = s.model) ORDER BY brand, model
"""


class _Index(NamedTuple):
    """The embeddings of one view of all models' latest snapshots, one under the other."""

    moment: str  # the digest of the latest snapshots' digests
    embeddings: Floats  # [references, EMBEDDING], memory-mapped
    owners: Sequence[tuple[Claim, tuple[ReferencePhoto, ...]]]
    ends: Sequence[int]  # where each owner's rows end

    def neighbour(self, hit: Hit) -> Neighbour:
        owner = bisect_right(self.ends, hit.row)
        claim, photos = self.owners[owner]
        return Neighbour(claim, photos[hit.row - self.ends[owner] + len(photos)], hit.distance)


class FileReferences:
    """Any number of threads and processes may read while one enrols; writers take turns."""

    def __init__(self, folder: Path) -> None:
        self._arrays = Shards(folder / "arrays", ".npy")
        self._indexes = Shards(folder / "indexes", ".npy")
        self._pictures = Shards(folder / "pictures", ".jpg")
        self._rows = folder / "references.sqlite"
        self._recent = RecentSnapshots(self._read)
        self._known: dict[View, _Index] = {}
        self._headers: dict[str, Header] = {}
        self._turn = threading.Lock()
        with self._connected() as rows:
            rows.execute("PRAGMA journal_mode = WAL")
            rows.executescript(_TABLES)

    def models(self) -> list[Claim]:
        with self._connected() as rows:
            found = rows.execute("SELECT DISTINCT brand, model FROM snapshots ORDER BY brand, model").fetchall()
        return [Claim(*row) for row in found]

    def latest(self, claim: Claim) -> Snapshot | None:
        query = "SELECT digest FROM snapshots WHERE brand = ? AND model = ? ORDER BY version DESC LIMIT 1"
        with self._connected() as rows:
            found = rows.execute(query, (claim.brand, claim.model)).fetchone()
        return None if found is None else self._recent.get(found[0])

    def by_digest(self, digest: str) -> Snapshot | None:
        return self._recent.get(digest)

    def picture(self, picture_sha256: str) -> bytes | None:
        return self._pictures.read(picture_sha256) if self._pictures.holds(picture_sha256) else None

    def add(self, snapshot: Snapshot, pictures: Mapping[str, bytes]) -> None:
        """Files first, then the rows that name them, in one transaction. Raises Refusal CONFLICT when the model has
        that version."""
        header, arrays = written(snapshot)
        assert sha256(header) == snapshot.digest, "the snapshot is not sealed"
        for content in arrays.values():
            self._arrays.write(content)
        for content in pictures.values():
            self._pictures.write(content)
        claim = snapshot.claim
        with self._connected() as rows:
            rows.execute("BEGIN IMMEDIATE")
            values = (snapshot.digest, claim.brand, claim.model, snapshot.version, header)
            try:
                rows.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", values)
            except sqlite3.IntegrityError as err:
                raise version_taken(snapshot) from err
            stale = self._merge(rows)
            rows.execute("COMMIT")
        for shard in stale:
            self._indexes.remove(shard)

    def nearest(self, view: View, embeddings: Sequence[Floats], most: int) -> list[list[Neighbour]]:
        index = self._index(view)
        if index is None:
            return [[] for _ in embeddings]
        found = nearest_rows(index.embeddings, embeddings, most)
        return [[index.neighbour(hit) for hit in hits] for hits in found]

    def _read(self, digest: str) -> Snapshot | None:
        with self._connected() as rows:
            found = rows.execute("SELECT header FROM snapshots WHERE digest = ?", (digest,)).fetchone()
        if found is None:
            return None
        if sha256(found[0]) != digest:
            raise unavailable(f"{self._rows}: snapshot {digest} is damaged; restore it from a backup")
        return restored(found[0], lambda name: from_npy(self._arrays.read(name)))

    def _merge(self, rows: sqlite3.Connection) -> list[str]:
        """Write each view's index anew; the shards that no row names any more."""
        before = {shard for (shard,) in rows.execute("SELECT shard FROM indexes")}
        latest = self._latest_headers(rows)
        moment = sha256("".join(latest).encode())
        for view in VIEWS:
            parts = [from_npy(self._arrays.read(h.embeddings[view])) for h in latest.values() if view in h.embeddings]
            merged = np.concatenate(parts) if parts else np.empty((0, EMBEDDING), np.float32)
            shard = self._indexes.write(npy_bytes(merged))
            rows.execute("INSERT OR REPLACE INTO indexes VALUES (?, ?, ?)", (view.value, shard, moment))
        return sorted(before - {shard for (shard,) in rows.execute("SELECT shard FROM indexes")})

    def _latest_headers(self, rows: sqlite3.Connection) -> dict[str, Header]:
        """Of all models in order, by digest. One that was read before is not parsed again: it never changes."""
        found = rows.execute(_LATEST).fetchall()
        self._headers = {digest: self._headers.get(digest) or header_of(header) for digest, header in found}
        return self._headers

    def _index(self, view: View) -> _Index | None:
        """The view's index as it is now; None before anything was enrolled."""
        for _ in range(2):
            try:
                return self._present_index(view)
            except FileNotFoundError:
                continue  # an enrolment replaced it between the row and the file
        raise unavailable(f"{self._rows}: the index of {view.title} is not there; enrol any model to write it again")

    def _present_index(self, view: View) -> _Index | None:
        with self._turn, self._connected() as rows:
            rows.execute("BEGIN")  # row and headers of one moment
            found = rows.execute("SELECT shard, moment FROM indexes WHERE view = ?", (view.value,)).fetchone()
            if found is None:
                return None
            shard, moment = found
            known = self._known.get(view)
            if known is None or known.moment != moment:
                known = self._known[view] = self._opened(view, shard, moment, self._latest_headers(rows))
            return known

    def _opened(self, view: View, shard: str, moment: str, latest: Mapping[str, Header]) -> _Index:
        owners = [(h.claim, h.photos[view]) for h in latest.values() if view in h.photos]
        ends = list(accumulate(len(photos) for _, photos in owners))
        return _Index(moment, self._indexes.map(shard), owners, ends)

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        """A connection for one call. Raises Refusal UNAVAILABLE when SQLite cannot do what is asked."""
        try:
            rows = sqlite3.connect(self._rows, timeout=BUSY_S, isolation_level=None)
        except sqlite3.Error as err:
            raise unavailable(f"{self._rows}: {err}") from err
        try:
            yield rows
        except sqlite3.Error as err:
            raise unavailable(f"{self._rows}: {err}") from err
        finally:
            rows.close()
