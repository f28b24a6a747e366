"""What ONNX convolutions and pools say about their windows: kernel, strides, dilations, padding in all its forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusee.base.dims import Dim, ceildiv, dim_max, floordiv
from fusee.base.types import Shape
from fusee.ir.graph import Value, const
from fusee.onnx.call import OnnxCall
from fusee.ops.shape import Pad, Reshape


@dataclass(frozen=True)
class Window:
    """Windows over the spatial axes. ``pads`` holds all begins, then all ends; they may depend on sizes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def is_static(self) -> bool:
        return all(isinstance(p, int) for p in self.pads)

    @property
    def static_pads(self) -> tuple[int, ...]:
        """The pads as numbers; none at all when they are not known."""
        return tuple(p for p in self.pads if isinstance(p, int)) if self.is_static else (0,) * len(self.pads)

    @staticmethod
    def of(call: OnnxCall, spatial: Shape, kernel: Sequence[int]) -> Window:
        """Read the attributes of a node whose input has those spatial sizes."""
        rank = len(spatial)
        ones = (1,) * rank
        strides, dilations = call.ints("strides", ones), call.ints("dilations", ones)
        for what, numbers in (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations)):
            if len(numbers) != rank:
                call.refuse(f"{what} {list(numbers)} should have {rank} numbers")
        window = Window(tuple(kernel), strides, dilations, call.ints("pads", (0,) * 2 * rank))
        return replace(window, pads=_automatic(call, window, spatial))

    def lifted(self) -> Window:
        """The same windows over one more spatial axis, of size 1, before the others."""
        before, after = self.pads[: self.rank], self.pads[self.rank :]
        return Window((1, *self.kernel), (1, *self.strides), (1, *self.dilations), (0, *before, 0, *after))


def _automatic(call: OnnxCall, window: Window, spatial: Shape) -> tuple[Dim, ...]:
    mode = call.string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return window.pads
    if mode == "VALID":
        return (0,) * 2 * window.rank
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        call.refuse(f"auto_pad {mode!r}; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    totals: list[Dim] = []
    for size, k, s, d in zip(spatial, window.kernel, window.strides, window.dilations, strict=True):
        totals.append(dim_max((ceildiv(size, s) - 1) * s + d * (k - 1) + 1 - size, 0))
    return split_padding(totals, more_at_end=mode == "SAME_UPPER")


def split_padding(totals: Sequence[Dim], more_at_end: bool) -> tuple[Dim, ...]:
    """Padding shared between begin and end of each axis; an odd one goes to the end, or to the begin."""
    smaller = [floordiv(t, 2) for t in totals]
    larger = [t - s for t, s in zip(totals, smaller, strict=True)]
    return (*smaller, *larger) if more_at_end else (*larger, *smaller)


def pad_first(call: OnnxCall, x: Value, window: Window, fill: float) -> Value:
    """x with its padding made explicit, when the sizes of that are only known at run time; else x itself."""
    if window.is_static:
        return x
    before, after = window.pads[: window.rank], window.pads[window.rank :]
    value = const(fill, x.type.dtype)
    return Pad((0, 0, *before), (0, 0, *after))(x, value, loc=call.loc)


def lift(call: OnnxCall, x: Value) -> Value:
    """[A, B, L] as [A, B, 1, L]: one spatial axis as two, for kernels know two."""
    a, b, length = x.type.shape
    return Reshape((a, b, 1, length))(x, loc=call.loc)


def drop(call: OnnxCall, x: Value) -> Value:
    """[A, B, 1, L] as [A, B, L]."""
    a, b, _, length = x.type.shape
    return Reshape((a, b, length))(x, loc=call.loc)
