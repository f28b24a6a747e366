"""The photographs of a case that is still a draft, and where the same picture came before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, tuple_, union

from assay.cases import CaseState, Photo
from assay.errors import Reason, Refusal, not_found
from assay.evidence import SAME_PICTURE_BITS
from assay.store.audit import append
from assay.store.blobs import digest, forget, remove_unused, use
from assay.store.foundation import SYSTEM, Foundation
from assay.store.rows import bands, case_row, photo_values
from assay.store.tables import BANDS, cases, photos
from assay.views import View

_LARGEST_DISTANCE = 15  # beyond it, looking in bands costs more than looking at all


class Reuse(NamedTuple):
    """An earlier appearance of a picture."""

    case_id: str
    view: View
    how: str  # "same file" or "same picture"


class Given(NamedTuple):
    """A photograph to keep."""

    photo: Photo
    original: bytes  # as it came
    picture: bytes  # the JPEG that reports show


class Photographs:
    """Part of ``Cases``: what concerns photographs."""

    def __init__(self, foundation: Foundation) -> None:
        self._database = foundation.database
        self._blobs = foundation.blobs
        self._clock = foundation.clock

    def put_photo(
        self, tenant_id: str, case_id: str, photo: Photo, original: bytes, picture: bytes, actor: str = SYSTEM
    ) -> None:
        """Keep a photograph in place of the view's earlier one: the original's bytes, and the JPEG that reports show.

        Raises Refusal NOT_FOUND, CONFLICT when the case is no draft any more, UNAVAILABLE.
        """
        with self._database.reading() as connection:  # before anything is written
            _check_draft(case_row(connection, case_id, tenant_id))
        shown = self._put_blobs(tenant_id, [Given(photo, original, picture)])
        with self._database.writing() as connection:
            _check_draft(case_row(connection, case_id, tenant_id, is_locked=True))
            replaced = self._drop(connection, case_id, [photo.view])
            self._keep(connection, tenant_id, case_id, shown, actor)
        self._remove(tenant_id, replaced)

    def remove_photo(self, tenant_id: str, case_id: str, view: View, actor: str = SYSTEM) -> None:
        """Raises Refusal NOT_FOUND when there is no such case or photograph, CONFLICT when the case is no draft."""
        with self._database.writing() as connection:
            _check_draft(case_row(connection, case_id, tenant_id, is_locked=True))
            removed = self._drop(connection, case_id, [view])
            if not removed:
                raise not_found(f"case {case_id} has no photograph of the {view.title}")
            append(connection, self._clock(), tenant_id, actor, "photo.removed", case_id, {"view": view.value})
        self._remove(tenant_id, removed)

    def pictures(self, tenant_id: str, case_id: str) -> Mapping[View, str]:
        """The SHA-256 of each photograph's picture: the upright JPEG without metadata. Raises Refusal NOT_FOUND."""
        with self._database.reading() as connection:
            case_row(connection, case_id, tenant_id)
            query = select(photos.c.view, photos.c.picture_sha256).where(photos.c.case_id == case_id)
            found = {row.view: row.picture_sha256 for row in connection.execute(query)}
        return {view: found[view] for view in View if view in found}

    def reused(self, tenant_id: str, case_id: str, photo: Photo, most_distance: int = SAME_PICTURE_BITS) -> list[Reuse]:
        """Where the tenant's earlier cases have the same file, for any view, or the same picture for this view:
        perceptual hashes that differ in at most ``most_distance`` (<= 15) of 64 bits. Earliest case first.

        ``photo`` need not be stored. Raises Refusal NOT_FOUND.
        """
        assert 0 <= most_distance <= _LARGEST_DISTANCE, f"distance {most_distance}"
        with self._database.reading() as connection:
            case = case_row(connection, case_id, tenant_id)
            found = _same_files(connection, case, photo)
            files = {(reuse.case_id, reuse.view) for reuse in found}
            found += [r for r in _same_pictures(connection, case, photo, most_distance) if r[:2] not in files]
            order = _by_time(connection, {reuse.case_id for reuse in found}) if found else {}
        return sorted(found, key=lambda reuse: (order[reuse.case_id], reuse.case_id, reuse.view.value))

    def _put_blobs(self, tenant_id: str, given: Sequence[Given]) -> list[tuple[Photo, str]]:
        """The photographs, durable, each with the SHA-256 of its picture."""
        for each in given:
            assert digest(each.original) == each.photo.sha256, "the photo's SHA-256 is that of the original"
        originals, pictures = [each.original for each in given], [each.picture for each in given]
        shown = self._blobs.put_all(tenant_id, originals + pictures)[len(given) :]
        return [(each.photo, sha256) for each, sha256 in zip(given, shown, strict=True)]

    def _keep(
        self, connection: Connection, tenant_id: str, case_id: str, shown: Sequence[tuple[Photo, str]], actor: str
    ) -> None:
        """Photographs, each with the SHA-256 of its picture, of views that have none."""
        named: dict[str, str] = {}
        for photo, picture in shown:
            values = photo_values(photo, picture)
            connection.execute(insert(photos).values(case_id=case_id, tenant_id=tenant_id, **values))
            named |= zip(_purposes(photo.view), (photo.sha256, picture), strict=True)
            details = {"view": photo.view.value, "sha256": photo.sha256}
            append(connection, self._clock(), tenant_id, actor, "photo.put", case_id, details)
        use(connection, self._blobs, tenant_id, case_id, named)

    def _drop(self, connection: Connection, case_id: str, views: Sequence[View]) -> set[str]:
        """The blobs that the views' photographs had; none: there were no photographs."""
        connection.execute(delete(photos).where(photos.c.case_id == case_id, photos.c.view.in_(views)))
        return forget(connection, case_id, [purpose for view in views for purpose in _purposes(view)])

    def _remove(self, tenant_id: str, sha256s: set[str]) -> None:
        if sha256s:
            with self._database.writing() as connection:
                remove_unused(connection, self._blobs, tenant_id, sha256s)


