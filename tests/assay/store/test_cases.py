from __future__ import annotations

import pytest
from tests.assay.store.making import CLAIM, Bench, a_photo, files_in, refused, sha256

from assay.cases import CaseState, Claim, Lane, Verdict
from assay.errors import Reason
from assay.views import VIEWS, View


class TestDrafts:
    def test_a_case_comes_back_as_it_was_made(self, bench: Bench) -> None:
        made = bench.store.cases.create(bench.tenant.id, Claim("Żoé", "N° 5 🧵"), Lane.EXPRESS, "Fach 'B'; --")
        assert bench.store.cases.get(bench.tenant.id, made.id) == made
        assert made.state is CaseState.DRAFT

    def test_a_photo_comes_back_as_it_was_put(self, bench: Bench) -> None:
        case = bench.draft([])
        photo = a_photo(View.LOGO, b"original", perceptual_hash=0xFFFF_0000_FFFF_0001)
        bench.store.cases.put_photo(bench.tenant.id, case.id, photo, b"original", b"picture")
        assert bench.store.cases.get(bench.tenant.id, case.id).photos == {View.LOGO: photo}
        assert bench.store.blobs.get(bench.tenant.id, photo.sha256) == b"original"
        picture = bench.store.cases.pictures(bench.tenant.id, case.id)[View.LOGO]
        assert bench.store.blobs.get(bench.tenant.id, picture) == b"picture"

    def test_photos_are_in_the_order_of_the_views(self, bench: Bench) -> None:
        assert tuple(bench.draft(VIEWS[::-1]).photos) == VIEWS

    def test_a_photo_replaces_the_one_of_its_view_and_its_bytes(self, bench: Bench) -> None:
        case = bench.draft([View.LOGO])
        new = a_photo(View.LOGO, b"sharper")
        bench.store.cases.put_photo(bench.tenant.id, case.id, new, b"sharper", b"picture")
        assert bench.store.cases.get(bench.tenant.id, case.id).photos == {View.LOGO: new}
        assert bench.store.blobs.get(bench.tenant.id, case.photos[View.LOGO].sha256) is None
        assert len(files_in(bench.settings.home / "blobs")) == 2

    def test_the_same_photo_again_keeps_its_bytes(self, bench: Bench) -> None:
        case = bench.draft([View.LOGO], salt="same")
        original = b"same logo"
        bench.store.cases.put_photo(
            bench.tenant.id, case.id, a_photo(View.LOGO, original), original, b"small " + original
        )
        assert bench.store.blobs.get(bench.tenant.id, sha256(original)) == original

    def test_a_removed_photo_is_gone(self, bench: Bench) -> None:
        case = bench.draft([View.LOGO, View.LINING])
        bench.store.cases.remove_photo(bench.tenant.id, case.id, View.LOGO)
        assert set(bench.store.cases.get(bench.tenant.id, case.id).photos) == {View.LINING}
        assert bench.store.blobs.get(bench.tenant.id, case.photos[View.LOGO].sha256) is None
        with refused(Reason.NOT_FOUND, "no photograph of the logo"):
            bench.store.cases.remove_photo(bench.tenant.id, case.id, View.LOGO)

    def test_a_submitted_case_takes_no_photos(self, bench: Bench) -> None:
        case = bench.queued()
        with refused(Reason.CONFLICT, "is queued; photographs change in a draft alone"):
            bench.store.cases.put_photo(bench.tenant.id, case.id, a_photo(View.LOGO, b"o"), b"o", b"p")
        with refused(Reason.CONFLICT, "is queued"):
            bench.store.cases.remove_photo(bench.tenant.id, case.id, View.EXTERIOR)
        assert bench.store.blobs.get(bench.tenant.id, sha256(b"o")) is None, "refused before anything was written"

    @pytest.mark.parametrize("text", ["nul \0", "half \ud800", "x" * 501])
    def test_text_that_no_database_keeps_is_refused(self, bench: Bench, text: str) -> None:
        with refused(Reason.INVALID, "the customer reference h"):
            bench.store.cases.create(bench.tenant.id, CLAIM, Lane.NORMAL, text)


