"""From emitted text to running code: control flow, masks, sizes, constant tables, and what is refused."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.errors import InternalError
from fusee.base.target import CpuTarget, detect_cpu
from fusee.kernels.cpu.compile import Compiler, Source, compile_image
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.ssa import Ssa, literal, vector, zero
from kernels.run_kernel import Loaded

HOST = detect_cpu()


def sum_of_squares(symbol: str, target: CpuTarget) -> Emitter:
    """Writes the sum of squares of N floats, masked vectors at a time, weighted by a table of one entry."""
    e = Emitter(symbol, target)
    x, out, n = e.operand(0), e.result(0), e.dim(sym("N"))
    lanes = e.lanes_for("float")
    type = vector("float", lanes)

    def body(i: Ssa, total: Ssa) -> list[Ssa]:
        part = e.load_masked(type, e.at(x, "float", i), e.first_lanes(e.sub(n, i), lanes))
        return [e.fma(part, part, total)]

    (total,) = e.loop(0, n, lanes, body, [zero(type)])
    weight = e.load("float", e.table("float", [0.5]))
    e.store(e.fmul(e.reduce(e.fadd, total), weight), out)
    return e


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize("size", [0, 1, 16, 100])
def test_a_function_runs_from_anywhere(isa: str, size: int) -> None:
    emitter = sum_of_squares("k", HOST.with_isa(isa))
    loaded = Loaded(compile_image([Source("k", emitter.text(), frozenset(emitter.declarations))], emitter.target, 1))
    x = np.arange(size + 8, dtype=np.float32)  # what lies behind the end must not count
    result = np.zeros(1, np.float32)
    args = np.array([x.ctypes.data, result.ctypes.data, size], np.int64)
    assert emitter.launch(1).scalars == (sym("N"),)
    loaded["k"](args.ctypes.data, 0, 1, ctypes.c_void_p())
    assert result[0] == 0.5 * (x[:size] ** 2).sum()


def test_the_image_does_not_depend_on_how_many_processes_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusee.kernels.cpu.compile.MODULE_BYTES", 3000)
    emitters = [sum_of_squares(f"k{i}", HOST) for i in range(5)]
    sources = [Source(e.symbol, e.text(), frozenset(e.declarations)) for e in emitters]
    one, two = (compile_image(sources, HOST, n) for n in (1, 2))
    assert one.data == two.data
    assert one.symbols == two.symbols
    assert set(one.symbols) == {f"k{i}" for i in range(5)}


def test_an_image_joins_objects_that_call_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusee.kernels.cpu.compile.MODULE_BYTES", 1)
    inner = Source("inner", "define void @inner(ptr %p) #0 {\n  store i64 7, ptr %p\n  ret void\n}\n")
    text = "define void @outer(ptr %p) #0 {\n  call void @inner(ptr %p)\n  ret void\n}\n"
    outer = Source("outer", text, frozenset({"declare void @inner(ptr)"}))
    loaded = Loaded(compile_image([inner, outer], HOST, 1))
    word = np.zeros(1, np.int64)
    loaded["outer"](word.ctypes.data, 0, 1, None)
    assert word[0] == 7


def test_rejected_code_is_named_and_the_compiler_goes_on() -> None:
    good = sum_of_squares("good", HOST)
    fine = Source("good", good.text(), frozenset(good.declarations))
    wrong = Source("wrong", "define void @wrong() #0 {\n  store i64 %nothing, ptr null\n  ret void\n}\n")
    with Compiler(HOST, 1) as compiler:
        with pytest.raises(InternalError, match=r"(?s)code of wrong: .*undefined value"):
            compiler.image([fine, wrong])
        assert "good" in compiler.image([fine]).symbols


def test_code_that_llvm_dies_of_is_named() -> None:
    text = 'define void @dies(ptr %p) #0 {\n  call void asm "nonsense %", ""()\n  ret void\n}\n'
    with pytest.raises(InternalError, match="code of dies"):
        compile_image([Source("dies", text)], HOST, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("define void @k() #0 {\n  call void @exp()\n  ret void\n}\ndeclare void @exp()\n", "calls 'exp'"),
        ("@state = global i64 1\n", "8 bytes of writable data"),
    ],
)
def test_code_that_could_not_run_alone_is_refused(text: str, message: str) -> None:
    with pytest.raises(InternalError, match=message):
        compile_image([Source("k", text)], HOST, 1)


def test_a_function_defined_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusee.kernels.cpu.compile.MODULE_BYTES", 1)
    text = "define void @k() #0 {\n  ret void\n}\n"
    with pytest.raises(InternalError, match="k is defined twice"):
        compile_image([Source("a", text), Source("b", text)], HOST, 1)


def test_sizes_fold_while_the_build_knows_them() -> None:
    e = Emitter("k", HOST)
    assert e.add(e.mul(e.dim(3), 4), e.div(9, 2)) == 16
    assert e.mul(e.dim(sym("N")), 0) == 0
    assert isinstance(e.add(e.dim(sym("N")), 1), Ssa)


def test_mixed_types_are_refused_where_they_are_written() -> None:
    e = Emitter("k", HOST)
    with pytest.raises(InternalError, match="fadd of float and double"):
        e.fadd(literal("float", 1), literal("double", 1))
