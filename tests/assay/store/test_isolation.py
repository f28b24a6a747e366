"""Another tenant's things are not there: the same refusal, in the same words, as for what never was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.assay.store.making import Bench, a_photo

from assay.cases import Scope, Verdict
from assay.errors import Reason, Refusal
from assay.store import Store
from assay.views import View

Ask = Callable[[Store, str, str], Any]

ASKING: dict[str, Ask] = {
    "get": lambda store, tenant, case: store.cases.get(tenant, case),
    "put_photo": lambda store, tenant, case: store.cases.put_photo(tenant, case, a_photo(View.LOGO, b"o"), b"o", b"p"),
    "remove_photo": lambda store, tenant, case: store.cases.remove_photo(tenant, case, View.EXTERIOR),
    "pictures": lambda store, tenant, case: store.cases.pictures(tenant, case),
    "reused": lambda store, tenant, case: store.cases.reused(tenant, case, a_photo(View.LOGO, b"o")),
    "submit": lambda store, tenant, case: store.cases.submit(tenant, case),
    "progress": lambda store, tenant, case: store.cases.progress(tenant, case),
    "report": lambda store, tenant, case: store.reports.get(tenant, case),
    "erase": lambda store, tenant, case: store.retention.erase(tenant, case, "key_1"),
    "opine": lambda store, tenant, case: store.reviews.opine(tenant, case, "key_1", Verdict.CONSISTENT),
    "history": lambda store, tenant, case: store.reviews.history(tenant, case, "key_1"),
}


@pytest.mark.parametrize("how", ASKING)
def test_a_case_of_another_tenant_is_not_there(bench: Bench, how: str) -> None:
    stranger = bench.store.tenants.create("Stranger")
    case, report = bench.reported(risk=0.5), bench.store.reports
    said = {name: _refusal(bench, how, stranger.id, name) for name in (case.id, "case_0", "nul\0", "")}
    assert {refusal.reason for refusal in said.values()} == {Reason.NOT_FOUND}
    assert said[case.id].message.replace(case.id, "case_0") == said["case_0"].message
    assert bench.store.cases.get(bench.tenant.id, case.id) == case
    assert report.get(bench.tenant.id, case.id).id == case.report_id


def _refusal(bench: Bench, how: str, tenant_id: str, case_id: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ASKING[how](bench.store, tenant_id, case_id)
    return caught.value


def test_lists_show_ones_own_alone(bench: Bench) -> None:
    bench.store.tenants.update(bench.tenant.id, webhook_url="https://example.test/")
    stranger = bench.store.tenants.create("Stranger")
    case = bench.reported(risk=0.5)
    content = next(iter(case.photos.values())).sha256
    assert bench.store.cases.find(stranger.id) == ([], "")
    assert bench.store.reviews.waiting(stranger.id) == []
    assert bench.store.reviews.claim(stranger.id, "key_1") is None
    assert bench.store.tenants.keys(stranger.id) == ()
    assert bench.store.blobs.get(stranger.id, content) is None
    assert bench.store.blobs.get(bench.tenant.id, content) is not None
    assert all(entry.tenant_id == stranger.id for entry in bench.store.audit.entries(stranger.id))


def test_the_same_picture_of_another_tenant_is_no_reuse(bench: Bench) -> None:
    stranger = bench.store.tenants.create("Stranger")
    bench.draft([View.LOGO], salt="same")
    case = bench.draft([View.LOGO], tenant=stranger, salt="same")
    assert bench.store.cases.reused(stranger.id, case.id, case.photos[View.LOGO]) == []


def test_erasure_leaves_the_same_content_of_another_tenant(bench: Bench) -> None:
    stranger = bench.store.tenants.create("Stranger")
    mine, theirs = bench.draft(salt="same"), bench.draft(tenant=stranger, salt="same")
    bench.store.retention.erase(bench.tenant.id, mine.id, "key_1")
    for photo in theirs.photos.values():
        assert bench.store.blobs.get(bench.tenant.id, photo.sha256) is None
        assert bench.store.blobs.get(stranger.id, photo.sha256) is not None


def test_a_key_of_another_tenant_cannot_be_revoked(bench: Bench) -> None:
    stranger = bench.store.tenants.create("Stranger")
    key_id, secret = bench.store.tenants.create_key(bench.tenant.id, "till", [Scope.SUBMIT])
    with pytest.raises(Refusal, match="there is no key"):
        bench.store.tenants.revoke(stranger.id, key_id)
    assert bench.store.tenants.caller(secret) is not None
