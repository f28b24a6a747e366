"""What a session needs of a device. To add one: write its class in a file here and list it in ``runtime.engine``."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from typing import Protocol

from fusee.runtime.memory import Memory


@dataclass(frozen=True)
class NativeCall:
    """One compiled function and its arguments, ``words``; addresses of the caller's tensors are still 0.

    ``flops`` and ``traffic_bytes`` are what it computes and moves at these sizes.
    """

    symbol: str
    words: tuple[int, ...]
    units: int
    waits: bool
    flops: int = 0
    traffic_bytes: int = 0


class Segment(Protocol):
    """Native calls that run one after the other without the host in between."""

    @property
    def words(self) -> MutableSequence[int]:
        """The arguments of all calls: addresses may be changed between runs."""
        ...

    def first_word(self, call: int) -> int:
        """Where the arguments of a call begin in ``words``."""
        ...

    def run(self) -> None:
        """Run all calls and return when their results are in memory."""
        ...

    def run_timed(self) -> list[float]:
        """Run, and give the microseconds that each call took."""
        ...


class Device(Protocol):
    """Memory and execution for one session; used by one thread at a time."""

    def allocate(self, size_bytes: int) -> Memory: ...

    def segment(self, calls: Sequence[NativeCall], scratch_bytes: int) -> Segment:
        """Make calls ready to run; each thread gets that much scratch."""
        ...

    def report(self) -> dict[str, int]:
        """Bytes that the device holds for the session, by purpose."""
        ...

    def close(self) -> None:
        """Give back threads and memory; nothing may run after it."""
        ...
