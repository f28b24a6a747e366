"""Fusee: compiles a trained ONNX model into an engine tuned to one machine, and runs it.

    engine = fusee.build("model.onnx")      # needs fusee[cpu]
    engine.save("model.fusee")
    engine = fusee.load("model.fusee")      # needs numpy alone
    outputs = engine.run({"input": array})

``build`` and ``BuildOptions`` load the compile half when they are first used, so that an installation without it runs
engines all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusee.base.errors import FuseeError
from fusee.base.target import CpuTarget
from fusee.runtime.engine import Engine, load
from fusee.runtime.session import Session

if TYPE_CHECKING:
    from fusee.build import BuildOptions as BuildOptions
    from fusee.build import build as build

__all__ = ["BuildOptions", "CpuTarget", "Engine", "FuseeError", "Session", "build", "load"]


def __getattr__(name: str) -> Any:
    if name not in ("build", "BuildOptions"):
        raise AttributeError(f"module 'fusee' has no attribute {name!r}")
    import importlib

    compiler = importlib.import_module("fusee.build")  # which Python binds to `build` here: a module that can be called
    globals()["BuildOptions"] = compiler.BuildOptions
    return globals()[name]
