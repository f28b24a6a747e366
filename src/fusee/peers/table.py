"""The engines that are measured: how each loads a model and answers.

``load`` runs in the engine's own child process (``fusee.peers.process``), so the libraries never meet.
To add one: write its loading here and list it in PEERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Answer = Callable[[Arrays], dict[str, Array]]
"""One request: named inputs to named outputs."""


@dataclass(frozen=True)
class Peer:
    """One engine under its public interface."""

    name: str
    library: str
    """Python module to import before the clock of loading starts."""
    package: str
    """Name that its version is asked by."""
    load: Callable[[Any, str, int], Answer]
    """Library, file and threads to what answers requests."""
    builds: bool = False
    """It loads an engine that ``python -m fusee build`` makes of the model, and not the model itself."""

    def imported(self) -> Any:
        """The library; raises ImportError when it is not installed."""
        return import_module(self.library)

    def version(self) -> str:
        """The installed version."""
        return version(self.package)


def _load_onnxruntime(library: Any, path: str, threads: int) -> Answer:
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def _load_openvino(library: Any, path: str, threads: int) -> Answer:
    configuration = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    compiled = library.Core().compile_model(path, "CPU", configuration)
    request = compiled.create_infer_request()
    names = [port.any_name for port in compiled.outputs]

    def answer(inputs: Arrays) -> dict[str, Array]:
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
        return {name: results[number] for number, name in enumerate(names)}

    return answer


def _load_fusee(library: Any, path: str, threads: int) -> Answer:
    return library.load(path).session(threads=threads).run


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("fusee", "fusee", "fusee", _load_fusee, builds=True),
        Peer("onnxruntime", "onnxruntime", "onnxruntime", _load_onnxruntime),
        Peer("openvino", "openvino", "openvino", _load_openvino),
    )
}
