"""Plans survive being written as JSON, and what is not a plan is refused with the place of the fault."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import numpy as np
import pytest

from fusee.base.dims import dim_max, sym
from fusee.base.errors import EngineError, InternalError
from fusee.base.types import DType, TensorType
from fusee.engine.decode import decode_plan, decode_weights
from fusee.engine.encode import attribute_values, encode_plan, encode_weight
from fusee.engine.plan import (
    Buffer,
    CallStep,
    Dims,
    HostStep,
    KernelStep,
    Plan,
    PlanInput,
    PlanOutput,
    Ref,
    Space,
    TensorRef,
)
from fusee.engine.weights import pack_weights

N, H = sym("N"), sym("H")


def tensor(space: Space, index: int, text: str, offset: Any = 0) -> TensorRef:
    return TensorRef(Ref(space, index, offset), TensorType.parse(text))


def some_plan() -> Plan:
    """Every kind of step, every space, sizes as numbers and as expressions."""
    kernel = KernelStep(
        symbol="k0",
        pointers=(Ref(Space.INPUT, 0), Ref(Space.WEIGHT, 1, 64), Ref(Space.TEMP, 1), Ref(Space.ARENA, 0, N * 4)),
        scalars=(N * H, 3, dim_max(N, (H + 1) // 2)),
        units=N,
        scratch_bytes=128,
        waits=True,
        loc=("/conv1", "/relu1"),
        op="conv_relu",
        kernel="ConvDirect tile=6x16",
        flops=2 * N * H,
        traffic_bytes=100,
    )
    host = HostStep(
        "non_zero",
        attribute_values({"axis": None, "shape": (N, 3), "to": DType.F16}),
        (tensor(Space.ARENA, 0, "f32[N,H]"),),
        (tensor(Space.ARENA, 2, "i64[2,count]"),),
        ("/nz",),
        "non_zero",
        defines=("count",),
    )
    branch = Plan("branch", (PlanInput("x", TensorType.parse("f32[N]")),), (), (), ())
    call = CallStep(
        "if",
        (branch, branch),
        {"carried": 1},
        (tensor(Space.INPUT, 1, "bool[]"), tensor(Space.WEIGHT, 0, "f32[N]")),
        (tensor(Space.OUTPUT, 0, "f32[N]"),),
        ("/if",),
        "if",
    )
    return Plan(
        "some",
        (PlanInput("x", TensorType.parse("f32[N,H]")), PlanInput("go", TensorType.parse("bool[]"), ("go__v0",))),
        (PlanOutput("y", TensorType.parse("f32[N]")),),
        (kernel, host, call),
        (Buffer(N * 8, 0, 3), Buffer(64, 0, 0), Buffer(sym("count") * 16, 1, 2, phase=1)),
        (Dims(tensor(Space.ARENA, 0, "i64[2]"), (N, N * H), 1),),
        ((N, H), (N, 4)),
        (None, None),
    )


def test_a_plan_survives_json():
    text = json.dumps(encode_plan(some_plan()))
    assert decode_plan(json.loads(text), weights=2) == some_plan()


def test_attributes_keep_json_values_and_name_their_sizes():
    values = attribute_values({"axis": None, "shape": (N, 3), "to": DType.F16, "scale": 0.5})
    assert values == {"axis": None, "shape$dims": ["N", 3], "to": "f16", "scale": 0.5}


def test_an_attribute_that_json_cannot_hold_is_refused():
    with pytest.raises(InternalError, match="attribute x is a object: a plan holds numbers, texts and lists"):
        attribute_values({"x": object()})


def change(path: tuple[Any, ...], value: Any) -> Any:
    """The encoded plan with one value replaced."""
    plan = copy.deepcopy(encode_plan(some_plan()))
    place = plan
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return plan


FAULTS = [
    (("steps", 0, "symbol"), 7, "plan: plan.steps[0] is '7', expected a text"),
    (("steps", 0, "step"), "jump", "plan: plan.steps[0].step is 'jump', expected kernel, host or call"),
    (("steps", 0, "waits"), 1, "plan: plan.steps[0] is '1', expected true or false"),
    (("steps", 0, "units"), "N+", "plan: plan.steps[0] is 'N+', expected a size or tensor type"),
    (("steps", 0, "units"), 1.5, "plan: plan.steps[0] is '1.5', expected a size"),
    (("steps", 0, "pointers", 0), ["i", 2, 0], "plan: plan.steps[0] is 'input 2', expected an index below 2"),
    (("steps", 0, "pointers", 0), ["i", -1, 0], "plan: plan.steps[0] is 'input -1', expected an index below 2"),
    (("steps", 0, "pointers", 0), ["x", 0, 0], "expected a space out of ioawt, an index and an offset"),
    (("steps", 0, "pointers", 0), [["i"], 0, 0], "expected [space, index, offset]"),
    (("steps", 0, "pointers", 0), ["i", 0], "expected [space, index, offset]"),
    (("steps", 1, "operands", 0, 3), "f99[N]", "expected a size or tensor type (expected a tensor type such as"),
    (("steps", 2, "plans", 0, "name"), None, "plan: plan.steps[2].plans[0].name is 'None', expected a text"),
    (("buffers", 2, 3), 2, "plan.buffers[2].phase is '2', expected one of the 2 phases of the steps"),
    (("buffers", 1), [64, 0, 0, 0, 128], "offset_bytes is '128', expected a place within its phase's arena"),
    (("buffers", 1), [64, 0, 0, -1, None], "plan.buffers[1] is '-1', expected a whole number of at least 0"),
    (("inputs",), {}, "plan: plan.inputs is '{}', expected a list"),
    (("steps", 0, "scalars", 0), "(" * 500 + ")" * 500, "expected a size or tensor type"),
    (("steps", 0, "scalars", 0), "N" * 20_000, "expected at most 10000"),
]


@pytest.mark.parametrize(("path", "value", "message"), FAULTS)
def test_a_fault_is_named(path: tuple[Any, ...], value: Any, message: str):
    with pytest.raises(EngineError) as caught:
        decode_plan(change(path, value), weights=2)
    assert message in str(caught.value)
    assert str(caught.value).endswith("the engine was written by another tool or is damaged; build it again")


def test_a_weight_beyond_the_table_is_refused():
    with pytest.raises(EngineError, match="is 'weight 1', expected an index below 1"):
        decode_plan(encode_plan(some_plan()), weights=1)


def test_deep_nesting_is_refused():
    plan = encode_plan(some_plan())
    for _ in range(60):
        outer = encode_plan(some_plan())
        outer["steps"][2]["plans"] = [plan]
        plan = outer
    with pytest.raises(EngineError, match="expected at most 50 plans within plans"):
        decode_plan(plan, weights=2)


def test_equal_weights_are_stored_once():
    a, b = np.arange(10, dtype=np.float32), np.ones((3, 3), np.int8)
    packed = pack_weights([a, b, a.copy()])
    assert packed.table[0] == packed.table[2]
    assert packed.table[1].offset_bytes == 64
    assert packed.data.size == 64 + 64 + 64
    assert packed.data[: a.nbytes].tobytes() == a.tobytes()
    read = decode_weights([encode_weight(w) for w in packed.table], packed.data.size)
    assert read == packed.table


def test_a_weight_outside_its_section_is_refused():
    with pytest.raises(EngineError, match=r"weights\[0\] is .*expected bytes within the section's 100"):
        decode_weights([[64, 40, "0"]], 100)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in JSON values."""
    if isinstance(value, dict):
        return [path, *[p for k, v in value.items() for p in leaves(v, (*path, k))]]
    if isinstance(value, list):
        return [path, *[p for i, v in enumerate(value) for p in leaves(v, (*path, i))]]
    return [path]


def test_random_changes_give_a_plan_or_an_engine_error():
    rng = random.Random(4)
    junk = [None, True, -1, 0, 2**70, 1.5, "", "N", "N//0", "f32[", "x" * 100, [], {}, [[]], ["a", 0, 0], {"step": 1}]
    paths = leaves(encode_plan(some_plan()))[1:]
    errors = 0
    for _ in range(1500):
        try:
            assert isinstance(decode_plan(change(rng.choice(paths), rng.choice(junk)), weights=2), Plan)
        except EngineError:
            errors += 1
    assert 1000 < errors < 1500
