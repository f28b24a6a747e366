"""Run a slice of the standard cases in a process of its own: ``python -m conformance.worker FIRST STEP``.

Prints one JSON object per case, and the case's number before it begins, so that a crash is pinned to its case.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from conformance.cases import node_cases
from conformance.outcome import run_case
from fusee.base.target import detect_cpu
from fusee.kernels.cpu.compile import Compiler


def main(first: int, step: int) -> None:
    """Run cases first, first + step, … to the last."""
    cases = node_cases()
    with Compiler(detect_cpu(), processes=1) as compiler:
        for i in range(first, len(cases), step):
            print(json.dumps({"begins": i}), flush=True)
            print(json.dumps(asdict(run_case(cases[i], compiler))), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
