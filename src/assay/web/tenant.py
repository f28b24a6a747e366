"""What a tenant's administrator sees to: keys, retention, webhook, audit log."""

from __future__ import annotations

from starlette.responses import Response

from assay.cases import OF_OPERATORS, Scope
from assay.errors import Reason, Refusal
from assay.store.audit import AuditEntry
from assay.store.tenants import Key
from assay.web.call import Call, Json, answer, nothing
from assay.web.destinations import webhook_url
from assay.web.documents import tenant_document, time_text


def key_document(key: Key) -> Json:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": time_text(key.created_at),
        "revoked_at": time_text(key.revoked_at),
    }


async def list_keys(call: Call) -> Response:
    keys = await call.run(call.services.store.tenants.keys, call.tenant_id)
    return answer({"keys": [key_document(key) for key in keys]})


async def create_key(call: Call) -> Response:
    fields = await call.fields("name", "scopes")
    scopes = {_scope(text) for text in fields.texts("scopes", len(Scope))}
    beyond = sorted(scope.value for scope in scopes & OF_OPERATORS)
    if beyond and not call.allows(Scope.OPERATE):
        raise Refusal(Reason.FORBIDDEN, f"only a key with scope operate makes another one with {' and '.join(beyond)}")
    name = fields.text("name", 1, 80)
    create = call.services.store.tenants.create_key
    key_id, secret = await call.run(create, call.tenant_id, name, scopes, call.caller.key_id)
    return answer({"id": key_id, "secret": secret}, 201)


def _scope(text: str) -> Scope:
    try:
        return Scope(text)
    except ValueError as err:
        expected = ", ".join(scope.value for scope in Scope)
        raise Refusal(Reason.INVALID, f"body.scopes has {text[:40]!r}; expected {expected}") from err


async def revoke_key(call: Call) -> Response:
    revoke = call.services.store.tenants.revoke
    await call.run(revoke, call.tenant_id, call.path("key_id"), call.caller.key_id)
    return nothing()


async def show_tenant(call: Call) -> Response:
    return answer(tenant_document(await call.run(call.services.store.tenants.get, call.tenant_id)))


async def change_tenant(call: Call) -> Response:
    fields = await call.fields("retention_days", "webhook_url")
    days = fields.whole("retention_days", 1, 3650) if "retention_days" in fields else None
    url = fields.text("webhook_url", 0, 500) if "webhook_url" in fields else None
    if url:
        webhook_url(url, bool(call.services.settings.private_webhooks))
    update = call.services.store.tenants.update
    tenant = await call.run(update, call.tenant_id, retention_days=days, webhook_url=url, actor=call.caller.key_id)
    return answer(tenant_document(tenant))


async def show_webhook_secret(call: Call) -> Response:
    return answer({"secret": await call.run(call.services.store.tenants.webhook_secret, call.tenant_id)})


async def renew_webhook_secret(call: Call) -> Response:
    renew = call.services.store.tenants.renew_webhook_secret
    return answer({"secret": await call.run(renew, call.tenant_id, call.caller.key_id)})


async def list_audit(call: Call) -> Response:
    query = call.query.only("after_seq", "most", "subject")
    after, most = query.whole("after_seq", 0, 999_999_999, 0), query.whole("most", 1, 1000, 100)
    entries = await call.run(call.services.store.audit.entries, call.tenant_id, after, most, query.text("subject"))
    return answer({"entries": [_entry_document(entry) for entry in entries]})


def _entry_document(entry: AuditEntry) -> Json:
    return {
        "seq": entry.seq,
        "at": time_text(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": dict(entry.details),
        "hash": entry.hash,
    }
