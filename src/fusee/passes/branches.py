"""Control flow that is decided at build."""

from __future__ import annotations

from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Known, Pat, need
from fusee.ir.rewrite import inline, rule
from fusee.ops.control import If


@rule(Pat(If, Known("condition"), rest=True))
def branch_known(root: Value, condition: Value) -> tuple[Value, ...]:
    """An If whose condition is a constant is the branch it takes."""
    assert isinstance(root.op, If)
    array = const_array(condition)
    branch = root.op.then if array is not None and bool(array) else root.op.otherwise
    found, declared = (", ".join(map(str, types)) for types in ((v.type for v in branch.outputs), root.op.types))
    need(found == declared, f"the branch gives {found}, the If {declared}")
    return inline(branch, root.operands[1:])


BRANCHES = (branch_known,)