class TestIdempotency:
    def test_the_same_key_makes_one_case(self, bench: Bench) -> None:
        create, tenant_id = bench.store.cases.create, bench.tenant.id
        first = create(tenant_id, CLAIM, Lane.NORMAL, "A", "key")
        again = create(tenant_id, CLAIM, Lane.NORMAL, "A", "key")
        assert again == first
        actions = [entry.action for entry in bench.store.audit.entries(tenant_id)]
        assert actions.count("case.created") == 1

    def test_no_key_makes_a_case_each_time(self, bench: Bench) -> None:
        create, tenant_id = bench.store.cases.create, bench.tenant.id
        assert create(tenant_id, CLAIM, Lane.NORMAL).id != create(tenant_id, CLAIM, Lane.NORMAL).id

    def test_one_key_for_two_things_is_a_conflict(self, bench: Bench) -> None:
        bench.store.cases.create(bench.tenant.id, CLAIM, Lane.NORMAL, "A", "key")
        with refused(Reason.CONFLICT, "take a new key"):
            bench.store.cases.create(bench.tenant.id, CLAIM, Lane.NORMAL, "B", "key")

    def test_two_tenants_may_use_the_same_key(self, bench: Bench) -> None:
        other = bench.store.tenants.create("Other")
        mine = bench.store.cases.create(bench.tenant.id, CLAIM, Lane.NORMAL, "", "key")
        assert bench.store.cases.create(other.id, CLAIM, Lane.NORMAL, "", "key").id != mine.id


class TestSubmitting:
    def test_it_queues_the_case_with_its_job(self, bench: Bench) -> None:
        draft = bench.draft([View.LOGO])
        case = bench.store.cases.submit(bench.tenant.id, draft.id, "00-ab-cd-01")
        assert case.state is CaseState.QUEUED
        assert case.submitted_at is not None
        (job,) = bench.store.outbox.pending(10)
        assert (job.case_id, job.lane, job.traceparent) == (case.id, Lane.NORMAL, "00-ab-cd-01")

    def test_again_changes_nothing(self, bench: Bench) -> None:
        case = bench.queued()
        assert bench.store.cases.submit(bench.tenant.id, case.id) == case
        assert len(bench.store.outbox.pending(10)) == 1
        bench.finish(case.id)
        assert bench.store.cases.submit(bench.tenant.id, case.id).state is CaseState.REPORTED

    def test_a_case_without_photos_is_refused(self, bench: Bench) -> None:
        with refused(Reason.INVALID, "has no photograph; expected at least one"):
            bench.queued([])

    def test_a_full_queue_refuses_until_a_case_ends(self, bench: Bench) -> None:
        small = bench.with_settings(most_waiting=2)
        first, _ = bench.queued(), bench.queued()
        third = bench.draft()
        with refused(Reason.OVERLOADED, "2 cases wait; at most 2 may; try again in 5 s") as caught:
            small.cases.submit(bench.tenant.id, third.id)
        assert caught.value.retry_after_s == 5.0
        assert small.cases.get(bench.tenant.id, third.id).state is CaseState.DRAFT
        assert small.cases.submit(bench.tenant.id, first.id).state is CaseState.QUEUED, "it is accepted already"
        bench.finish(first.id)
        assert small.cases.submit(bench.tenant.id, third.id).state is CaseState.QUEUED
        small.close()


