"""One session of an engine, and the memory in which batches are put together for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusee.base.errors import FuseeError, RequestError
from fusee.base.types import Array
from fusee.runtime.memory import Memory, allocate
from fusee.runtime.profile import StepTime
from fusee.runtime.session import Session
from fusee.server.errors import Reason, ServingError

Arrays = dict[str, Array]


class Instance:
    """Runs batches, one at a time: whoever takes it out of the free ones has it alone."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._memory: dict[str, Memory] = {}

    def run(self, arrays: Arrays) -> Arrays:
        """Outputs in new arrays. Raises ServingError: INVALID when the engine refuses the inputs, else INTERNAL."""
        try:
            return self._session.run(arrays)
        except RequestError as err:
            raise ServingError(Reason.INVALID, str(err)) from err
        except FuseeError as err:
            raise ServingError(Reason.INTERNAL, str(err)) from err
        except Exception as err:  # whatever a model does, its requests are answered and others go on
            raise ServingError(Reason.INTERNAL, f"{type(err).__name__} in the model: {err}") from err

    def profile(self, arrays: Arrays, runs: int) -> list[StepTime]:
        """The usual time of each step of the engine. Raises FuseeError."""
        return self._session.profile(arrays, runs)

    def joined(self, requests: Sequence[Arrays]) -> Arrays:
        """The arrays of several requests, one after the other along the leading dimension.

        They lie in memory that the next call uses again.
        """
        return {name: self._join(name, [arrays[name] for arrays in requests]) for name in requests[0]}

    def _join(self, name: str, parts: list[Array]) -> Array:
        first = parts[0]
        shape = (sum(len(part) for part in parts), *first.shape[1:])
        size_bytes = first.itemsize
        for size in shape:
            size_bytes *= size
        memory = self._memory.get(name)
        if memory is None or memory.size_bytes < size_bytes:
            memory = self._memory[name] = allocate(size_bytes)
        whole = np.ndarray(shape, first.dtype, buffer=memory.array.data)
        return np.concatenate(parts, out=whole)

    def close(self) -> None:
        self._session.close()
