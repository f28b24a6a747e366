"""A job as the bytes of a broker's message."""

from __future__ import annotations

import json
from typing import Any

from assay.cases import Lane
from assay.queue.jobs import Job


def write_job(job: Job) -> bytes:
    return json.dumps(
        {"id": job.id, "case_id": job.case_id, "lane": job.lane.value, "traceparent": job.traceparent}
    ).encode()


def read_job(body: bytes) -> Job:
    """Raises ValueError where the message is not one of ``write_job``'s."""
    try:
        written: Any = json.loads(body)
        texts = [written[name] for name in ("id", "case_id", "traceparent")]
        lane = Lane(written["lane"])
    except (ValueError, TypeError, KeyError, RecursionError) as err:
        raise ValueError(f"message {body[:80]!r}: {err!r}; expected a job in JSON") from err
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"message {body[:80]!r}: id, case_id and traceparent have to be texts")
    return Job(texts[0], texts[1], lane, texts[2])
