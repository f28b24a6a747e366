"""A model that takes encoded pictures: what its configuration says, and what its requests become."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

from fusee.images import Channels, ImageSteps, Interpolation, Layout, Resize
from fusee.server.errors import Reason, ServingError
from fusee.server.pipelines.ensemble import Ensemble
from fusee.server.pipelines.ensemble_plan import plan_ensemble
from fusee.server.pipelines.image_config import image_steps
from fusee.server.pipelines.images import MOST_WAITING, with_images
from fusee.server.repository.config import parse_config
from fusee.server.types import InferRequest, Tensor
from server.pipelines.picture_files import by_the_rules, encoded, noise, png_header
from server.pipelines.toy_models import Answers, Loop, Toy, request, shelf, tensor, toy

PICTURES = [noise(20, 30, seed) for seed in range(4)]


def parameters(**values: str) -> str:
    return " ".join(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in values.items())


def config(dims: str = "3, 8, 6", most: int = 4, datatype: str = "FP32", **values: str) -> str:
    declared = f'input {{ name: "data" data_type: TYPE_{datatype} dims: [{dims}] }}'
    outputs = 'output { name: "mean" data_type: TYPE_FP32 dims: [1] }'
    return f'name: "net" max_batch_size: {most} {declared} {outputs} {parameters(**values)}'


def net(is_held: bool = False, **options: Any) -> Toy:
    def means(data: Any) -> dict[str, Any]:
        return {"mean": data.reshape(len(data), -1).mean(axis=1, keepdims=True)}

    return toy(config(**{"image_input": "data", **options}), means, is_held)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def serving(inner: Toy, loop: Loop, executor: Executor) -> Any:
    steps = image_steps(inner.config)
    assert steps is not None
    return with_images(inner, steps, loop.post, executor, most_pixels=10_000)


def images(*contents: bytes, shape: tuple[int, ...] | None = None) -> Tensor:
    found = tensor("data", "BYTES", list(contents))
    return found if shape is None else found._replace(shape=shape, array=found.values().reshape(shape))


def ask(served: Any, loop: Loop, *inputs: Tensor, **fields: Any) -> Answers:
    answers = Answers()
    served.submit(request("net", *inputs, **fields), answers)
    loop.until(lambda: answers.given)
    return answers


def test_all_that_a_configuration_can_say():
    said = parse_config(
        config(
            "-1, -1, 3",
            image_input="data",
            image_size="8x6",
            image_resize="crop",
            image_crop_fraction="0.875",
            image_interpolation="bicubic",
            image_channels="BGR",
            image_scale="1",
            image_mean="104,117,123",
            image_std="58",
        ),
        "net",
    )
    assert image_steps(said) == ImageSteps(
        8,
        6,
        Resize.CROP,
        Interpolation.BICUBIC,
        (104, 117, 123),
        (58,),
        1,
        Channels.BGR,
        Layout.HWC,
        crop_fraction=0.875,
    )


def test_the_least_that_it_can_say():
    assert image_steps(parse_config(config(image_input="data"), "net")) == ImageSteps(8, 6)
    grey = image_steps(parse_config(config("1, 8, 6", datatype="UINT8", image_input="data"), "net"))
    assert grey == ImageSteps(8, 6, channels=Channels.GRAY, dtype=np.dtype(np.uint8))
    assert image_steps(parse_config(config(), "net")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_mean": "0"}, "parameter 'image_mean' is given, but not image_input"),
        ({"image_input": "data", "image_sise": "8x6"}, "parameter 'image_sise' is unknown; expected image_input"),
        ({"image_input": "x"}, "image_input is 'x', but the inputs are data"),
        ({"image_input": "data", "datatype": "INT64"}, "input 'data' is INT64; pictures become one of UINT8"),
        ({"image_input": "data", "dims": "8, 6"}, "expected 1 or 3 channels"),
        ({"image_input": "data", "dims": "6"}, "expected [C,H,W] or [H,W,C]"),
        ({"image_input": "data", "dims": "4, 8, 6"}, "expected 1 or 3 channels, first or last"),
        ({"image_input": "data", "dims": "3, -1, 6"}, "image_size is missing; the input is -1x6"),
        ({"image_input": "data", "image_size": "8"}, "image_size is '8'; expected height x width"),
        ({"image_input": "data", "image_size": "9x6"}, "image_size is 9x6, but the input's height and width are 8x6"),
        ({"image_input": "data", "image_resize": "zoom"}, "image_resize is 'zoom'; expected one of stretch, crop"),
        ({"image_input": "data", "image_channels": "GRAY"}, "image_channels is GRAY, but input 'data' has 3 channels"),
        ({"image_input": "data", "image_mean": "1,x"}, "image_mean is '1,x'; expected numbers separated by commas"),
        ({"image_input": "data", "image_std": "nan"}, "image_std is 'nan'; expected finite numbers"),
        ({"image_input": "data", "image_std": "0"}, "nothing can be divided by 0"),
    ],
)
def test_what_a_configuration_cannot_say(options: dict[str, str], message: str):
    with pytest.raises(ServingError) as caught:
        image_steps(parse_config(config(**options), "net"))
    assert message in caught.value.message
    assert caught.value.message.startswith("model 'net'")


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_pictures_become_the_tensor_of_the_model(executor: ThreadPoolExecutor, shape: tuple[int, ...]):
    loop, inner = Loop(), net(image_resize="crop")
    served = serving(inner, loop, executor)
    answers = ask(served, loop, images(*[encoded(p, "PNG") for p in PICTURES[:3]], shape=shape))
    (sent,) = inner.requests[0].inputs
    steps = ImageSteps(8, 6, Resize.CROP)
    assert (sent.name, sent.datatype, sent.shape) == ("data", "FP32", (3, 3, 8, 6))
    np.testing.assert_allclose(sent.values(), np.stack([by_the_rules(p, steps) for p in PICTURES[:3]]), atol=1e-6)
    assert len(answers.outputs["mean"]) == 3
    assert answers.response.model == "net"


def test_tensors_go_straight_to_the_model(executor: ThreadPoolExecutor):
    loop, inner = Loop(), net()
    served, answers = serving(inner, loop, executor), Answers()
    sent = request("net", tensor("data", "FP32", np.ones((1, 3, 8, 6))))
    served.submit(sent, answers)
    assert answers.outputs == {"mean": [[1.0]]}
    assert inner.requests[0] is sent
    assert loop.is_idle


def test_a_model_without_batches(executor: ThreadPoolExecutor):
    loop, inner = Loop(), net(dims="3, 8, 6", most=0)
    served = serving(inner, loop, executor)
    ask(served, loop, images(encoded(PICTURES[0])))
    assert inner.requests[0].inputs[0].shape == (3, 8, 6)
    assert "2 encoded images; expected 1 to 1" in ask(served, loop, images(b"", b"")).error.message


def test_decoding_counts_as_input_and_pending(executor: ThreadPoolExecutor):
    loop, inner = Loop(), net()
    served, answers = serving(inner, loop, executor), Answers()
    served.submit(request("net", images(encoded(PICTURES[0]))), answers)
    assert served.statistics.pending == 1
    loop.until(lambda: answers.given)
    assert served.statistics is inner.statistics
    assert served.statistics.pending == 0
    assert served.statistics.compute_input.count == 1
    decode_ns = inner.requests[0].timing.decode_ns
    assert served.statistics.compute_input.ns == decode_ns > 0  # a toy's own is 0


@pytest.mark.parametrize(
    ("sent", "reason", "message"),
    [
        (
            images(encoded(PICTURES[0]), b"GIF89a"),
            Reason.INVALID,
            "image 1 of input 'data' of model 'net': 6 bytes that",
        ),
        (images(png_header(200, 200)), Reason.TOO_LARGE, "the picture has 200x200 pixels; at most 10000 are decoded"),
        (images(*[b""] * 5), Reason.INVALID, "5 encoded images; expected 1 to 4"),
        (images(), Reason.INVALID, "0 encoded images; expected 1 to 4"),
        (images(b"", b"", shape=(1, 2)), Reason.INVALID, "encoded images of shape [1, 2]; expected [N] or [N,1]"),
    ],
)
def test_wrong_pictures(executor: ThreadPoolExecutor, sent: Tensor, reason: Reason, message: str):
    loop, inner = Loop(), net()
    served = serving(inner, loop, executor)
    error = ask(served, loop, sent).error
    assert error.reason is reason
    assert message in error.message
    assert not inner.requests
    assert served.statistics.fail.count == 1
    assert served.statistics.pending == 0


def test_a_deadline_that_passed_spares_the_decoding(executor: ThreadPoolExecutor):
    loop, inner = Loop(), net()
    error = ask(serving(inner, loop, executor), loop, images(b"x"), deadline_ns=monotonic_ns() - 1).error
    assert error.reason is Reason.DEADLINE


class Idle(Executor):
    """Remembers what it should do."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def submit(self, fn: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        self.tasks.append(lambda: fn(*arguments, **named))
        return Future()