def _purposes(view: View) -> tuple[str, str]:
    """What the two blobs of a photograph are for."""
    return f"original/{view.value}", f"picture/{view.value}"


def _check_draft(row: Any) -> None:
    if row.state is not CaseState.DRAFT:
        raise Refusal(Reason.CONFLICT, f"case {row.id} is {row.state.value}; photographs change in a draft alone")


def _earlier_than(case: Any) -> Any:
    return tuple_(cases.c.created_at, cases.c.id) < tuple_(case.created_at, case.id)


def _same_files(connection: Connection, case: Any, photo: Photo) -> list[Reuse]:
    query = select(photos.c.case_id, photos.c.view).join(cases, cases.c.id == photos.c.case_id)
    same = (photos.c.tenant_id == case.tenant_id) & (photos.c.sha256 == photo.sha256)
    rows = connection.execute(query.where(same, _earlier_than(case)))
    return [Reuse(row.case_id, row.view, "same file") for row in rows]


def _same_pictures(connection: Connection, case: Any, photo: Photo, most_distance: int) -> list[Reuse]:
    """Exact: of four bands that differ in ``most_distance`` bits together, one differs in a quarter of them at most.
    Photographs with such a band come from the indexes, and their whole hashes are compared."""
    near = [_near_band(case.tenant_id, photo, i, most_distance // BANDS) for i in range(BANDS)]
    candidates = union(*near).subquery()
    query = select(candidates).join(cases, cases.c.id == candidates.c.case_id).where(_earlier_than(case))
    return [
        Reuse(row.case_id, photo.view, "same picture")
        for row in connection.execute(query)
        if (row.perceptual_hash ^ photo.perceptual_hash).bit_count() <= most_distance
    ]


def _near_band(tenant_id: str, photo: Photo, band: int, radius: int) -> Any:
    values = list(_within(bands(photo.perceptual_hash)[band], radius))
    own = (photos.c.tenant_id == tenant_id) & (photos.c.view == photo.view)
    return select(photos.c.case_id, photos.c.perceptual_hash).where(own, photos.c[f"band_{band}"].in_(values))


def _within(value: int, radius: int) -> Iterator[int]:
    """The 16-bit numbers that differ from ``value`` in at most ``radius`` bits."""
    for count in range(radius + 1):
        for flipped in combinations(range(16), count):
            yield value ^ sum(1 << bit for bit in flipped)


def _by_time(connection: Connection, case_ids: set[str]) -> dict[str, Any]:
    rows = connection.execute(select(cases.c.id, cases.c.created_at).where(cases.c.id.in_(list(case_ids))))
    return {row.id: row.created_at for row in rows}
