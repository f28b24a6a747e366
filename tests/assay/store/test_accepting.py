"""Whole cases in one transaction, and who is woken by news of them."""

from __future__ import annotations

from sqlalchemy import text
from tests.assay.store.making import CLAIM, Bench, a_photo, refused

from assay.cases import Case, CaseState, Lane
from assay.errors import Reason
from assay.settings import Settings
from assay.store import Given
from assay.store.database import Database
from assay.store.news import News
from assay.views import VIEWS, View


def given(view: View, content: bytes = b"original") -> Given:
    original = content + view.value.encode()
    return Given(a_photo(view, original), original, b"small " + original)


def accepted(bench: Bench, key: str = "", views: tuple[View, ...] = VIEWS) -> Case:
    photos = [given(view) for view in views]
    return bench.store.cases.accept(bench.tenant.id, CLAIM, Lane.NORMAL, photos, "Locker 7", key, "00-ab-cd-01")


def test_it_is_a_case_with_photographs_that_is_queued(bench: Bench) -> None:
    case = accepted(bench)
    assert case == bench.store.cases.get(bench.tenant.id, case.id)
    assert (case.state, case.customer_reference) == (CaseState.QUEUED, "Locker 7")
    assert case.photos == {view: given(view).photo for view in VIEWS}
    pictures = bench.store.cases.pictures(bench.tenant.id, case.id)
    stored = [bench.store.blobs.get(bench.tenant.id, pictures[view]) for view in VIEWS]
    assert stored == [given(view).picture for view in VIEWS]
    (job,) = bench.store.outbox.pending(10)
    assert (job.case_id, job.traceparent) == (case.id, "00-ab-cd-01")
    actions = [entry.action for entry in bench.store.audit.entries(bench.tenant.id, subject=case.id)]
    assert actions == ["case.created", *["photo.put"] * len(VIEWS), "case.submitted"]
    assert bench.store.audit.verify(bench.tenant.id) is None


def test_its_key_again_is_the_same_case(bench: Bench) -> None:
    case = accepted(bench, "order-1")
    assert accepted(bench, "order-1") == case
    assert len(bench.store.outbox.pending(10)) == 1


def test_a_draft_of_its_key_is_filled_and_queued(bench: Bench) -> None:
    draft = bench.store.cases.create(bench.tenant.id, CLAIM, Lane.NORMAL, "Locker 7", "order-2")
    earlier = given(View.LOGO, b"earlier")
    bench.store.cases.put_photo(bench.tenant.id, draft.id, *earlier)
    case = accepted(bench, "order-2")
    assert (case.id, case.state) == (draft.id, CaseState.QUEUED)
    assert case.photos[View.LOGO] == given(View.LOGO).photo
    assert bench.store.blobs.get(bench.tenant.id, earlier.photo.sha256) is None


def test_a_full_queue_leaves_nothing_behind(bench: Bench) -> None:
    bench.queued()
    small = bench.with_settings(most_waiting=1)
    with refused(Reason.OVERLOADED, "1 cases wait; at most 1 may"):
        small.cases.check_room()
    with refused(Reason.OVERLOADED, "1 cases wait; at most 1 may"):
        small.cases.accept(bench.tenant.id, CLAIM, Lane.NORMAL, [given(View.LOGO)])
    found, _ = small.cases.find(bench.tenant.id)
    assert [case.state for case in found] == [CaseState.QUEUED]
    small.close()


def test_without_photographs_it_is_no_case(bench: Bench) -> None:
    with refused(Reason.INVALID, "has no photograph; expected at least one"):
        accepted(bench, views=())
    assert bench.store.cases.find(bench.tenant.id)[0] == []


def test_changes_ring_for_who_follows_the_case(bench: Bench) -> None:
    case, other = bench.draft(), bench.draft()
    bell = bench.store.news.bell(case.id)
    bench.store.cases.submit(bench.tenant.id, case.id)
    bench.store.cases.note_stages(case.id, {"look": 61.0})
    bench.finish(case.id)
    bench.store.retention.erase(bench.tenant.id, case.id, "system")
    assert bell.rings == 4
    bench.store.cases.submit(bench.tenant.id, other.id)
    bench.store.cases.fail(other.id, "the lens was down for a day")
    assert bell.rings == 4


def test_a_bell_is_one_for_all_who_hold_it_and_gone_with_them() -> None:
    news = News()
    bell = news.bell("case_a")
    news.tell("case_a")
    assert news.bell("case_a") is bell
    del bell
    assert news.bell("case_a").rings == 0


def test_a_writer_waits_for_the_disk_where_it_must(settings: Settings) -> None:
    database = Database(settings.database_url)
    asked = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    waits, hastens = (2, 1) if database.is_sqlite else ("on", "off")
    for is_durable in (True, False, True):  # the connection is one
        with database.writing(is_durable) as connection:
            assert connection.scalar(text(asked)) == (waits if is_durable else hastens)
    database.close()
