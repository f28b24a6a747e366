"""Every sample of every op on every CPU kernel and tactic that accepts it, for both vector widths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from fusee.base.target import CpuTarget, detect_cpu
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op
from fusee.kernels.cpu import KERNELS
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.kernel import KernelCall, Operand
from fusee.ops import OPS
from fusee.ops.control import After, Bind, If, Loop, Scan
from fusee.ops.shape import Reshape
from kernels.run_kernel import Job, emit, load, run_job
from kernels.tolerances import differences

STEERING = (If, Loop, Scan, After, Bind, Reshape)  # no kernel computes these: the session steers, or bytes stay put
NATIVE = tuple(op for op in OPS if op.samples and not op.on_host and op not in STEERING)


@pytest.fixture(scope="module", params=["avx512", "avx2"])
def compiler(request: pytest.FixtureRequest) -> Iterator[Compiler]:
    host = detect_cpu()
    if host.with_isa(request.param).isa != request.param:
        pytest.skip(f"this machine has no {request.param}")
    with Compiler(host.with_isa(request.param), 1) as opened:
        yield opened


@pytest.mark.parametrize("kind", NATIVE, ids=lambda op: op.__name__)
def test_samples(kind: type[Op], compiler: Compiler) -> None:
    jobs: list[tuple[Job, Sequence[Array]]] = []
    for number, (op, types) in enumerate(kind.samples):
        arrays = op.sample_operands(np.random.default_rng(number), *map(TensorType.parse, types))
        found = [(job, arrays) for job in sample_jobs(op, arrays, compiler.target, f"s{number}")]
        why = "\n".join(refusals(op, arrays, compiler.target))
        assert found or op.host_fallback, f"no kernel computes {op!r} of {types}:\n{why}"
        if not found:
            print(f"on the host: {op!r} of {types}\n{why}")
        jobs += found
    if not jobs:
        pytest.skip(f"{kind.__name__} runs on the host")
    loaded = load(compiler, [job for job, _ in jobs])
    problems = [problem for job, arrays in jobs if (problem := checked(loaded, job, arrays))]
    assert not problems, "\n".join(problems)


def calls(op: Op, arrays: Sequence[Array], target: CpuTarget) -> Iterator[KernelCall]:
    """The op with operands that only the run knows, and with all but the first known at build time."""
    unknown = [Operand(TensorType.of(a)) for a in arrays]
    yield KernelCall.of(op, unknown, target)
    if len(arrays) > 1:
        known = [Operand(TensorType.of(a), value=a) for a in arrays[1:]]
        yield KernelCall.of(op, [*unknown[:1], *known], target)


def sample_jobs(op: Op, arrays: Sequence[Array], target: CpuTarget, symbol: str) -> Iterator[Job]:
    for i, call in enumerate(calls(op, arrays, target)):
        for kernel in KERNELS:
            if not isinstance(op, kernel.op) or kernel.refuses(call):
                continue
            for j, tactic in enumerate(kernel.tactics(call)):
                yield emit(kernel, call, tactic, f"{symbol}_{i}_{kernel.name}_{j}")


def refusals(op: Op, arrays: Sequence[Array], target: CpuTarget) -> list[str]:
    call = next(calls(op, arrays, target))
    return [f"{k.name}: {k.refuses(call)}" for k in KERNELS if isinstance(op, k.op)]


def checked(loaded: object, job: Job, arrays: Sequence[Array]) -> str:
    expected = job.call.op.compute(*arrays)
    found = run_job(loaded, job, arrays)  # pyright: ignore[reportArgumentType]
    wrong = [d for f, x in zip(found, expected, strict=True) if (d := differences(f, x))]
    return f"{job}: {'; '.join(wrong)}" if wrong else ""
