"""TopK by insertion: the best so far lie sorted in the results, and a newcomer must beat the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.ir.graph import Op
from fusee.kernels.cpu.lane_types import raw_type, to_compute
from fusee.kernels.cpu.nest import Nest
from fusee.kernels.cpu.ssa import Index, Ssa, is_float, literal
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.index import TopK


class TopKInsertion(Kernel):
    """Each work unit takes one line along the axis. Long lines cost little as long as few elements get in."""

    op: ClassVar[type[Op]] = TopK

    def refuses(self, call: KernelCall) -> str:
        dtype = call.operands[0].type.dtype
        return f"{dtype} is read one by one" if dtype.is_float and dtype.itemsize_bytes == 1 else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        nest = Nest(symbol, call)
        shape = call.operands[0].type.shape
        writer = _Line(nest)
        op = writer.op
        units = nest.rows((*shape[: op.axis], *shape[op.axis + 1 :]), writer.line)
        return nest.code(units)


class _Line:
    """Writes the search along one line."""

    def __init__(self, nest: Nest) -> None:
        assert isinstance(nest.call.op, TopK)
        self.nest = nest
        self.op = nest.call.op
        self._dtype = nest.call.operands[0].type.dtype

    def line(self, outer: tuple[Index, ...]) -> None:
        e = self.nest.e
        k = e.dim(self.op.k)
        if k == 0:
            return
        self._outer = outer
        e.branch(e.less(0, k), lambda: self._search(e.dim(self._size), k)[1:])

    @property
    def _size(self) -> Dim:
        return self.nest.call.operands[0].type.shape[self.op.axis]

    def _at(self, i: Index) -> tuple[Index, ...]:
        return (*self._outer[: self.op.axis], i, *self._outer[self.op.axis :])

    def _search(self, size: Index, k: Index) -> tuple[Ssa, ...]:
        nest, e = self.nest, self.nest.e

        def visit(i: Ssa, count: Ssa) -> Sequence[Ssa]:
            x = nest.load(0, self._at(i))
            (wanted,) = e.branch(
                e.less(count, k),
                lambda: [literal("i1", 1)],
                lambda: [self._better(x, self._kept(e.sub(k, 1)))],
            )
            return e.branch(wanted, lambda: [self._insert(x, i, count, k)], lambda: [count])

        return e.loop(0, size, 1, visit, [literal("i64", 0)])

    def _kept(self, i: Index) -> Ssa:
        """The value at a rank so far."""
        e, made = self.nest.e, self.nest.call.results[0]
        where = e.at(e.result(0), raw_type(self._dtype), self.nest.position(made, self._at(i)))
        return to_compute(e, e.load(raw_type(self._dtype), where), self._dtype)

    def _place(self, i: Index) -> Ssa:
        e, made = self.nest.e, self.nest.call.results[1]
        return e.load("i64", e.at(e.result(1), "i64", self.nest.position(made, self._at(i))))

    def _insert(self, x: Ssa, i: Ssa, count: Ssa, k: Index) -> Ssa:
        """Move the worse ones down by one, the last out if there are k already; gives the new count."""
        e = self.nest.e
        rank = self._rank(x, count)
        last = e.min(count, e.sub(k, 1))

        def shift(step: Ssa) -> None:
            to = e.sub(last, step)
            self.nest.store(self._kept(e.sub(to, 1)), self._at(to), 0)
            self.nest.store(self._place(e.sub(to, 1)), self._at(to), 1)

        e.loop(0, e.sub(last, rank), 1, shift)
        self.nest.store(x, self._at(rank), 0)
        self.nest.store(i, self._at(rank), 1)
        return e.i64(e.min(e.add(count, 1), k))

    def _rank(self, x: Ssa, count: Ssa) -> Ssa:
        """How many of those kept are not worse than x, by halving."""
        e, k = self.nest.e, self.op.k
        halvings = k.bit_length() if isinstance(k, int) else 32

        def halve(_step: Ssa, low: Ssa, high: Ssa) -> Sequence[Ssa]:
            middle = e.i64(e.div(e.add(low, high), 2))

            def look() -> Sequence[Ssa]:
                before = self._better(x, self._kept(middle))
                return [e.select(before, low, e.i64(e.add(middle, 1))), e.select(before, middle, high)]

            return e.branch(e.less(low, high), look, lambda: [low, high])

        return e.loop(0, halvings, 1, halve, [literal("i64", 0), count])[0]

    def _better(self, x: Ssa, y: Ssa) -> Ssa:
        """Whether x goes before y; NaN counts as the largest number."""
        e, largest = self.nest.e, self.op.largest
        if not is_float(x.type):
            sign = "s" if self._dtype.is_signed or self._dtype.bits < 8 else "u"
            return e.icmp(sign + ("gt" if largest else "lt"), x, y)
        a, b = (x, y) if largest else (y, x)
        fresh = e.op("and", e.fcmp("uno", a, a), e.fcmp("ord", b, b))
        return e.op("or", e.fcmp("ogt", a, b), fresh)
