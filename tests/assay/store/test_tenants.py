from __future__ import annotations

import pytest
from sqlalchemy import TextClause, create_engine, text
from tests.assay.store.making import Bench, files_in

from assay.cases import Caller, Scope
from assay.errors import Reason, Refusal


class TestTenants:
    def test_they_come_back_as_they_were_made(self, bench: Bench) -> None:
        made = bench.store.tenants.create("Brand AG", 30, "https://brand.test/hook")
        assert bench.store.tenants.get(made.id) == made
        assert bench.store.tenants.all() == (bench.tenant, made)

    def test_only_what_is_given_changes(self, bench: Bench) -> None:
        changed = bench.store.tenants.update(bench.tenant.id, retention_days=7)
        assert (changed.name, changed.retention_days) == (bench.tenant.name, 7)
        assert bench.store.tenants.update(bench.tenant.id, webhook_url="https://x.test").retention_days == 7
        assert bench.store.tenants.update(bench.tenant.id, webhook_url="").webhook_url == ""
        last = bench.store.audit.entries(bench.tenant.id)[-1]
        assert (last.action, last.details) == ("tenant.changed", {"fields": ["webhook_url"]})

    @pytest.mark.parametrize(
        ("changes", "said"),
        [({"name": " "}, "name is empty"), ({"name": ""}, "name is empty"), ({"retention_days": 0}, "of 0 days")],
    )
    def test_wrong_values_are_refused(self, bench: Bench, changes: dict[str, str | int], said: str) -> None:
        with pytest.raises(Refusal, match=said) as caught:
            bench.store.tenants.update(bench.tenant.id, **changes)
        assert caught.value.reason is Reason.INVALID

    @pytest.mark.parametrize("tenant_id", ["tenant_0", "", "nul\0"])
    def test_an_unknown_tenant_is_not_found(self, bench: Bench, tenant_id: str) -> None:
        with pytest.raises(Refusal, match="there is no tenant"):
            bench.store.tenants.get(tenant_id)

    def test_each_has_a_webhook_secret_that_can_be_renewed(self, bench: Bench) -> None:
        first = bench.store.tenants.webhook_secret(bench.tenant.id)
        other = bench.store.tenants.create("Other")
        renewed = bench.store.tenants.renew_webhook_secret(bench.tenant.id)
        secrets = {first, renewed, bench.store.tenants.webhook_secret(other.id)}
        assert len(secrets) == 3
        assert min(len(secret) for secret in secrets) >= 43  # 256 bits
        assert bench.store.tenants.webhook_secret(bench.tenant.id) == renewed


class TestKeys:
    def test_a_secret_says_who_asks(self, bench: Bench) -> None:
        key_id, secret = bench.store.tenants.create_key(bench.tenant.id, "Ana", [Scope.REVIEW, Scope.SUBMIT])
        scopes = frozenset({Scope.REVIEW, Scope.SUBMIT})
        assert bench.store.tenants.caller(secret) == Caller(bench.tenant.id, key_id, "Ana", scopes)

    def test_nothing_else_does(self, bench: Bench) -> None:
        key_id, secret = bench.store.tenants.create_key(bench.tenant.id, "Ana", [Scope.SUBMIT])
        other_secret = bench.store.tenants.create_key(bench.tenant.id, "Bo", [Scope.SUBMIT])[1]
        prefix, name, random = secret.split("_")
        mixed = "_".join([prefix, name, other_secret.split("_")[2]])
        for wrong in ("", secret[:-1], secret + "0", secret.upper(), random, key_id, mixed, f"{prefix}_{name}_", "\0"):
            assert bench.store.tenants.caller(wrong) is None

    def test_a_revoked_key_opens_nothing(self, bench: Bench) -> None:
        key_id, secret = bench.store.tenants.create_key(bench.tenant.id, "Ana", [Scope.SUBMIT])
        bench.store.tenants.revoke(bench.tenant.id, key_id)
        bench.store.tenants.revoke(bench.tenant.id, key_id)
        assert bench.store.tenants.caller(secret) is None
        (key,) = bench.store.tenants.keys(bench.tenant.id)
        assert key.revoked_at is not None
        actions = [entry.action for entry in bench.store.audit.entries(bench.tenant.id)]
        assert actions.count("key.revoked") == 1

    def test_a_key_allows_something(self, bench: Bench) -> None:
        with pytest.raises(Refusal, match="has no scope"):
            bench.store.tenants.create_key(bench.tenant.id, "Ana", [])

    def test_the_secret_is_kept_nowhere(self, bench: Bench) -> None:
        random = bench.store.tenants.create_key(bench.tenant.id, "Ana", [Scope.SUBMIT])[1].split("_")[2]
        with create_engine(bench.settings.database_url).connect() as connection:
            rows = [str(row) for table in ("keys", "audit_entries") for row in connection.execute(_all_of(table))]
        assert rows
        assert not any(random in row for row in rows)
        assert not any(random.encode() in file.read_bytes() for file in files_in(bench.settings.home))


def _all_of(table: str) -> TextClause:
    return text(f"SELECT * FROM {table}")
