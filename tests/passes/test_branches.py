"""A condition known at build chooses its branch at build."""

from __future__ import annotations

from fusee.passes.branches import BRANCHES
from passes.rewriting import check_declines, check_rewrite

BODIES = """then={
          graph yes(%a: f32[2], %b: f32[2])
            %0 = add(%a, %b)
            return %0, %b
        }, otherwise={
          graph no(%a: f32[2], %b: f32[2])
            %0 = exp(%a)
            return %0, %0
        }"""


def text(condition: str, types: str) -> str:
    return f"""graph f(%x: f32[2], %y: f32[2])
        %c = const {{value={condition}}} : bool[]
        %0, %1 = if(%c, %x, %y) {{{BODIES}, types=({types})}}
        return %0, %1"""


def test_then():
    after = "graph f(%x: f32[2], %y: f32[2]) %0 = add(%x, %y) return %0, %y"
    check_rewrite(text("true", "f32[2], f32[2]"), after, BRANCHES, fired=["branch-known"])


def test_otherwise():
    after = "graph f(%x: f32[2], %y: f32[2]) %0 = exp(%x) return %0, %0"
    check_rewrite(text("false", "f32[2], f32[2]"), after, BRANCHES, fired=["branch-known"])


def test_a_branch_of_a_type_of_its_own_is_declined():
    reason = "branch-known at If: the branch gives f32[2], f32[2], the If f32[2], f32[K]"
    check_declines(text("true", "f32[2], f32[K]").replace("K])", 'K]), defines=("K",)'), BRANCHES, reason)
