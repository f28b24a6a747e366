"""Messages that brokers carry."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cases import Lane
from assay.queue.jobs import Job
from assay.queue.wire import read_job, write_job

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "case_id", "lane", "traceparent"]), inner),
)


@given(st.builds(Job, st.text(), st.text(), st.sampled_from(Lane), st.text()))
def test_a_job_is_read_as_it_was_written(job: Job) -> None:
    assert read_job(write_job(job)) == job


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_a_value_error(body: bytes) -> None:
    try:
        job = read_job(body)
    except ValueError:
        return
    assert all(isinstance(text, str) for text in (job.id, job.case_id, job.traceparent))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "expected a job in JSON"),
        (b"[]", "expected a job in JSON"),
        (b'{"id": 1, "case_id": "", "lane": "normal", "traceparent": ""}', "have to be texts"),
        (b'{"id": "", "case_id": "", "lane": "slow", "traceparent": ""}', "'slow' is not a valid Lane"),
        (b"[" * 100_000, "expected a job in JSON"),
    ],
)
def test_the_message_says_what_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_job(body)
