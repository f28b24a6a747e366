"""Webhooks: signed POSTs to the tenants' URLs when something became of a case.

``Assay-Event`` names the event, ``Assay-Delivery`` the delivery (the same when it is tried again), ``Assay-Timestamp``
the seconds since 1970. ``Assay-Signature`` is ``v1=`` and the HMAC-SHA256, in hex, of the timestamp, a point and the
body, under the tenant's secret. A receiver computes it anew, compares in constant time, and refuses timestamps more
than five minutes away. Any answer of 200 to 299 counts; redirections are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import logging
import socket
import ssl
from datetime import timedelta

from assay.errors import Refusal
from assay.services import Services
from assay.store.webhooks import Delivery
from assay.web.destinations import Destination, resolved

POLL_S = 1.0
MOST_AT_ONCE = 20
TIMEOUT_S = 10.0
FIRST_DELAY_S, LONGEST_DELAY_S = 5.0, 3600.0
MOST_ATTEMPTS = 30  # with the delays above: for about a day
log = logging.getLogger(__name__)


async def deliver_webhooks(services: Services) -> None:
    """Until cancelled. Any number of processes may do so: the store gives each delivery to one at a time."""
    while True:
        try:
            delivered = await deliver_due(services)
        except Refusal as err:
            log.warning("webhooks wait: %s", err.message)
            delivered = 0
        if not delivered:
            await asyncio.sleep(POLL_S)


async def deliver_due(services: Services) -> int:
    """Those that are due, at once; how many. Raises Refusal UNAVAILABLE."""
    due = await asyncio.to_thread(services.store.webhooks.due, MOST_AT_ONCE)
    await asyncio.gather(*(asyncio.to_thread(_deliver, services, delivery) for delivery in due))
    return len(due)


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of ``Assay-Signature``."""
    return "v1=" + hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def retry_delay_s(attempts: int) -> float:
    """Doubles with every failure."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(attempts, 20))


def _deliver(services: Services, delivery: Delivery) -> None:
    why = _attempt(services, delivery)
    services.meter.count("webhook", "failed" if why else "delivered")
    if not why:
        services.store.webhooks.delivered(delivery.id)
        return
    is_last = delivery.attempts + 1 >= MOST_ATTEMPTS
    retry_at = None if is_last else services.clock() + timedelta(seconds=retry_delay_s(delivery.attempts))
    services.store.webhooks.failed(delivery.id, retry_at, why)


def _attempt(services: Services, delivery: Delivery) -> str:
    """Why it failed, '' when it did not."""
    if not delivery.url:
        return "the tenant has no URL any more"
    try:
        destination = resolved(delivery.url, bool(services.settings.private_webhooks))
        status = post(destination, _headers(delivery, int(services.clock().timestamp())), delivery.body)
    except Refusal as err:
        return err.message
    except (OSError, http.client.HTTPException, ValueError) as err:
        return f"{type(err).__name__}: {err}"
    return "" if 200 <= status < 300 else f"answered {status}; expected 200 to 299"


def _headers(delivery: Delivery, timestamp: int) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "user-agent": "Assay-Webhooks/1",
        "assay-event": delivery.event,
        "assay-delivery": delivery.id,
        "assay-timestamp": str(timestamp),
        "assay-signature": signature(delivery.secret, timestamp, delivery.body),
    }


def post(destination: Destination, headers: dict[str, str], body: bytes) -> int:
    """The status of the answer. Connects to the address that was checked, whatever the name says by now."""
    connection = _connection(destination)
    try:
        connection.request("POST", destination.target, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _connection(destination: Destination) -> http.client.HTTPConnection:
    is_secure = destination.url.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    connection = kind(destination.host, destination.port, timeout=TIMEOUT_S)
    reached = socket.create_connection((destination.address, destination.port), TIMEOUT_S)
    if is_secure:
        context = ssl.create_default_context()
        reached = context.wrap_socket(reached, server_hostname=destination.host)
    connection.sock = reached
    return connection