def test_cancelled_before_it_is_decoded():
    loop, inner, idle = Loop(), net(), Idle()
    served, answers = serving(inner, loop, idle), Answers()
    ticket = served.submit(request("net", images(b"x", b"y")), answers)
    ticket.cancel()
    ticket.cancel()
    assert answers.error.reason is Reason.CANCELLED
    for task in idle.tasks:
        task()
    loop.step()
    assert not inner.requests
    assert (served.statistics.pending, served.waiting) == (0, 0)


def test_the_queue_is_the_models_and_what_is_not_decoded():
    loop, inner, idle = Loop(), net(), Idle()
    vars(inner).update(queue_length=3, explain=lambda: ["full"])
    served = serving(inner, loop, idle)
    for picture in PICTURES[:2]:
        served.submit(request("net", images(encoded(picture))), Answers())
    assert (served.queue_length, served.explain()) == (5, ["full"])


def test_cancelled_when_the_model_has_it(executor: ThreadPoolExecutor):
    loop, inner = Loop(), net(is_held=True)
    served, answers = serving(inner, loop, executor), Answers()
    ticket = served.submit(request("net", images(encoded(PICTURES[0]))), answers)
    loop.until(lambda: inner.held)
    ticket.cancel()
    assert answers.error.reason is Reason.CANCELLED
    assert len(inner.cancelled) == 1


