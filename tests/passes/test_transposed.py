"""Transposed convolutions become convolutions and movement, with the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.ir.rewrite import Report, rewrite
from fusee.passes.transposed import TRANSPOSED
from passes.rewriting import check_declines, check_numbers, parse

RNG = np.random.default_rng(2)
CASES = (  # kernel, strides, pads, output padding
    ((2, 2), (2, 2), (0, 0, 0, 0), (0, 0)),
    ((4, 4), (2, 2), (1, 1, 1, 1), (0, 0)),
    ((3, 3), (2, 2), (1, 1, 1, 1), (0, 0)),
    ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((5, 3), (3, 1), (2, 0, 1, 1), (0, 0)),
    ((3, 3), (1, 1), (1, 1, 1, 1), (0, 0)),
    ((1, 1), (2, 2), (0, 0, 0, 0), (0, 0)),
)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "strides", "pads", "more"), CASES)
def test_fires(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], more: tuple[int, int], bias: bool
):
    constants = {
        "w": RNG.standard_normal((4, 3, *kernel)).astype(np.float32),
        "b": RNG.standard_normal(3).astype(np.float32),
    }
    attributes = f"{{strides={strides}, pads={pads}, dilations=(1, 1), output_padding={more}}}"
    graph = parse(
        f"""graph f(%x: f32[N,4,H,W])
        %w = const {{digest="w"}} : f32[4,3,{kernel[0]},{kernel[1]}]
        %b = const {{digest="b"}} : f32[3]
        %0 = conv_transpose(%x, %w{", %b" if bias else ""}) {attributes}
        return %0""",
        constants,
    )
    report = Report()
    new = rewrite(graph, TRANSPOSED, report)
    assert [v.rule for v in report.fired] == ["conv-transpose-by-phases"]
    assert "conv_transpose" not in [n.op.text_name() for n in new.nodes()]
    check_numbers(graph, new)


WEIGHT = "%w = const {value=0.5} : f32[4,3,2,2]\n"
ATTRIBUTES = "{strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1), output_padding=(0, 0)}"
DECLINING = (
    ("x is f32[N,4,6,5] in 2 groups", WEIGHT, ATTRIBUTES.replace("}", ", group=2}")),
    ("the dilations are [2, 2]", WEIGHT, ATTRIBUTES.replace("dilations=(1, 1)", "dilations=(2, 2)")),
    ("output padding goes beyond the last tap", WEIGHT, ATTRIBUTES.replace("padding=(0, 0)", "padding=(1, 1)")),
    ("padding takes elements away", WEIGHT, ATTRIBUTES.replace("(0, 0, 0, 0)", "(-1, 0, 0, 0)")),
    ("the weight is not a constant of floats", "%w = reshape(%v) {shape=(4, 3, 2, 2)}\n", ATTRIBUTES),
)


@pytest.mark.parametrize(("reason", "weight", "attributes"), DECLINING, ids=[d[0][:20] for d in DECLINING])
def test_declines(reason: str, weight: str, attributes: str):
    inputs = "%x: f32[N,4,6,5]" + (", %v: f32[48]" if "%v" in weight else "")
    text = f"graph f({inputs})\n{weight}%0 = conv_transpose(%x, %w) {attributes}\nreturn %0"
    check_declines(text, TRANSPOSED, f"conv-transpose-by-phases at ConvTranspose: {reason}")
