"""Customers who submit cases and do not give up: what a well-behaved client does when it is refused or cut off."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from time import monotonic
from typing import Self

import httpx

from assay.installation import utc_now
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.rigs import Customer

TRY_AGAIN = (408, 429, 503)
LONGEST_PAUSE_S = 2.0
ANSWER_S = 30.0
FOLLOW_S = 8.0  # a submitter looks for its report so long before it submits the next case
LOOK_S = 0.25
CUT_OFF = "cut off"


@dataclass(frozen=True)
class Accepted:
    """A case for which a 202 was received."""

    case_id: str
    tenant_id: str
    key: str  # its Idempotency-Key
    at: datetime
    waited_s: float  # from the first try to the 202
    tries: int


@dataclass
class Seen:
    """What all submitters saw. Lists and counters are changed under ``lock``."""

    accepted: list[Accepted] = field(default_factory=list[Accepted])
    statuses: Counter[str] = field(default_factory=Counter[str])  # of submissions: 202, 503, cut off, ...
    reads: Counter[str] = field(default_factory=Counter[str])
    unexpected: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """Submitters in threads, from entering until leaving the block; then each is through with its last case."""

    def __init__(
        self, addresses: Sequence[str], customers: Sequence[Customer], template: Template, submitters: int, seed: int
    ) -> None:
        self._addresses = addresses
        self._template = template
        self._over = threading.Event()
        self.seen = Seen()
        self._threads = [
            threading.Thread(target=self._submit_all, args=(customers[n % len(customers)], n, Random(f"{seed} {n}")))
            for n in range(submitters)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit_all(self, customer: Customer, submitter: int, random: Random) -> None:
        number = 0
        headers = {"authorization": f"Bearer {customer.key}"}
        with httpx.Client(headers=headers, timeout=ANSWER_S) as client:
            while not self._over.is_set():
                accepted = self._submit(client, customer, f"submitter {submitter} case {number}", random)
                if accepted is not None:
                    self._follow(client, accepted, random)
                number += 1

    def _submit(self, client: httpx.Client, customer: Customer, key: str, random: Random) -> Accepted | None:
        """Until it is accepted, with one key. None: it was answered what no client can do anything about."""
        start, tries = monotonic(), 0
        claim, lane = self._template.claim, random.choice(("express", "normal"))
        fields = {"brand": claim.brand, "model": claim.model, "lane": lane, "customer_reference": key}
        photos = random.choice(self._template.cases)
        files = {view.value: (f"{view.value}.jpg", content, "image/jpeg") for view, content in photos.items()}
        while True:
            address = random.choice(self._addresses)
            tries += 1
            try:
                answer = client.post(f"{address}/v1/cases", data=fields, files=files, headers={"idempotency-key": key})
            except httpx.TransportError:
                self._count(self.seen.statuses, CUT_OFF)
                self._pause(random, min(LONGEST_PAUSE_S, 0.1 * 2**tries))
                continue
            self._count(self.seen.statuses, str(answer.status_code))
            if answer.status_code == 202:
                accepted = Accepted(answer.json()["id"], customer.tenant_id, key, utc_now(), monotonic() - start, tries)
                with self.seen.lock:
                    self.seen.accepted.append(accepted)
                return accepted
            if answer.status_code not in TRY_AGAIN:
                self._complain(f"{key}: {answer.status_code} {answer.text[:300]}")
                return None
            self._pause(random, min(LONGEST_PAUSE_S, float(answer.headers.get("retry-after", "1"))))

    def _follow(self, client: httpx.Client, accepted: Accepted, random: Random) -> None:
        """Look for the report for a while, as whoever waits for it."""
        ends = monotonic() + FOLLOW_S
        while monotonic() < ends and not self._over.wait(LOOK_S):
            try:
                answer = client.get(f"{random.choice(self._addresses)}/v1/cases/{accepted.case_id}")
            except httpx.TransportError:
                self._count(self.seen.reads, CUT_OFF)
                continue
            self._count(self.seen.reads, str(answer.status_code))
            if answer.status_code not in (200, *TRY_AGAIN):
                self._complain(f"{accepted.key}, read: {answer.status_code} {answer.text[:300]}")
            if answer.status_code == 200 and answer.json()["state"] != "queued":
                return

    def _pause(self, random: Random, seconds: float) -> None:
        """With some jitter; also after the end, since what was begun is carried through."""
        threading.Event().wait(seconds * random.uniform(0.7, 1.3))

    def _count(self, counter: Counter[str], what: str) -> None:
        with self.seen.lock:
            counter[what] += 1

    def _complain(self, what: str) -> None:
        with self.seen.lock:
            self.seen.unexpected.append(what)
