"""Ensembles: what is refused when they load, and how requests flow through them."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import Any

import pytest

from fusee.server.errors import Reason, ServingError
from fusee.server.observe.sources import queue_length
from fusee.server.pipelines.ensemble import Ensemble
from fusee.server.pipelines.ensemble_plan import plan_ensemble
from fusee.server.repository.config import parse_config
from fusee.server.types import WantedOutput
from server.pipelines.toy_models import Answers, Shelf, Toy, request, shelf, tensor, toy

VECTOR = "data_type: TYPE_FP32 dims: [2]"


def adder(name: str, amount: float, is_held: bool = False) -> Toy:
    config = f'name: "{name}" input {{ name: "x" {VECTOR} }} output {{ name: "y" {VECTOR} }}'
    return toy(config, lambda x: {"y": x + amount}, is_held)


def joiner(is_held: bool = False) -> Toy:
    config = (
        f'name: "join" input {{ name: "a" {VECTOR} }} input {{ name: "b" {VECTOR} }}'
        f' output {{ name: "sum" {VECTOR} }} output {{ name: "difference" {VECTOR} }}'
    )
    return toy(config, lambda a, b: {"sum": a + b, "difference": a - b}, is_held)


def step(model: str, inputs: dict[str, str], outputs: dict[str, str], more: str = "model_version: -1") -> str:
    maps = [f'input_map {{ key: "{k}" value: "{v}" }}' for k, v in inputs.items()]
    maps += [f'output_map {{ key: "{k}" value: "{v}" }}' for k, v in outputs.items()]
    return f'step {{ model_name: "{model}" {more} {" ".join(maps)} }}'


def flow(*steps: str, inputs: str = "", outputs: str = "", more: str = "", within: str = "") -> str:
    given = inputs or f'input {{ name: "in" {VECTOR} }}'
    wanted = outputs or f'output {{ name: "out" {VECTOR} }}'
    scheduling = f"ensemble_scheduling {{ {within} {' '.join(steps)} }}"
    return f'name: "flow" platform: "ensemble" {more} {given} {wanted} {scheduling}'


DIAMOND = (
    step("first", {"x": "in"}, {"y": "p"}),
    step("join", {"a": "left", "b": "right"}, {"sum": "out"}),  # written before what it needs
    step("left", {"x": "p"}, {"y": "left"}),
    step("right", {"x": "p"}, {"y": "right"}),
)
X = tensor("in", "FP32", [1, 2])


def ensemble(config: str, models: Shelf) -> Ensemble:
    parsed = parse_config(config, "flow")
    return Ensemble(parsed, "1", plan_ensemble(parsed, models), models, {})


def diamond(held: str = "", **options: Any) -> tuple[Ensemble, dict[str, Toy]]:
    toys = [adder("first", 1, "first" in held), adder("left", 10, "left" in held), adder("right", 100, "right" in held)]
    models = shelf(*toys, joiner("join" in held))
    return ensemble(flow(*DIAMOND, **options), models), models.models


def test_a_diamond():
    served, models = diamond()
    answers = Answers()
    served.submit(request("flow", X), answers)
    assert answers.outputs == {"out": [114, 116]}
    assert (answers.response.model, answers.response.version, answers.response.id) == ("flow", "1", "7")
    assert [len(m.requests) for m in models.values()] == [1, 1, 1, 1]
    assert models["first"].statistics.inference_count == served.statistics.inference_count == 1
    assert served.statistics.execution_count == 1
    assert served.statistics.pending == 0


def test_branches_run_side_by_side_and_join_when_both_are_there():
    served, models = diamond("left right")
    answers = Answers()
    served.submit(request("flow", X), answers)
    assert len(models["left"].held) == len(models["right"].held) == 1
    assert served.statistics.pending == 1
    models["right"].held[0].answer()
    assert not models["join"].requests
    models["left"].held[0].answer()
    assert answers.outputs == {"out": [114, 116]}


def test_a_failing_step_ends_the_request_and_cancels_the_others():
    served, models = diamond("left right")
    answers = Answers()
    served.submit(request("flow", X), answers)
    models["left"].held.pop().done(ServingError(Reason.INTERNAL, "went wrong"))
    assert answers.error.reason is Reason.INTERNAL
    assert answers.error.message == "in ensemble 'flow', step 2 (model 'left'): went wrong"
    assert len(models["right"].cancelled) == 1
    assert not models["join"].requests
    assert served.statistics.failures["BACKEND"] == 1


def test_cancelling_reaches_the_steps_and_starts_no_more():
    served, models = diamond("first")
    answers = Answers()
    ticket = served.submit(request("flow", X), answers)
    ticket.cancel()
    ticket.cancel()
    assert answers.error.reason is Reason.CANCELLED
    assert len(models["first"].cancelled) == 1
    assert not models["left"].requests
    assert served.statistics.failures["CANCELED"] == 1


def test_the_deadline_is_looked_at_between_steps():
    served, models = diamond("first")
    answers, asked = Answers(), request("flow", X, deadline_ns=monotonic_ns() + 10**12)
    served.submit(asked, answers)
    asked.deadline_ns = monotonic_ns() - 1
    models["first"].held[0].answer()
    assert answers.error.reason is Reason.DEADLINE
    assert not models["left"].requests


def test_what_steps_are_told():
    served, models = diamond()
    asked = request("flow", X, priority=2, parameters={"k": 1}, traceparent="00-a-b-01", timeout_us=5)
    served.submit(asked, Answers())
    sent = models["join"].requests[0]
    assert (sent.priority, sent.parameters, sent.traceparent, sent.timeout_us) == (2, {"k": 1}, "00-a-b-01", 5)
    assert sent.callers == ("flow",)
    assert [w.name for w in sent.outputs] == ["sum"]


def test_only_steps_that_the_wanted_outputs_need_run():
    outputs = f'output {{ name: "p" {VECTOR} }} output {{ name: "out" {VECTOR} }}'
    served, models = diamond(outputs=outputs)
    answers = Answers()
    served.submit(request("flow", X, outputs=(WantedOutput("p"),)), answers)
    assert answers.outputs == {"p": [2, 3]}
    assert not models["join"].requests


def test_in_flight_requests_of_a_step_are_bounded():
    served, models = diamond("left", within="max_inflight_requests: 1")
    answers = [Answers() for _ in range(3)]
    tickets = [served.submit(request("flow", X), a) for a in answers]
    assert len(models["left"].held) == 1
    assert queue_length(served) == 2
    tickets[1].cancel()
    models["left"].held[0].answer()
    assert answers[0].outputs == {"out": [114, 116]}
    assert len(models["left"].held) == 1
    models["left"].held[0].answer()
    assert answers[2].outputs == {"out": [114, 116]}
    assert len(models["left"].requests) == 2


def test_many_that_waited_are_answered_in_one_go():
    """A model that answers at once, as one whose queue is full, takes no stack for each that waits."""
    served, models = diamond("first", within="max_inflight_requests: 1")
    answers = [Answers() for _ in range(2000)]
    for done in answers:
        served.submit(request("flow", X), done)
    models["first"].is_held = False
    models["first"].held[0].answer()
    assert all(a.outputs == {"out": [114, 116]} for a in answers)


def test_a_wrong_request():
    served, _ = diamond()
    answers = Answers()
    served.submit(request("flow", tensor("in", "FP32", [1, 2, 3])), answers)
    assert answers.error.reason is Reason.INVALID
    assert "unexpected shape for input 'in' for model 'flow'. Expected [2], got [3]" in answers.error.message
    assert served.statistics.failures["OTHER"] == 1


def test_a_model_that_went_away():
    served, models = diamond()
    del models["left"]
    answers = Answers()
    served.submit(request("flow", X), answers)
    assert answers.error.reason is Reason.NOT_FOUND
    assert answers.error.message.startswith("in ensemble 'flow', step 2 (model 'left'): ")


def test_closing_waits_for_requests():
    served, models = diamond("join")
    answers = Answers()

    async def run() -> None:
        served.submit(request("flow", X), answers)
        closing = asyncio.ensure_future(served.close())
        await asyncio.sleep(0)
        assert not closing.done()
        models["join"].held[0].answer()
        await closing

    asyncio.run(run())
    assert answers.outputs == {"out": [114, 116]}


def test_optional_inputs_go_through_or_stay_away():
    config = f'name: "maybe" input {{ name: "x" {VECTOR} }} input {{ name: "shift" {VECTOR} optional: true }}'
    maybe = toy(f'{config} output {{ name: "y" {VECTOR} }}', lambda x, shift=1000: {"y": x + shift})
    inputs = f'input {{ name: "in" {VECTOR} }} input {{ name: "by" {VECTOR} optional: true }}'
    served = ensemble(flow(step("maybe", {"x": "in", "shift": "by"}, {"y": "out"}), inputs=inputs), shelf(maybe))
    with_it, without = Answers(), Answers()
    served.submit(request("flow", X, tensor("by", "FP32", [5, 5])), with_it)
    served.submit(request("flow", X), without)
    assert with_it.outputs == {"out": [6, 7]}
    assert without.outputs == {"out": [1001, 1002]}


ADD = step("add", {"x": "in"}, {"y": "out"})
WHOLE = "data_type: TYPE_INT32 dims: [2]"
OTHER = f'name: "other" input {{ name: "x" {WHOLE} }} output {{ name: "y" data_type: TYPE_FP32 dims: [3] }}'


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (flow(), "ensemble 'flow': ensemble_scheduling has no step"),
        (flow(step("gone", {"x": "in"}, {"y": "out"})), "step 0 (model 'gone'): Request for unknown model: 'gone'"),
        (
            flow(step("flow", {"x": "in"}, {"y": "out"})),
            "step 0 (model 'flow'): an ensemble cannot be a step of itself",
        ),
        (flow(step("add", {"x": "in"}, {"y": "out"}, "")), "model_version is 0; expected a version, or -1"),
        (flow(step("add", {"x": "in"}, {})), "step 0 (model 'add'): output_map is empty"),
        (flow(step("add", {"z": "in"}, {"y": "out"})), "step 0 (model 'add'): no input is called 'z'; it has x"),
        (flow(step("add", {"x": "in"}, {"z": "out"})), "step 0 (model 'add'): no output is called 'z'; it has y"),
        (flow(step("add", {"x": "q"}, {"y": "out"})), "input 'x' takes tensor 'q', which no step and no input gives"),
        (flow(step("join", {"a": "in"}, {"sum": "out"})), "step 0 (model 'join'): input_map has no 'b'"),
        (flow(ADD, ADD), "tensor 'out' comes from both step 0 and step 1"),
        (flow(step("add", {"x": "in"}, {"y": "in"})), "tensor 'in' comes from both the ensemble's inputs and step 0"),
        (flow(ADD, step("add", {"x": "in"}, {"y": "p"})), "tensor 'p' from step 1 is not used; leave it out"),
        (
            flow(
                step("join", {"a": "in", "b": "q"}, {"sum": "p"}),
                step("add", {"x": "p"}, {"y": "q"}),
                step("add", {"x": "in"}, {"y": "out"}),
            ),
            "steps 0 (model 'join'), 1 (model 'add') wait for each other's tensors: the steps form a cycle",
        ),
        (flow(step("other", {"x": "in"}, {"y": "out"})), "input 'x' is INT32[2], but tensor 'in' from the ensemble's"),
        (
            flow(step("other", {"x": "in"}, {"y": "out"}), inputs=f'input {{ name: "in" {WHOLE} }}'),
            "output 'out' is declared as FP32[2], but step 0 gives FP32[3]",
        ),
        (flow(ADD, outputs=f'output {{ name: "o" {VECTOR} }}'), "no step gives output 'o'"),
        (
            flow(ADD, inputs=f'input {{ name: "in" {VECTOR} optional: true }}'),
            "must be given, but tensor 'in' is optional",
        ),
        (flow(step("many", {"x": "in"}, {"y": "out"})), "step 0 (model 'many'): the model is decoupled"),
        (
            flow(step("two", {"x": "in"}, {"y": "out"}), more="max_batch_size: 4"),
            "max_batch_size is 4, but the model's is 2",
        ),
    ],
)
def test_refused_at_load(config: str, message: str):
    decoupled, batching = adder("many", 1), adder("two", 1)
    decoupled.config.model_transaction_policy.decoupled = True
    batching.config.max_batch_size = 2
    models = shelf(adder("add", 1), joiner(), decoupled, batching, toy(OTHER, lambda x: {"y": x}))
    with pytest.raises(ServingError) as caught:
        ensemble(config, models)
    assert message in caught.value.message
    assert caught.value.message.startswith("ensemble 'flow'")
