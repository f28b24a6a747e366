"""Encoded pictures in requests: decoded on worker threads into the batch that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from threading import Lock
from time import monotonic_ns

import numpy as np

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.images import ImageSteps, ImageTooLarge, open_encoded, read_into
from fusee.runtime.profile import StepTime
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.observe.sources import Explaining, Stepped, queue_length
from fusee.server.pipelines.account import CANCELLED, Account, deadline_error
from fusee.server.pipelines.image_config import image_input
from fusee.server.plane import Post, Servable
from fusee.server.scheduling.explain import Explanation
from fusee.server.settings import Limits
from fusee.server.types import ANSWERED, Done, InferRequest, Tensor, Ticket

MOST_IMAGES = 256  # of one request to a model without batching
MOST_WAITING = 1024  # of one model, all requests together
MOST_PIXELS = Limits().image_pixels


def decode_into(content: bytes, steps: ImageSteps, picture: Array, most_pixels: int = MOST_PIXELS) -> None:
    """Write one encoded picture into ``picture``, of ``steps.shape``. Raises ServingError INVALID or TOO_LARGE."""
    try:
        read_into(open_encoded(content, most_pixels), steps, picture)
    except ImageTooLarge as err:
        raise ServingError(Reason.TOO_LARGE, str(err)) from err
    except RequestError as err:
        raise invalid(str(err)) from err


def decode_images(encoded: Array, steps: ImageSteps, most_pixels: int = MOST_PIXELS) -> Array:
    """Encoded pictures, BYTES of any shape, as one batch [N, *steps.shape]. Raises ServingError naming the picture."""
    batch = np.empty((encoded.size, *steps.shape), steps.dtype)
    for index, content in enumerate(encoded.ravel()):
        try:
            decode_into(content, steps, batch[index], most_pixels)
        except ServingError as err:
            raise ServingError(err.reason, f"image {index}: {err.message}") from err
    return batch


def with_images(
    servable: Servable, steps: ImageSteps, post: Post, executor: Executor, most_pixels: int = MOST_PIXELS
) -> Servable:
    """The model, taking encoded pictures too for the input that its configuration names ``image_input``.

    Pictures of a request are decoded side by side on ``executor``, which stays the caller's, and then submitted as
    tensors, so that batches are made of decoded pictures. The decoding counts as compute_input.
    """
    name = image_input(servable.config)
    assert name is not None, servable.name
    return _ImageServable(servable, name, steps, post, executor, most_pixels)


class _ImageServable:
    """A Servable in front of another of the same name."""

    def __init__(
        self, inner: Servable, name: str, steps: ImageSteps, post: Post, executor: Executor, most_pixels: int
    ) -> None:
        self.name = inner.name
        self.version = inner.version
        self.config = inner.config
        self.inputs = inner.inputs
        self.outputs = inner.outputs
        self.labels = inner.labels
        self.statistics = inner.statistics
        self.inner = inner
        self.steps = steps
        self.post = post
        self.executor = executor
        self.most_pixels = most_pixels
        self.account = Account(inner.statistics)
        self.waiting = 0  # pictures handed to the executor and not yet decoded
        self._input = name

    @property
    def queue_length(self) -> int:
        """Requests that nothing computes yet: the model's, and those whose pictures are not decoded."""
        return queue_length(self.inner) + self.account.under_way

    def explain(self) -> Sequence[Explanation]:
        """Why the model's last requests waited, if it says."""
        return self.inner.explain() if isinstance(self.inner, Explaining) else ()

    def step_times(self) -> Sequence[StepTime]:
        """The model's, if it is an engine."""
        return self.inner.step_times() if isinstance(self.inner, Stepped) else ()

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        """Decode the pictures of a request, if it brings any, and submit it to the model."""
        tensor = next((t for t in request.inputs if t.name == self._input), None)
        if tensor is None or tensor.datatype != "BYTES":
            return self.inner.submit(request, done)
        try:
            shape = self._shape(tensor)
        except ServingError as err:
            self.account.refuse(request, err)
            done(err)
            return ANSWERED
        decoding = _Decoding(self, request, done, tensor, shape)
        decoding.start()
        return decoding

    def _shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Of the tensor that the pictures become. Raises ServingError."""
        count = tensor.values().size
        where = f"input {tensor.name!r} of model {self.name!r}"
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ((), (1,)):
            raise invalid(f"{where}: encoded images of shape {list(tensor.shape)}; expected [N] or [N,1], one each")
        declared = next(i.shape for i in self.inputs if i.name == tensor.name)
        is_single = len(declared) == 3
        most = 1 if is_single else self.config.max_batch_size or MOST_IMAGES
        if not 1 <= count <= most:
            raise invalid(f"{where}: {count} encoded images; expected 1 to {most}")
        if self.waiting + count > MOST_WAITING:
            raise ServingError(
                Reason.OVERLOADED, f"{where}: {self.waiting} images wait to be decoded, at most {MOST_WAITING} may", 1.0
            )
        return self.steps.shape if is_single else (count, *self.steps.shape)

    async def close(self) -> None:
        """Once what was accepted is decoded and answered."""
        await self.account.drained()
        await self.inner.close()


class _Decoding:
    """One request whose pictures are being decoded. It is its own ticket, also of what follows."""

    def __init__(
        self, servable: _ImageServable, request: InferRequest, done: Done, tensor: Tensor, shape: tuple[int, ...]
    ) -> None:
        self._servable = servable
        self._request = request
        self._done = done
        self._encoded: Sequence[bytes] = tuple(tensor.values().ravel())
        self._name = tensor.name
        self._batch = np.empty(shape, servable.steps.dtype)
        self._left = len(self._encoded)
        self._lock = Lock()
        self._error: ServingError | None = None  # of the first picture that cannot be decoded, under the lock
        self._is_over = False
        self._ticket: Ticket | None = None
        self._started_ns = monotonic_ns()

    def start(self) -> None:
        servable = self._servable
        servable.account.begin()
        servable.waiting += self._left
        pictures = self._batch.reshape(len(self._encoded), *servable.steps.shape)
        for index, content in enumerate(self._encoded):
            servable.executor.submit(self._decode, index, content, pictures[index])

    def cancel(self) -> None:
        if self._ticket is not None:
            self._ticket.cancel()
        elif not self._is_over:
            self._finish(ServingError(Reason.CANCELLED, CANCELLED))

    def _decode(self, index: int, content: bytes, picture: Array) -> None:
        """On a worker thread: one picture, unless the request has failed or was cancelled."""
        error = None
        if not self._is_over and self._error is None:
            error = self._failure(index, content, picture)
        with self._lock:
            self._error = self._error or error
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._servable.post(self._decoded)

    def _failure(self, index: int, content: bytes, picture: Array) -> ServingError | None:
        expired = deadline_error(self._request, "while images were decoded")
        if expired is not None:
            return expired
        try:
            decode_into(content, self._servable.steps, picture, self._servable.most_pixels)
        except ServingError as err:
            where = f"image {index} of input {self._name!r} of model {self._servable.name!r}"
            return ServingError(err.reason, f"{where}: {err.message}")
        return None

    def _decoded(self) -> None:
        """On the loop's thread: all pictures are there, or one is wrong."""
        servable = self._servable
        servable.waiting -= len(self._encoded)
        if self._is_over:
            return
        if self._error is not None:
            self._finish(self._error)
            return
        servable.account.end()  # what follows is in the model's own books
        self._request.timing.decode_ns = monotonic_ns() - self._started_ns
        inputs = tuple(self._tensor() if t.name == self._name else t for t in self._request.inputs)
        self._is_over = True
        self._ticket = servable.inner.submit(replace(self._request, inputs=inputs), self._done)

    def _tensor(self) -> Tensor:
        datatype = next(i.datatype for i in self._servable.inputs if i.name == self._name)
        return Tensor(self._name, datatype, self._batch.shape, self._batch)

    def _finish(self, error: ServingError) -> None:
        self._is_over = True
        self._servable.account.fail(self._request, error)
        self._done(error)
