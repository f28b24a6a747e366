"""The times of an engine's steps: of the batch that ran last, and never in the way of requests."""

from __future__ import annotations

import asyncio

import numpy as np

import fusee
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.scheduling.servable import EngineServable, serve_engine
from fusee.server.types import InferRequest, Tensor


def serve(engine: fusee.Engine) -> EngineServable:
    post = asyncio.get_running_loop().call_soon_threadsafe
    return serve_engine("adder", "1", engine, ModelConfig(name="adder", max_batch_size=8), post, threads=1)


async def ask(servable: EngineServable, items: int) -> None:
    """Have a request answered, and its instance free again."""
    array = np.ones((items, 4), np.float32)
    tensors = tuple(Tensor(name, "FP32", array.shape, array) for name in ("a", "b"))
    answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    servable.submit(InferRequest("adder", "", "", tensors), answered.set_result)
    await answered
    while not servable._pool.is_idle:  # pyright: ignore
        await asyncio.sleep(0.001)


def test_steps_are_of_the_batch_that_ran_last(adder: fusee.Engine):
    async def run() -> None:
        servable = serve(adder)
        assert servable.step_times() == (), "nothing ran yet"
        await ask(servable, 2)
        (small,) = servable.step_times()
        assert servable.step_times()[0] is small, "measured once"
        await ask(servable, 8)
        (large,) = servable.step_times()
        assert (small.traffic_bytes, large.traffic_bytes) == (2 * 4 * 4 * 3, 8 * 4 * 4 * 3)
        assert small.kernel
        await servable.close()

    asyncio.run(run())


def test_an_instance_is_only_taken_when_it_is_free(adder: fusee.Engine):
    async def run() -> None:
        servable = serve(adder)
        await ask(servable, 2)
        pool = servable._pool  # pyright: ignore
        taken = [pool.claim() for _ in pool.instances]
        assert servable.step_times() == ()
        for instance in taken:
            assert instance is not None
            pool.give_back(instance)
        assert len(servable.step_times()) == 1
        await servable.close()

    asyncio.run(run())
