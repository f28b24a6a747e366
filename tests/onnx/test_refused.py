"""Every op that the onnx package knows is lowered, has a body of other ops, or is refused with a reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_models import imported, node

from fusee.base.errors import UnsupportedModel
from fusee.onnx.lowerings import LOWERINGS
from fusee.onnx.refused import REFUSED

LOWERED = {(entry.domain, entry.op_type) for entry in LOWERINGS}
SCHEMAS = sorted({(s.domain, s.name) for s in onnx.defs.get_all_schemas() if not s.deprecated})


@pytest.mark.parametrize(("domain", "op_type"), SCHEMAS)
def test_every_op_is_accounted_for(domain: str, op_type: str) -> None:
    schema = onnx.defs.get_schema(op_type, domain)
    has_body = schema.has_function or schema.has_context_dependent_function
    assert (domain, op_type) in LOWERED or has_body or op_type in REFUSED


@pytest.mark.parametrize("op_type", REFUSED)
def test_a_refused_op_has_no_lowering(op_type: str) -> None:
    assert op_type not in {name for _, name in LOWERED}


def test_the_reason_reaches_the_user() -> None:
    x = np.zeros(3, np.float32)
    with pytest.raises(UnsupportedModel, match=r"SplitToSequence-11 'cut': sequences of tensors are not supported"):
        imported([node("SplitToSequence", ["x"], ["y"], "cut")], {"x": x}, opset=11)


def test_all_refusals_come_at_once() -> None:
    x = np.zeros(3, np.float32)
    nodes = [
        node("SplitToSequence", ["x"], ["s"]),
        node("StringNormalizer", ["x"], ["y"]),
        node("Mystery", ["x"], ["z"]),
    ]
    with pytest.raises(UnsupportedModel) as caught:
        imported(nodes, {"x": x}, ("y",))
    assert "3 thing(s)" in str(caught.value)
    for text in ("sequences", "strings are not supported", "Mystery", "no lowering for it"):
        assert text in str(caught.value)
