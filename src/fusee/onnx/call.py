"""What a lowering sees of one ONNX node, and how it is listed.

To add an ONNX op: write ``def lower_x(call: OnnxCall)`` in the file of its family and list it in that file's
LOWERINGS. A lowering returns its results in order, None for those that nobody wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np
import onnx

from fusee.base.dims import Dim, Expr, count_name, sym, symbols
from fusee.base.errors import ModelError, UnsupportedModel
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Graph, Value, const_array
from fusee.onnx.loader import tensor_array
from fusee.ops.control import After

AttributeType = onnx.AttributeProto.AttributeType
Int: TypeAlias = int  # OnnxCall has methods of these names
Float: TypeAlias = float


class Host(Protocol):
    """What a call asks of the importer that walks the model."""

    data_names: set[str]  # names whose values come from data when the graph runs, not from the shapes of its inputs

    def fresh(self, hint: str) -> Expr: ...
    def known_dims(self, value: Value) -> tuple[Dim, ...] | None: ...
    def bound_dims(self, value: Value, where: str) -> tuple[tuple[Dim, ...], Value]: ...
    def import_subgraph(
        self, proto: onnx.GraphProto, types: tuple[TensorType, ...], where: str
    ) -> tuple[Graph, tuple[Value, ...]]: ...


@dataclass(eq=False)
class OnnxCall:
    """One node of an ONNX model: typed access to its inputs and attributes."""

    proto: onnx.NodeProto
    name: str
    domain: str
    version: Int
    inputs: tuple[Value | None, ...]
    host: Host
    opsets: dict[str, Int]
    tokens: list[Value] = field(default_factory=list[Value])

    @property
    def op_type(self) -> str:
        return self.proto.op_type

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self.proto.output)

    @property
    def loc(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def where(self) -> str:
        domain = f"{self.domain}." if self.domain else ""
        return f"{domain}{self.op_type}-{self.version} {self.name!r}"

    def wants(self, i: Int) -> bool:
        """Whether the model uses output ``i``."""
        return i < len(self.output_names) and self.output_names[i] != ""

    def has(self, i: Int) -> bool:
        return i < len(self.inputs) and self.inputs[i] is not None

    def value(self, i: Int) -> Value:
        """Input ``i``, which the op requires."""
        found = self.optional(i)
        if found is None:
            raise ModelError(f"{self.where}: input {i} is missing; it has {len(self.inputs)} inputs")
        return found

    def optional(self, i: Int) -> Value | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def type(self, i: Int) -> TensorType:
        return self.value(i).type

    def values(self) -> tuple[Value, ...]:
        """All inputs of an op that takes any number of them."""
        return tuple(self.value(i) for i in range(len(self.inputs)))

    def attribute(self, name: str) -> onnx.AttributeProto | None:
        return next((a for a in self.proto.attribute if a.name == name), None)

    def has_attribute(self, name: str) -> bool:
        return self.attribute(name) is not None

    def _get(self, name: str, default: Any, *kinds: str) -> Any:
        """The attribute's value, of one of these kinds of ONNX. Raises ModelError for a missing one and other kinds."""
        found = self.attribute(name)
        if found is None:
            if default is None:
                raise ModelError(f"{self.where}: the attribute {name!r} is missing")
            return default
        kind = AttributeType.Name(found.type)
        if kind not in kinds:
            raise ModelError(f"{self.where}: the attribute {name!r} is of type {kind}; expected {' or '.join(kinds)}")
        return onnx.helper.get_attribute_value(found)

    def int(self, name: str, default: Int | None = None) -> Int:
        return Int(self._get(name, default, "INT"))

    def float(self, name: str, default: Float | None = None) -> Float:
        return Float(self._get(name, default, "FLOAT", "INT"))

    def string(self, name: str, default: str | None = None) -> str:
        found = self._get(name, default, "STRING")
        return found.decode() if isinstance(found, bytes) else str(found)

    def ints(self, name: str, default: tuple[Int, ...] | None = None) -> tuple[Int, ...]:
        return tuple(Int(x) for x in self._get(name, default, "INTS"))

    def floats(self, name: str, default: tuple[Float, ...] | None = None) -> tuple[Float, ...]:
        return tuple(Float(x) for x in self._get(name, default, "FLOATS", "INTS"))

    def strings(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        return tuple(x.decode() if isinstance(x, bytes) else str(x) for x in self._get(name, default, "STRINGS"))

    def tensor(self, name: str) -> Array:
        return tensor_array(self._get(name, None, "TENSOR"), None, f"{self.where} attribute {name}")

    def graph(self, name: str) -> onnx.GraphProto:
        return self._get(name, None, "GRAPH")

    def const(self, i: Int) -> Array | None:
        """Input ``i`` when it is known at build time; None when it is not, or is absent."""
        value = self.optional(i)
        if value is None:
            return None
        found = const_array(value)
        if found is None and value.type.dtype.is_integer and value.type.rank <= 1:
            dims = self.host.known_dims(value)
            if dims is not None and all(isinstance(d, Int) for d in dims):
                found = np.array(dims, value.type.dtype.numpy).reshape(value.type.static_shape())
        return found

    def require_const(self, i: Int, what: str) -> Array:
        """Input ``i``, which must be known at build time."""
        found = self.const(i)
        if found is None:
            self.refuse(f"{what} (input {i}) is computed at run time; it must be a constant")
        return found

    def dims(self, i: Int) -> tuple[Dim, ...]:
        """The elements of integer input ``i`` as sizes.

        Constants and shape arithmetic are known; elements of a model input get names; anything else gets fresh names
        that are bound at run time, and ``ordered`` must then be applied to the data operand.
        """
        value = self.value(i)
        if value.type.size == 0:
            return ()
        known = self.host.known_dims(value)
        if known is not None:
            self.tokens += [value] if self.comes_from_data(known) else []
            return known
        names, token = self.host.bound_dims(value, self.where)
        self.tokens.append(token)
        return names

    def ordered(self, value: Value) -> Value:
        """The value, made to wait for sizes that ``dims`` reads at run time."""
        for token in self.tokens:
            value = After()(value, token, loc=self.loc)
        return value

    def fresh(self, hint: str) -> Expr:
        """A new name for a size that only the run knows; it may be 0."""
        name = count_name(str(self.host.fresh(hint)))
        self.host.data_names.add(name)
        return sym(name)

    def comes_from_data(self, dims: tuple[Dim, ...]) -> bool:
        """Whether sizes are only known when data has been computed: what uses them must wait for it."""
        return bool(symbols(dims) & self.host.data_names)

    def refuse(self, reason: str) -> NoReturn:
        """Give up on this node; the importer reports all refusals at once."""
        raise UnsupportedModel(f"{self.where}: {reason}")

    def subgraph(self, proto: onnx.GraphProto, types: tuple[TensorType, ...]) -> tuple[Graph, tuple[Value, ...]]:
        """Import a body whose own inputs have the given types; also the outer values it captures.

        The graph's inputs are its own, then one per captured value in that order.
        """
        return self.host.import_subgraph(proto, types, self.where)


LoweringFunction = Callable[[OnnxCall], "Value | tuple[Value | None, ...]"]


@dataclass(frozen=True)
class Lowering:
    """How an ONNX op, from one opset version on, becomes core ops."""

    op_type: str
    since_version: int
    function: LoweringFunction
    domain: str = ""
