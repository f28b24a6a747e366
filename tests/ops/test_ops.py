"""What must hold of every op: it is documented, sampled, and its type rule tells what its reference gives."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.types import TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops import OPS

# Control flow and Fused hold whole graphs; their own tests make them.
WITHOUT_SAMPLES = ("after", "bind", "fused", "if", "loop", "scan")
SAMPLES = [sample for op in OPS for sample in op.samples]


def _name(sample: Sample) -> str:
    op, types = sample
    return f"{op.text_name()}-{op.attributes()}-{'-'.join(types)}"


def test_text_names_are_unique():
    names = [op.text_name() for op in OPS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.text_name())
def test_op_is_documented(op: type[Op]):
    assert op.__doc__ is not None
    assert not op.__doc__.startswith(f"{op.__name__}("), "the dataclass made this docstring; write one"


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.text_name())
def test_op_has_samples(op: type[Op]):
    assert op.samples or op.text_name() in WITHOUT_SAMPLES
    assert all(isinstance(sampled, op) for sampled, _ in op.samples)


@pytest.mark.parametrize("sample", SAMPLES, ids=_name)
def test_infer_tells_what_reference_gives(sample: Sample):
    op, texts = sample
    types = tuple(TensorType.parse(t) for t in texts)
    operands = op.sample_operands(np.random.default_rng(7), *types)
    assert [TensorType.of(a) for a in operands] == list(types)
    before = [a.copy() for a in operands]
    results = op.compute(*operands)
    declared = op.result_types(*types)
    assert len(results) == len(declared)
    for result, expected in zip(results, declared, strict=True):
        assert isinstance(result, np.ndarray)
        assert result.dtype == expected.dtype.numpy
        if expected.is_static:
            assert result.shape == expected.static_shape()
    for operand, kept in zip(operands, before, strict=True):
        assert operand.tobytes() == kept.tobytes(), "the reference wrote to an operand"
