"""Placement: whatever lives at the same time lies apart, and nothing is wasted where sharing is free."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.engine.arena import Lifetime, place

lifetimes = st.builds(
    lambda size, first, length: Lifetime(size, first, first + length),
    st.integers(0, 100_000),
    st.integers(0, 30),
    st.integers(0, 10),
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(lifetimes, max_size=25))
def test_live_buffers_never_overlap(buffers: list[Lifetime]):
    placement = place(buffers)
    ends = [offset + b.size_bytes for offset, b in zip(placement.offsets, buffers, strict=True)]
    assert all(offset % 64 == 0 for offset in placement.offsets)
    assert all(end + 64 <= placement.arena_bytes for end in ends)
    for i, a in enumerate(buffers):
        for j, b in enumerate(buffers[:i]):
            together = a.first <= b.last and b.first <= a.last and a.size_bytes and b.size_bytes
            assert not together or ends[i] <= placement.offsets[j] or ends[j] <= placement.offsets[i]


def test_buffers_of_different_times_share_memory():
    placement = place([Lifetime(1000, 0, 1), Lifetime(1000, 2, 3), Lifetime(500, 4, 9)])
    assert placement.offsets == (0, 0, 0)
    assert placement.arena_bytes == 1024 + 64


def test_a_gap_between_live_buffers_is_used():
    placement = place([Lifetime(640, 0, 9), Lifetime(320, 0, 1), Lifetime(256, 0, 9), Lifetime(128, 2, 3)])
    assert placement.offsets == (0, 640, 960, 640)


def test_nothing_to_place_needs_only_the_padding():
    assert place([]).arena_bytes == 64
