"""Emitter: writes one kernel function as LLVM IR text, readably and without knowing what it computes.

The function is ``void symbol(ptr %args, i64 %lo, i64 %hi, ptr %scratch)`` as ``kernels.kernel.Launch`` states it.
Pointers and run-time sizes are asked for by name (``operand(0)``, ``dim(H)``) and loaded once in the entry block.
Sizes are ``Index``: a Python int as long as the build knows the number, so that ``mul(4, dim(8))`` is just 32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fusee.base.dims import Dim
from fusee.base.errors import InternalError
from fusee.base.target import CpuTarget
from fusee.kernels.cpu.ssa import (
    Index,
    Ssa,
    bits_of,
    element_of,
    lane_numbers,
    literal,
    mangled,
    vector,
    with_element,
    zero,
)
from fusee.kernels.kernel import Launch, Place, Pointer

Values = Sequence[Ssa]


class Emitter:
    """One function being written. Instructions go to the end of the current block; methods return what they yield."""

    def __init__(self, symbol: str, target: CpuTarget) -> None:
        self.symbol = symbol
        self.target = target
        self.lo, self.hi = Ssa("%lo", "i64"), Ssa("%hi", "i64")
        self.scratch = Ssa("%scratch", "ptr")
        self.declarations: set[str] = set()
        self._pointers: dict[Pointer, Ssa] = {}
        self._scalars: dict[Dim, Ssa] = {}
        self._tables: dict[str, Ssa] = {}
        self._inner: list[Emitter] = []
        self._linkage = ""
        self._lines: list[str] = ["start:"]
        self._block = "start"
        self._count = 0

    # -- what the launch gives ------------------------------------------------------------------------------------

    def operand(self, index: int) -> Ssa:
        """The address of an operand of the call."""
        return self.pointer(Place.OPERAND, index)

    def result(self, index: int = 0) -> Ssa:
        return self.pointer(Place.RESULT, index)

    def constant(self, index: int) -> Ssa:
        """The address of an array of ``Code.constants``."""
        return self.pointer(Place.CONSTANT, index)

    def temp(self, index: int) -> Ssa:
        return self.pointer(Place.TEMP, index)

    def pointer(self, place: Place, index: int) -> Ssa:
        key = Pointer(place, index)
        return self._pointers.setdefault(key, Ssa(f"%{place.value}{index}", "ptr"))

    def dim(self, dim: Dim) -> Index:
        """A size: itself when the build knows it, else an i64 that the launch receives."""
        if isinstance(dim, int):
            return dim
        return self._scalars.setdefault(dim, Ssa(f"%dim{len(self._scalars)}", "i64"))

    def launch(self, units: Dim, scratch_bytes: Dim = 0) -> Launch:
        """How to run this function; to be asked for when it is complete."""
        return Launch(self.symbol, tuple(self._pointers), units, tuple(self._scalars), scratch_bytes)

    def text(self) -> str:
        """The finished function, with the constant tables it refers to."""
        entry = ["entry:"]
        for slot, name in enumerate((*self._pointers.values(), *self._scalars.values())):
            entry.append(f"  {name}.at = getelementptr i8, ptr %args, i64 {8 * slot}")
            entry.append(f"  {name} = load {name.type}, ptr {name}.at, align 8")
        head = f"define {self._linkage}void @{self.symbol}(ptr %args, i64 %lo, i64 %hi, ptr %scratch) #0 {{"
        return "\n".join(
            [*self._tables, head, *entry, "  br label %start", *self._lines, "  ret void", "}", ""]
            + [function.text() for function in self._inner]
        )

    def inner(self) -> Emitter:
        """Another function of the same form, to be entered from this one: what it needs registers for stays in it."""
        function = Emitter(f"{self.symbol}.inner{len(self._inner)}", self.target)
        function.declarations, function._linkage = self.declarations, "internal "
        self._inner.append(function)
        return function

    def enter(self, function: Emitter, args: Ssa, lo: Index, hi: Index, scratch: Ssa) -> None:
        """Call an inner function; ``args`` points to its words, in the order that its ``launch`` tells."""
        self.raw(f"call void @{function.symbol}(ptr {args}, i64 {lo}, i64 {hi}, ptr {scratch})")

    def table(self, element: str, numbers: Sequence[float]) -> Ssa:
        """The address of a read-only array in the code image."""
        body = ", ".join(literal(element, n).typed for n in numbers)
        line = f"= private unnamed_addr constant [{len(numbers)} x {element}] [{body}], align 64"
        for known, name in self._tables.items():
            if known.endswith(line):
                return name
        name = Ssa(f"@{self.symbol}.table{len(self._tables)}", "ptr")
        self._tables[f"{name} {line}"] = name
        return name

    # -- instructions ---------------------------------------------------------------------------------------------

    def raw(self, line: str) -> None:
        """An instruction that yields nothing."""
        self._lines.append("  " + line)

    def assign(self, type: str, instruction: str) -> Ssa:
        """An instruction that yields a value of the given type."""
        self._count += 1
        self.raw(f"%t{self._count} = {instruction}")
        return Ssa(f"%t{self._count}", type)

    def op(self, opcode: str, a: Ssa, b: Ssa) -> Ssa:
        """A binary instruction: ``op("fadd", a, b)``, ``op("lshr", a, b)``."""
        if a.type != b.type:
            raise InternalError(f"{self.symbol}: {opcode} of {a.type} and {b.type}: both sides must have one type")
        return self.assign(a.type, f"{opcode} {a.typed}, {b}")

    def fadd(self, a: Ssa, b: Ssa) -> Ssa:
        return self.op("fadd", a, b)

    def fsub(self, a: Ssa, b: Ssa) -> Ssa:
        return self.op("fsub", a, b)

    def fmul(self, a: Ssa, b: Ssa) -> Ssa:
        return self.op("fmul", a, b)

    def fdiv(self, a: Ssa, b: Ssa) -> Ssa:
        return self.op("fdiv", a, b)

    def fneg(self, a: Ssa) -> Ssa:
        return self.assign(a.type, f"fneg {a.typed}")

    def fma(self, a: Ssa, b: Ssa, c: Ssa) -> Ssa:
        """``a * b + c`` rounded once."""
        return self.call(f"llvm.fma.{mangled(a.type)}", a.type, a, b, c)

    def fmax(self, a: Ssa, b: Ssa) -> Ssa:
        """One ``vmaxps``: the larger; ``b`` when either is NaN."""
        return self.select(self.fcmp("ogt", a, b), a, b)

    def fmin(self, a: Ssa, b: Ssa) -> Ssa:
        """One ``vminps``: the smaller; ``b`` when either is NaN."""
        return self.select(self.fcmp("olt", a, b), a, b)

    def icmp(self, predicate: str, a: Ssa, b: Ssa) -> Ssa:
        return self.assign(with_element(a.type, "i1"), f"icmp {predicate} {a.typed}, {b}")

    def fcmp(self, predicate: str, a: Ssa, b: Ssa) -> Ssa:
        return self.assign(with_element(a.type, "i1"), f"fcmp {predicate} {a.typed}, {b}")

    def select(self, condition: Ssa, a: Ssa, b: Ssa) -> Ssa:
        return self.assign(a.type, f"select {condition.typed}, {a.typed}, {b.typed}")

    def convert(self, opcode: str, a: Ssa, element: str) -> Ssa:
        """A cast of each lane: ``convert("sitofp", x, "float")``."""
        type = with_element(a.type, element)
        return a if type == a.type else self.assign(type, f"{opcode} {a.typed} to {type}")

    def bitcast(self, a: Ssa, type: str) -> Ssa:
        return a if type == a.type else self.assign(type, f"bitcast {a.typed} to {type}")

    def call(self, name: str, type: str, *args: Ssa, immediate: Sequence[int] = ()) -> Ssa:
        """Call an intrinsic; its declaration follows from the operand types. ``immediate`` marks immarg operands."""
        self._declare(name, type, args, immediate)
        return self.assign(type, f"call {type} @{name}({', '.join(a.typed for a in args)})")

    def run(self, name: str, *args: Ssa, immediate: Sequence[int] = ()) -> None:
        """Call an intrinsic that yields nothing."""
        self._declare(name, "void", args, immediate)
        self.raw(f"call void @{name}({', '.join(a.typed for a in args)})")

    def _declare(self, name: str, type: str, args: Sequence[Ssa], immediate: Sequence[int]) -> None:
        listed = ", ".join(a.type + (" immarg" if i in immediate else "") for i, a in enumerate(args))
        self.declarations.add(f"declare {type} @{name}({listed})")

    # -- i64 arithmetic that folds --------------------------------------------------------------------------------

    def i64(self, index: Index) -> Ssa:
        """An index as an operand of instructions."""
        return Ssa(str(index), "i64") if isinstance(index, int) else index

    def add(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        return a if b == 0 else self.assign("i64", f"add nsw i64 {a}, {b}")

    def sub(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.assign("i64", f"sub nsw i64 {a}, {b}")

    def mul(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 0 or b == 0:
            return 0
        if a == 1:
            return b
        return a if b == 1 else self.assign("i64", f"mul nsw i64 {a}, {b}")

    def div(self, a: Index, b: Index) -> Index:
        """``a // b`` of numbers that are not negative."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        return a if b == 1 else self.assign("i64", f"udiv i64 {a}, {b}")

    def rem(self, a: Index, b: Index) -> Index:
        """``a % b`` of numbers that are not negative."""
        if isinstance(a, int) and isinstance(b, int):
            return a % b
        return 0 if b == 1 else self.assign("i64", f"urem i64 {a}, {b}")

    def min(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.call("llvm.smin.i64", "i64", self.i64(a), self.i64(b))

    def max(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self.call("llvm.smax.i64", "i64", self.i64(a), self.i64(b))

    def ceildiv(self, a: Index, b: int) -> Index:
        return self.div(self.add(a, b - 1), b)

    def less(self, a: Index, b: Index) -> Ssa:
        """``a < b`` as i1, signed."""
        return self.icmp("slt", self.i64(a), self.i64(b))

    # -- vectors --------------------------------------------------------------------------------------------------

    def lanes_for(self, element: str) -> int:
        """How many elements a full vector of this target holds."""
        return self.target.vector_bytes * 8 // bits_of(element)

    def splat(self, scalar: Ssa, lanes: int) -> Ssa:
        """A scalar in every lane; a scalar load splatted is one broadcast instruction."""
        if lanes == 1:
            return scalar
        type = vector(scalar.type, lanes)
        one = self.assign(type, f"insertelement {type} poison, {scalar.typed}, i64 0")
        return self.assign(type, f"shufflevector {type} {one}, {type} poison, <{lanes} x i32> zeroinitializer")

    def extract(self, a: Ssa, lane: Index) -> Ssa:
        return self.assign(element_of(a.type), f"extractelement {a.typed}, i64 {lane}")

    def insert(self, a: Ssa, scalar: Ssa, lane: Index) -> Ssa:
        return self.assign(a.type, f"insertelement {a.typed}, {scalar.typed}, i64 {lane}")

    def shuffle(self, a: Ssa, b: Ssa, lanes: Sequence[int]) -> Ssa:
        """Lanes of ``a`` (from 0) and ``b`` (from ``a``'s lane count) in the given order."""
        mask = "<" + ", ".join(f"i32 {i}" for i in lanes) + ">"
        type = vector(element_of(a.type), len(lanes))
        return self.assign(type, f"shufflevector {a.typed}, {b.typed}, <{len(lanes)} x i32> {mask}")

    def reduce(self, combine: Callable[[Ssa, Ssa], Ssa], a: Ssa) -> Ssa:
        """All lanes into one by halving, with an associative ``combine`` such as ``self.fadd``."""
        while a.lanes > 2:
            half = a.lanes // 2
            a = combine(self.shuffle(a, a, range(half)), self.shuffle(a, a, range(half, 2 * half)))
        return combine(self.extract(a, 0), self.extract(a, 1)) if a.lanes == 2 else a

    def first_lanes(self, count: Index, lanes: int) -> Ssa:
        """A mask whose first ``count`` lanes are set; all of them when ``count`` is larger."""
        type = vector("i32", lanes)
        kept = self.min(count, lanes)
        narrow = self.assign("i32", f"trunc i64 {kept} to i32")
        return self.icmp("ult", lane_numbers(type), self.splat(narrow, lanes))

    # -- memory ---------------------------------------------------------------------------------------------------

    def offset(self, pointer: Ssa, bytes: Index) -> Ssa:
        """An address some bytes further."""
        return pointer if bytes == 0 else self.assign("ptr", f"getelementptr i8, ptr {pointer}, i64 {bytes}")

    def at(self, pointer: Ssa, element: str, index: Index) -> Ssa:
        """The address of an element of an array."""
        return pointer if index == 0 else self.assign("ptr", f"getelementptr {element}, ptr {pointer}, i64 {index}")

    def load(self, type: str, pointer: Ssa, align: int = 0) -> Ssa:
        """``align`` in bytes; the element's size when not given."""
        return self.assign(type, f"load {type}, ptr {pointer}, align {align or bits_of(type) // 8}")

    def store(self, value: Ssa, pointer: Ssa, align: int = 0) -> None:
        self.raw(f"store {value.typed}, ptr {pointer}, align {align or bits_of(value.type) // 8}")

    def load_masked(self, type: str, pointer: Ssa, mask: Ssa, otherwise: Ssa | None = None) -> Ssa:
        """Lanes whose mask bit is set; behind the others, taken from ``otherwise`` (or 0), memory is not touched."""
        name = f"llvm.masked.load.{mangled(type)}.p0"
        aligned = Ssa(f"align {bits_of(type) // 8} {pointer}", "ptr")
        return self.call(name, type, aligned, mask, otherwise or zero(type))

    def store_masked(self, value: Ssa, pointer: Ssa, mask: Ssa) -> None:
        name = f"llvm.masked.store.{mangled(value.type)}.p0"
        self.run(name, value, Ssa(f"align {bits_of(value.type) // 8} {pointer}", "ptr"), mask)

    def gather(self, element: str, pointer: Ssa, indices: Ssa, mask: Ssa | None = None) -> Ssa:
        """Elements at ``pointer[indices]`` (i32 or i64 lanes), zero where the mask is not set."""
        lanes = indices.lanes
        pointers = vector("ptr", lanes)
        where = self.assign(pointers, f"getelementptr {element}, ptr {pointer}, {indices.typed}")
        type = vector(element, lanes)
        where = Ssa(f"align {bits_of(element) // 8} {where}", pointers)
        mask = mask or literal(vector("i1", lanes), 1)
        return self.call(f"llvm.masked.gather.{mangled(type)}.v{lanes}p0", type, where, mask, zero(type))

    def prefetch(self, pointer: Ssa, locality: int = 3) -> None:
        """Ask for a cache line to be read: locality 3 into L1, 2 into L2, 0 without keeping it."""
        args = (pointer, Ssa("0", "i32"), Ssa(str(locality), "i32"), Ssa("1", "i32"))
        self.run("llvm.prefetch.p0", *args, immediate=(1, 2, 3))

    # -- control flow ---------------------------------------------------------------------------------------------

    def loop(
        self, lo: Index, hi: Index, step: Index, body: Callable[..., Values | None], carried: Values = ()
    ) -> tuple[Ssa, ...]:
        """Count from ``lo`` up to ``hi`` by ``step``; the body may never run.

        ``body(i, *values)`` gets the counter and the carried values, and returns the new ones. Returns the last.
        """
        self._count += 1
        before, head, done = self._block, f"loop{self._count}", f"done{self._count}"
        certain = isinstance(lo, int) and isinstance(hi, int) and lo < hi
        self._branch(None if certain else self.less(lo, hi), head, done)
        self._open(head)
        at = len(self._lines)
        counter = Ssa(f"%i{self._count}", "i64")
        values = [Ssa(f"%c{self._count}.{j}", v.type) for j, v in enumerate(carried)]
        new = tuple(body(counter, *values) or ())
        if [v.type for v in new] != [v.type for v in carried]:
            raise InternalError(
                f"{self.symbol}: a loop carries {[*map(str, carried)]}, its body gives {[*map(str, new)]}"
            )
        following = self.add(counter, step)
        latch = self._block
        self._lines[at:at] = [
            f"  {name} = phi {name.type} [{first}, %{before}], [{next}, %{latch}]"
            for name, first, next in zip(
                (counter, *values), (self.i64(lo), *carried), (self.i64(following), *new), strict=True
            )
        ]
        self._branch(self.less(following, hi), head, done)
        self._open(done)
        return new if certain else self._join(before, carried, latch, new)

    def branch(
        self, condition: Ssa, then: Callable[[], Values | None], otherwise: Callable[[], Values | None] | None = None
    ) -> tuple[Ssa, ...]:
        """Run one of two pieces; returns the values that the one that ran gave."""
        self._count += 1
        yes, no, done = f"then{self._count}", f"else{self._count}", f"end{self._count}"
        self._branch(condition, yes, no)
        self._open(yes)
        a = tuple(then() or ())
        after_a = self._block
        self._branch(None, done, done)
        self._open(no)
        b = tuple((otherwise() if otherwise else None) or ())
        after_b = self._block
        self._branch(None, done, done)
        self._open(done)
        return self._join(after_a, a, after_b, b)

    def _open(self, block: str) -> None:
        self._lines.append(f"{block}:")
        self._block = block

    def _branch(self, condition: Ssa | None, yes: str, no: str) -> None:
        self.raw(f"br label %{yes}" if condition is None else f"br i1 {condition}, label %{yes}, label %{no}")

    def _join(self, first: str, a: Values, second: str, b: Values) -> tuple[Ssa, ...]:
        return tuple(
            x if x == y else self.assign(x.type, f"phi {x.type} [{x}, %{first}], [{y}, %{second}]")
            for x, y in zip(a, b, strict=True)
        )