def test_more_pictures_than_may_wait_are_refused():
    loop, inner, idle = Loop(), net(most=0, dims="-1, 3, 8, 6"), Idle()
    served = serving(inner, loop, idle)
    for _ in range(MOST_WAITING // 256):
        served.submit(request("net", images(*[b"x"] * 256)), Answers())
    answers = Answers()
    served.submit(request("net", images(b"x")), answers)
    assert answers.error.reason is Reason.OVERLOADED
    assert f"{MOST_WAITING} images wait to be decoded" in answers.error.message


def test_closing_waits_for_the_decoding():
    loop, inner, idle = Loop(), net(), Idle()
    served, answers = serving(inner, loop, idle), Answers()

    async def run() -> None:
        served.submit(request("net", images(encoded(PICTURES[0]))), answers)
        closing = asyncio.ensure_future(served.close())
        await asyncio.sleep(0)
        assert not inner.is_closed
        idle.tasks[0]()
        loop.step()
        await closing

    asyncio.run(run())
    assert inner.is_closed
    assert answers.response


def test_a_step_of_an_ensemble_may_be_given_pictures(executor: ThreadPoolExecutor):
    loop = Loop()
    models = shelf(serving(net(), loop, executor))
    flow = parse_config(
        'name: "flow" max_batch_size: 4 input { name: "photo" data_type: TYPE_STRING dims: [1] }'
        ' output { name: "mean" data_type: TYPE_FP32 dims: [1] } ensemble_scheduling { step { model_name: "net"'
        ' model_version: -1 input_map { key: "data" value: "photo" } output_map { key: "mean" value: "mean" } } }',
        "flow",
    )
    served, answers = Ensemble(flow, "1", plan_ensemble(flow, models), models, {}), Answers()
    sent = InferRequest("flow", "", "", (images(encoded(PICTURES[0]), shape=(1, 1))._replace(name="photo"),))
    served.submit(sent, answers)
    loop.until(lambda: answers.given)
    np.testing.assert_allclose(
        answers.outputs["mean"], [[by_the_rules(PICTURES[0], ImageSteps(8, 6)).mean()]], rtol=1e-5
    )
