"""What must hold of every plan, checked by following its memory: an independent judge of barriers and lifetimes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from fusee.base.dims import evaluate
from fusee.engine.arena import Lifetime, place
from fusee.engine.plan import Space
from fusee.planner.draft import Drawing
from fusee.planner.location import Storage
from fusee.planner.memory import ARENA, Layout, lay_out
from fusee.planner.plan import phases


def problems(drawing: Drawing, sizes: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with the memory of a drawn plan at these sizes."""
    early = [where.storage for where, _, _ in drawing.dims]
    layout = lay_out(drawing.steps, early, phases(drawing))
    groups = _groups(layout)
    return [*_wrong_contents(drawing, groups, early), *_overlaps(drawing, layout, groups, early, sizes)]


def _groups(layout: Layout) -> list[int]:
    """The number of barriers before each step: steps of one number run at the same time."""
    found: list[int] = []
    for waits in layout.waits:
        found.append((found[-1] if found else 0) + waits)
    return found


def _wrong_contents(drawing: Drawing, groups: list[int], early: list[Storage]) -> Iterator[str]:
    """Steps that read memory before it was written, or after something else was written there."""
    holds: dict[Storage, Storage] = {s.root(): s for s in early}
    written: dict[Storage, int] = {s.root(): -1 for s in early}
    read: dict[Storage, tuple[int, int]] = {}  # the last group that read, and the step
    for i, step in enumerate(drawing.steps):
        for storage in {x.storage for x in step.reads if x.storage.space in ARENA}:
            root = storage.root()
            if holds.get(root) is not storage:
                yield f"step {i} reads what is not there"
            elif written[root] >= groups[i]:
                yield f"step {i} reads what a step at the same time writes"
        for storage in {x.storage for x in step.writes if x.storage.space in ARENA}:
            root = storage.root()
            if read.get(root, (-1, i))[0] == groups[i]:
                yield f"step {i} overwrites what step {read[root][1]} reads at the same time"
            holds[root], written[root] = storage, groups[i]
        read |= {x.storage.root(): (groups[i], i) for x in step.reads}


def _overlaps(
    drawing: Drawing, layout: Layout, groups: list[int], early: list[Storage], sizes: Mapping[str, int]
) -> Iterator[str]:
    """Buffers that are used at the same time and share bytes."""
    alive: dict[Storage, list[int]] = {s.root(): [0] for s in early}
    for group, step in zip(groups, drawing.steps, strict=True):
        for x in (*step.reads, *step.writes):
            if x.storage.space in ARENA:
                alive.setdefault(x.storage.root(), []).append(group)
    spots = _spots(layout, sizes)
    for a, b in combinations(alive, 2):
        (phase_a, start_a, end_a), (phase_b, start_b, end_b) = spots[a], spots[b]
        together = max(min(alive[a]), min(alive[b])) <= min(max(alive[a]), max(alive[b]))
        if together and phase_a == phase_b and max(start_a, start_b) < min(end_a, end_b):
            yield f"buffers {layout.index[a]} and {layout.index[b]} overlap"


def _spots(layout: Layout, sizes: Mapping[str, int]) -> dict[Storage, tuple[int, int, int]]:
    """Phase, start and end of each storage in its arena."""
    found: dict[Storage, tuple[int, int, int]] = {}
    for phase in {b.phase for b in layout.buffers}:
        members = [s for s, i in layout.index.items() if layout.buffers[i].phase == phase]
        lives = [_life(layout, s, sizes) for s in members]
        for storage, start, life in zip(members, place(lives).offsets, lives, strict=True):
            found[storage] = (phase, start, start + life.size_bytes)
    return found


def _life(layout: Layout, storage: Storage, sizes: Mapping[str, int]) -> Lifetime:
    buffer = layout.buffers[layout.index[storage]]
    return Lifetime(evaluate(buffer.size_bytes, sizes), buffer.first, buffer.last)


def arena_merges(drawing: Drawing) -> int:
    """How many results took over an operand's memory."""
    touched = {x.storage for step in drawing.steps for x in (*step.reads, *step.writes)}
    return sum(s.space is Space.ARENA and s.root() is not s for s in touched)
