"""One caller's state of an engine: memory, threads and the shapes seen lately."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.engine.plan import Plan, PlanInput, PlanOutput
from fusee.runtime.bind import Constants
from fusee.runtime.device import Device
from fusee.runtime.profile import StepTime, profile
from fusee.runtime.request import Request, writable_by_kernels
from fusee.runtime.runner import Runner, check_output


class Session:
    """Runs one engine. Made by ``Engine.session``; close it, or use it in a ``with``, to give its threads back.

    Runs from several threads take turns; for runs side by side make several sessions, which share weights and code.
    """

    def __init__(self, plan: Plan, device: Device, constants: Constants) -> None:
        self._plan = plan
        self._device = device
        self._constants = constants
        self._request = Request(plan)
        self._runner = Runner(plan, device, constants)
        self._names = tuple(o.name for o in plan.outputs)
        self._turn = threading.Lock()
        self._background: ThreadPoolExecutor | None = None
        self._closed = False

    @property
    def inputs(self) -> tuple[PlanInput, ...]:
        return self._plan.inputs

    @property
    def outputs(self) -> tuple[PlanOutput, ...]:
        return self._plan.outputs

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Results by name, in new arrays. Inputs are numpy arrays or objects with ``__dlpack__``.

        Raises RequestError when names, element types or shapes are not what the engine takes.
        """
        arrays = self._request.inputs(inputs)
        with self._turn:
            self._check_open()
            results = self._runner.run(arrays)
        return dict(zip(self._names, results, strict=True))

    def run_into(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Run with results written to the caller's arrays; results not named in ``outputs`` are dropped.

        Row-major arrays are written to directly, others through a copy. Raises RequestError as ``run`` does, and when
        an output array has another element type or shape than its result.
        """
        arrays = self._request.inputs(inputs)
        given = self._request.outputs(outputs)
        direct = [writable_by_kernels(a, arrays) for a in given]
        with self._turn:
            self._check_open()
            results = self._runner.run(arrays, direct)
        for item, array, result in zip(self._plan.outputs, given, results, strict=True):
            if array is not None and array is not result:
                check_output(item, array, result.shape)
                np.copyto(array, result)

    def run_async(self, inputs: Mapping[str, Any]) -> Future[dict[str, Array]]:
        """Start a run on another thread; the arrays must not change before the future is done."""
        with self._turn:
            self._check_open()
            if self._background is None:
                self._background = ThreadPoolExecutor(1, thread_name_prefix="fusee-async")
            return self._background.submit(self.run, inputs)

    def profile(self, inputs: Mapping[str, Any], runs: int = 10) -> list[StepTime]:
        """The median time of each step, over that many runs."""
        arrays = self._request.inputs(inputs)
        with self._turn:
            self._check_open()
            return profile(self._runner, arrays, runs)

    def memory_report(self) -> dict[str, int]:
        """Bytes by purpose: ``arena`` and ``scratch`` are this session's own, ``weights`` shared with others."""
        return {**self._runner.report(), **self._device.report(), "weights": self._constants.memory.size_bytes}

    def close(self) -> None:
        """Stop the session's threads; waits for runs under way. Again is harmless."""
        with self._turn:
            self._closed = True
            background, self._background = self._background, None
        if background is not None:
            background.shutdown()
        self._device.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RequestError("this session is closed; make a new one with engine.session()")
