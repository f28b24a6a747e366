"""Barriers, lifetimes and in-place results: from drafted steps to buffers of an arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fusee.base.dims import Dim, symbols
from fusee.engine.plan import Buffer, Space
from fusee.planner.draft import Draft, KernelDraft
from fusee.planner.location import Location, Storage

ARENA = (Space.ARENA, Space.TEMP)


@dataclass
class Lifetime:
    """First and last step that touch a storage, both included."""

    first: int
    last: int


@dataclass
class Layout:
    """Which steps wait at a barrier, and the arena's buffers by storage."""

    waits: list[bool]
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    index: dict[Storage, int] = field(default_factory=dict[Storage, int])


def lay_out(steps: Sequence[Draft], early: Sequence[Storage], phase_of: dict[str, int]) -> Layout:
    """Buffers for all arena storages. ``early`` are those written before the first step (tensors of sizes)."""
    merge_in_place(steps)
    layout = Layout(barriers(steps))
    for storage, life in lifetimes(steps, layout.waits, early).items():
        layout.index[storage] = len(layout.buffers)
        phase = max((phase_of.get(s, 0) for s in symbols(storage.size_bytes)), default=0)
        layout.buffers.append(Buffer(storage.size_bytes, life.first, life.last, phase))
    return layout


def merge_in_place(steps: Sequence[Draft]) -> None:
    """Let a result take an operand's memory when this step is the operand's last use and both lie alike."""
    last = _last_touch(steps)
    first_write = _first_write(steps)
    for i, step in enumerate(steps):
        if not isinstance(step, KernelDraft):
            continue
        for operand_at, result_at in step.overwrites:
            operand, result = operand_at.storage.root(), result_at.storage
            fresh = result.space is Space.ARENA and result.root() is result and first_write[result] == i
            if fresh and last[operand] == i and _may_take(step, operand_at, result_at):
                result.merged_into = operand
                last[operand] = last[result]
                break


def _may_take(step: KernelDraft, operand_at: Location, result_at: Location) -> bool:
    """Whether the result fits exactly where the operand lies, and nothing else is read from there."""
    operand, result = operand_at.storage.root(), result_at.storage
    alike = operand_at.offset_bytes == result_at.offset_bytes and operand_at.strides == result_at.strides
    if operand.space is not Space.ARENA or operand.size_bytes != result.size_bytes or not alike:
        return False
    harmless = sum(x.storage.root() is operand for x, _ in step.overwrites)
    return sum(x.storage.root() is operand for x in step.reads) <= harmless


def _last_touch(steps: Sequence[Draft]) -> dict[Storage, int]:
    return {x.storage.root(): i for i, step in enumerate(steps) for x in (*step.reads, *step.writes)}


def _first_write(steps: Sequence[Draft]) -> dict[Storage, int]:
    found: dict[Storage, int] = {}
    for i, step in enumerate(steps):
        for place in step.writes:
            found.setdefault(place.storage.root(), i)
    return found


def barriers(steps: Sequence[Draft]) -> list[bool]:
    """For each step, whether it touches what a step since the last barrier wrote, or writes what one read.

    Steps that write at different places of one storage write different parts of a concatenation: they do not meet.
    """
    waits: list[bool] = []
    read: set[Storage] = set()
    written: set[tuple[Storage, Dim]] = set()
    for step in steps:
        reads = {x.storage.root() for x in step.reads}
        writes = {(x.storage.root(), x.offset_bytes) for x in step.writes}
        after_write = bool(reads & {s for s, _ in written} or writes & written)
        must = not isinstance(step, KernelDraft) or after_write or bool({s for s, _ in writes} & read)
        if must:
            read, written = set(), set()
        waits.append(must)
        read |= reads
        written |= writes
    return waits


def lifetimes(steps: Sequence[Draft], waits: Sequence[bool], early: Sequence[Storage]) -> dict[Storage, Lifetime]:
    """Steps between two barriers run at once, so a storage lives for whole groups of them."""
    starts = [i for i, wait in enumerate(waits) if wait or i == 0]
    group_start, group_end = list(range(len(steps))), list(range(len(steps)))
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        for i in range(start, end):
            group_start[i], group_end[i] = start, end - 1
    found: dict[Storage, Lifetime] = {s.root(): Lifetime(0, 0) for s in early if s.space in ARENA}
    for i, step in enumerate(steps):
        for storage in (x.storage.root() for x in (*step.reads, *step.writes)):
            if storage.space not in ARENA:
                continue
            life = found.setdefault(storage, Lifetime(group_start[i], group_end[i]))
            life.last = max(life.last, group_end[i])
    return found