class TestEnding:
    def test_finish_gives_the_report_and_all_that_goes_with_it(self, bench: Bench) -> None:
        bench.store.tenants.update(bench.tenant.id, webhook_url="https://example.test/hook")
        case = bench.queued()
        assert bench.finish(case.id, Verdict.NOT_CONSISTENT, risk=0.7)
        now = bench.store.cases.get(bench.tenant.id, case.id)
        assert (now.state, now.verdict) == (CaseState.REPORTED, Verdict.NOT_CONSISTENT)
        report = bench.store.reports.get(bench.tenant.id, case.id)
        assert report.id == now.report_id
        assert report.digest == sha256(report.content)
        assert bench.store.blobs.get(bench.tenant.id, sha256(b"map of " + case.id.encode())) is not None
        assert bench.store.outbox.pending(10) == []
        (delivery,) = bench.store.webhooks.due()
        assert delivery.event == "case.reported"
        (review,) = bench.store.reviews.waiting(bench.tenant.id)
        assert (review.case_id, review.risk, review.report_verdict) == (case.id, 0.7, Verdict.NOT_CONSISTENT)
        assert bench.store.audit.entries(bench.tenant.id, subject=case.id)[-1].details["digest"] == report.digest

    def test_the_second_finish_changes_nothing(self, bench: Bench) -> None:
        case = bench.reported()
        before = bench.store.reports.get(bench.tenant.id, case.id)
        assert not bench.store.cases.finish(case.id, "other", Verdict.INCONCLUSIVE, None, b"other", {}, 0.9)
        assert bench.store.reports.get(bench.tenant.id, case.id) == before
        assert bench.store.cases.work(case.id) == case
        assert bench.store.reviews.waiting(bench.tenant.id) == []

    def test_a_draft_cannot_be_finished(self, bench: Bench) -> None:
        case = bench.draft()
        with refused(Reason.CONFLICT, "was not submitted"):
            bench.finish(case.id)

    def test_a_failed_case_can_be_queued_again_as_a_new_job(self, bench: Bench) -> None:
        case = bench.queued()
        (first,) = bench.store.outbox.pending(10)
        assert bench.store.cases.fail(case.id, "the engine\0 crashed \ud800")
        assert not bench.store.cases.fail(case.id, "again")
        failed = bench.store.cases.work(case.id)
        assert (failed.state, failed.failure) == (CaseState.FAILED, "the engine crashed ?")
        assert bench.store.outbox.pending(10) == []
        assert bench.store.cases.requeue(case.id).state is CaseState.QUEUED
        (second,) = bench.store.outbox.pending(10)
        assert second.id != first.id
        with refused(Reason.CONFLICT, "is queued; only a failed case"):
            bench.store.cases.requeue(case.id)

    def test_a_report_is_known_to_the_public_by_its_id(self, bench: Bench) -> None:
        case = bench.reported()
        public = bench.store.reports.by_id(case.report_id)
        assert public.digest == bench.store.reports.get(bench.tenant.id, case.id).digest
        assert (public.verdict, public.is_erased) == (Verdict.CONSISTENT, False)
        for unknown in ("report_x", "nul\0", ""):
            with refused(Reason.NOT_FOUND, "there is no report"):
                bench.store.reports.by_id(unknown)
            with refused(Reason.NOT_FOUND, "there is no report"):
                bench.store.reports.issued(unknown)
        assert bench.store.reports.issued(case.report_id) == bench.store.reports.get(bench.tenant.id, case.id).content

    def test_a_case_without_a_report_yet_says_so(self, bench: Bench) -> None:
        with refused(Reason.NOT_FOUND, "has no report yet"):
            bench.store.reports.get(bench.tenant.id, bench.queued().id)

    def test_stages_are_told_in_order_and_once(self, bench: Bench) -> None:
        case = bench.queued()
        bench.store.cases.note_stages(case.id, {"features": 9.0})
        bench.store.cases.note_stages(case.id, {"search": 1.0, "compare": 4.0})
        bench.store.cases.note_stages(case.id, {"features": 8.0})
        told = bench.store.cases.progress(bench.tenant.id, case.id)
        assert told == (("search", 1.0), ("compare", 4.0), ("features", 8.0))

    def test_counts(self, bench: Bench) -> None:
        bench.draft()
        bench.reported(Verdict.INCONCLUSIVE, risk=0.5)
        waiting = bench.queued()
        counts = bench.store.cases.counts()
        states = {state: n for state, n in counts.by_state.items() if n}
        assert states == {CaseState.DRAFT: 1, CaseState.QUEUED: 1, CaseState.REPORTED: 1}
        assert {verdict: n for verdict, n in counts.by_verdict.items() if n} == {Verdict.INCONCLUSIVE: 1}
        assert (counts.unpublished, counts.waiting_reviews) == (1, 1)
        assert counts.oldest_waiting_at == waiting.submitted_at

    def test_reports_of_erased_cases_count_on(self, bench: Bench) -> None:
        case = bench.reported(Verdict.INCONCLUSIVE, risk=0.5)
        bench.store.retention.erase(bench.tenant.id, case.id, "key_1")
        counts = bench.store.cases.counts()
        assert counts.by_verdict[Verdict.INCONCLUSIVE] == 1
        assert (counts.by_state[CaseState.REPORTED], counts.by_state[CaseState.ERASED]) == (0, 1)
