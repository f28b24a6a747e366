"""Fuzzes targets with atheris, one after the other, by libFuzzer's options; from the repository's folder::

    PYTHONPATH=src:tests:tests/onnx:. python -m server.fuzz.explore http2 -max_total_time=600 [CORPUS...]

A fault ends it, printed with its input, which is also written to ``crash-*``. Several targets are named with commas
between, and ``all`` is all of them. Seeds are the targets' own; folders of a corpus may be given, of which the first
takes what is found.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["fusee", "google.protobuf"], enable_loader_override=False):
    from server.fuzz.targets import TARGETS, Target


def main() -> None:
    chosen, *options = sys.argv[1:]
    for name in TARGETS if chosen == "all" else chosen.split(","):
        print(f"fuzzing {name}", file=sys.stderr, flush=True)
        child = os.fork()  # libFuzzer ends its process; the imports, instrumented, are made once
        if not child:
            fuzz(TARGETS[name], options)
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            sys.exit(f"{name} ended with {code}")


def fuzz(target: Target, options: Sequence[str]) -> NoReturn:
    with tempfile.TemporaryDirectory() as folder:
        for index, seed in enumerate(target.seeds()):
            (Path(folder) / str(index)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *options, folder], target.run)
        atheris.Fuzz()
    raise AssertionError("libFuzzer came back")


if __name__ == "__main__":
    main()
