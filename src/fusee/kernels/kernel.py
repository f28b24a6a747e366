"""A kernel is one way to compute one op on one backend; a tactic is one setting of its knobs.

To add one: subclass Kernel in a file of the backend's folder and list it in that backend's KERNELS. Nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.target import CpuTarget
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op


@dataclass(frozen=True, eq=False)
class Operand:
    """What a kernel is told of a tensor it reads or writes.

    ``strides`` counts elements; None means row-major without gaps. ``value`` is the tensor itself when it is known
    at build time, so that a kernel can pack it.
    """

    type: TensorType
    strides: tuple[Dim, ...] | None = None
    value: Array | None = None

    @property
    def is_contiguous(self) -> bool:
        return self.strides is None


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One op applied to operands on a machine: what a kernel accepts or refuses, and emits code for."""

    op: Op
    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]
    target: CpuTarget

    @staticmethod
    def of(op: Op, operands: Sequence[Operand], target: CpuTarget) -> KernelCall:
        """A call whose results are row-major."""
        types = op.result_types(*[o.type for o in operands])
        return KernelCall(op, tuple(operands), tuple(Operand(t) for t in types), target)


@dataclass(frozen=True)
class Tactic:
    """The knobs of a kernel, bound. A kernel with knobs subclasses it; it prints, hashes and keys the timing cache."""

    def __str__(self) -> str:
        return " ".join(f"{k}={v}" for k, v in vars(self).items())


class Place(Enum):
    """Which memory of the call a launch points to."""

    OPERAND = "operand"
    RESULT = "result"
    CONSTANT = "constant"  # Code.constants
    TEMP = "temp"  # Code.temps


@dataclass(frozen=True)
class Pointer:
    """One address that a launch takes."""

    place: Place
    index: int


@dataclass(frozen=True)
class Launch:
    """One parallel run of an emitted function ``void symbol(ptr args, i64 lo, i64 hi, ptr scratch)``.

    ``args`` points to 64-bit words: ``pointers``, then ``scalars``. Work units [lo, hi) of [0, units) are this call's
    share; ``scratch`` is memory of the calling thread alone, 64-byte aligned, unspecified content. Launches of one
    Code run in order with a barrier between.
    """

    symbol: str
    pointers: tuple[Pointer, ...]
    units: Dim
    scalars: tuple[Dim, ...] = ()
    scratch_bytes: Dim = 0


@dataclass(frozen=True, eq=False)
class Code:
    """What a kernel emits for one call: LLVM IR text, how to launch it, and the constants it packed.

    ``text`` holds function definitions and private constants, all names starting with the given symbol;
    ``declarations`` the ``declare`` lines they need. ``temps`` are sizes in bytes of memory shared by the launches.
    Operands that no launch points to are not needed at run time (weights that were packed).
    """

    text: str
    launches: tuple[Launch, ...]
    declarations: frozenset[str] = frozenset()
    constants: tuple[Array, ...] = ()
    temps: tuple[Dim, ...] = ()


class Kernel(ABC):
    """One way to compute an op."""

    op: ClassVar[type[Op]]

    @property
    def name(self) -> str:
        return type(self).__name__

    @abstractmethod
    def refuses(self, call: KernelCall) -> str:
        """Why this kernel cannot compute this call; '' when it can."""

    def overwrites(self, call: KernelCall) -> tuple[int, ...]:
        """Operands whose memory the (only) result may take: each element is read before its place is written."""
        return ()

    def tactics(self, call: KernelCall) -> Sequence[Tactic]:
        """Settings worth trying, the likely best first."""
        return (Tactic(),)

    def cost_us(self, call: KernelCall, tactic: Tactic) -> float | None:
        """Estimated time on one core, to rank tactics without running them; None when their order is the rank."""
        return None

    @abstractmethod
    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        """The code of this call. Every name it defines starts with ``symbol``."""


@dataclass(frozen=True)
class Backend:
    """A way to make engines: its kernels in the order in which they are preferred."""

    name: str
    kernels: tuple[Kernel, ...] = field(default=())

    def kernels_for(self, op: Op) -> tuple[Kernel, ...]:
        return tuple(k for k in self.kernels if isinstance(op, k.op))
