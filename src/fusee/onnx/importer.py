"""The walk from an ONNX model to a graph of core ops: names, provenance, and one report of all that is unsupported."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx.inliner

from fusee.base.dims import Dim, Expr, element_name, sym
from fusee.base.errors import ModelError, UnsupportedModel
from fusee.base.types import DType, TensorType
from fusee.ir.graph import Const, Graph, Input, Value
from fusee.onnx.call import LoweringFunction, OnnxCall
from fusee.onnx.functions import function_body, has_body
from fusee.onnx.loader import check_opset, element_type, load_model, nan_initializers, tensor_array
from fusee.onnx.lowerings import LOWERINGS
from fusee.onnx.refused import REFUSED
from fusee.onnx.symbolic import SymbolicContents
from fusee.ops.control import Bind

MAX_ELEMENT_NAMES = 16  # an integer input of at most so many elements may decide sizes


def import_model(source: str | Path | onnx.ModelProto, *, name: str = "") -> Graph:
    """The graph of a model, from its file or its ModelProto.

    Raises ModelError for a damaged or contradictory model, UnsupportedModel with every unsupported thing in it.
    """
    if isinstance(source, onnx.ModelProto):
        check_opset(source, name or "model")
        return _import_proto(source, None, name or source.graph.name)
    path = Path(source)
    return _import_proto(load_model(path), path.parent, name or path.stem)


def _import_proto(model: onnx.ModelProto, folder: Path | None, name: str) -> Graph:
    if bad := list(nan_initializers(model, folder)):
        shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise ModelError(
            f"{name}: weights hold NaN: {shown}. Every result would be NaN; "
            "the training run or the export went wrong, so export the model again"
        )
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    opsets = {_domain(e.domain): e.version for e in model.opset_import}
    return Importer(opsets, folder, name).import_main(model.graph)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


@dataclass(eq=False)
class Scope:
    """Names visible in one graph; a subgraph's misses go to its parent and become captures."""

    values: dict[str, Value | None] = field(default_factory=dict[str, "Value | None"])
    parent: Scope | None = None
    captures: dict[Value, Value] = field(default_factory=dict[Value, Value])  # outer value -> input of this graph

    def find(self, name: str, contents: SymbolicContents) -> Value | None:
        """The value of a name; None when its node could not be imported. Raises KeyError for an unknown name."""
        if name in self.values or self.parent is None:
            return self.values[name]
        outer = self.parent.find(name, contents)
        if outer is None or isinstance(outer.op, Const):
            return outer
        if outer not in self.captures:
            inner = Input(f"capture{len(self.captures)}", outer.type)()
            contents.share(outer, inner)
            self.captures[outer] = inner
        return self.captures[outer]


@dataclass(eq=False)
class Importer:
    """The state of one import. It is the ``Host`` of every OnnxCall."""

    opsets: dict[str, int]
    folder: Path | None
    model_name: str
    problems: list[str] = field(default_factory=list[str])
    contents: SymbolicContents = field(default_factory=SymbolicContents)
    names_used: set[str] = field(default_factory=set[str])
    data_names: set[str] = field(default_factory=set[str])
    scope: Scope = field(default_factory=Scope)

    def import_main(self, proto: onnx.GraphProto) -> Graph:
        if proto.sparse_initializer:
            self.problems.append(f"sparse weights ({len(proto.sparse_initializer)}): make them dense before exporting")
        weights = {t.name for t in proto.initializer}
        twice = [name for name, n in Counter(info.name for info in proto.input).items() if n > 1]
        if twice:
            raise ModelError(f"{self.model_name}: inputs {', '.join(twice)} appear twice; names must be unique")
        inputs = [self._input(info) for info in proto.input if info.name not in weights]
        outputs = self._body(proto)
        if self.problems:
            raise UnsupportedModel(_report(self.model_name, self.problems))
        names = tuple(o.name for o in proto.output)
        kept = tuple(v for v in inputs if v is not None)
        return Graph(identifier(self.model_name) or "model", kept, outputs, names)

    def _input(self, info: onnx.ValueInfoProto) -> Value | None:
        """Declare a model input. None, with a problem noted, when it is not a tensor we know."""
        try:
            op = self._input_op(info)
        except UnsupportedModel as err:
            self.problems.append(str(err))
            self.scope.values[info.name] = None
            return None
        value = op()
        self.contents.set(value, tuple(sym(n) for n in op.elements)) if op.elements else None
        self.scope.values[info.name] = value
        return value

    def _input_op(self, info: onnx.ValueInfoProto) -> Input:
        where = f"input {info.name!r}"
        if not info.type.HasField("tensor_type"):
            kind = info.type.WhichOneof("value") or "nothing"
            raise UnsupportedModel(f"{where}: its type is {kind}; only dense tensors are supported")
        proto = info.type.tensor_type
        dtype = element_type(proto.elem_type, where)
        if not proto.HasField("shape"):
            raise UnsupportedModel(f"{where}: its rank is not declared; export it with a shape (sizes may be names)")
        dims = tuple(self._dim(d, f"{info.name}_d{i}") for i, d in enumerate(proto.shape.dim))
        declared = TensorType(dtype, dims)
        return Input(info.name, declared, self._element_names(info.name, declared))

    def _dim(self, proto: onnx.TensorShapeProto.Dimension, hint: str) -> Dim:
        if proto.HasField("dim_value") and proto.dim_value >= 0:
            return proto.dim_value
        name = identifier(proto.dim_param).replace("__v", "_v").replace("__n", "_n")
        if not name:
            return self.fresh(hint)
        self.names_used.add(name)
        return sym(name)

    def _element_names(self, name: str, declared: TensorType) -> tuple[str, ...]:
        small = isinstance(declared.size, int) and 0 < declared.size <= MAX_ELEMENT_NAMES
        if declared.dtype not in (DType.I64, DType.I32) or declared.rank > 1 or not small:
            return ()
        return tuple(element_name(identifier(name), i) for i in range(int(str(declared.size))))

    def _body(self, proto: onnx.GraphProto) -> tuple[Value, ...]:
        for tensor in proto.initializer:
            where = f"initializer {tensor.name!r}"
            try:
                self.scope.values[tensor.name] = Const(tensor_array(tensor, self.folder, where))()
            except UnsupportedModel as err:
                self.problems.append(str(err))
                self.scope.values[tensor.name] = None
        for index, node in enumerate(proto.node):
            self._node(node, index, proto)
        return tuple(v for o in proto.output if (v := self._find(o.name, f"output {o.name!r}", proto)) is not None)

    def _find(self, name: str, user: str, proto: onnx.GraphProto | onnx.FunctionProto) -> Value | None:
        try:
            return self.scope.find(name, self.contents)
        except KeyError:
            made_later = any(name in n.output for n in proto.node)
            why = "only computed after it: the graph has a cycle, or is not sorted" if made_later else "never computed"
            raise ModelError(f"{self.model_name}: {user} needs {name!r}, which is {why}") from None

    def _node(self, node: onnx.NodeProto, index: int, proto: onnx.GraphProto | onnx.FunctionProto) -> None:
        name = node.name or f"{node.op_type}_{index}"
        found = [self._find(i, f"{node.op_type} {name!r}", proto) if i else None for i in node.input]
        poisoned = any(i and v is None for i, v in zip(node.input, found, strict=True))
        call = OnnxCall(
            node, name, _domain(node.domain), self.opsets.get(_domain(node.domain), 1), tuple(found), self, self.opsets
        )
        results: tuple[Value | None, ...] = ()
        try:
            lowering = self._lowering(call)
            if not poisoned:
                results = _as_tuple(lowering(call))
        except UnsupportedModel as err:
            self.problems.append(str(err))
        except ModelError as err:
            text = str(err)
            raise type(err)(text if name in text else f"{call.where}: {text}") from None
        self._name_results(call, results)

    def _name_results(self, call: OnnxCall, results: tuple[Value | None, ...]) -> None:
        for i, output in enumerate(call.output_names):
            if not output:
                continue
            if output in self.scope.values:
                raise ModelError(f"{call.where}: {output!r} is computed twice; names must be unique")
            self.scope.values[output] = results[i] if i < len(results) else None
            if results and (i >= len(results) or results[i] is None):
                self.problems.append(f"{call.where}: output {i} ({output!r}) is not supported")

    def _lowering(self, call: OnnxCall) -> LoweringFunction:
        candidates = [e for e in LOWERINGS if (e.domain, e.op_type) == (call.domain, call.op_type)]
        if not candidates:
            if call.op_type not in REFUSED and has_body(call):
                return self._expanded
            reason = REFUSED.get(call.op_type, "no lowering for it; add one in fusee/onnx and list it in LOWERINGS")
            call.refuse(reason)
        fitting = [e for e in candidates if e.since_version <= call.version]
        if not fitting:
            oldest = min(e.since_version for e in candidates)
            call.refuse(f"opset {call.version} of its domain; expected {oldest} or newer")
        return max(fitting, key=lambda e: e.since_version).function

    def _expanded(self, call: OnnxCall) -> tuple[Value | None, ...]:
        """The results of an op that the standard defines by others, from the nodes of its body."""
        body = function_body(call)
        outer, opsets = self.scope, self.opsets
        self.scope = Scope(dict(zip(body.input, call.inputs, strict=False)))
        self.opsets = opsets | {_domain(e.domain): e.version for e in body.opset_import}
        try:
            for index, node in enumerate(body.node):
                self._node(node, index, body)
            results = tuple(self.scope.values[name] for name in body.output[: len(call.output_names)])
        finally:
            self.scope, self.opsets = outer, opsets
        return () if None in results else results

    def fresh(self, hint: str) -> Expr:
        base = identifier(hint) or "size"
        name = next(n for i in range(1 << 30) if (n := f"{base}_{i}" if i else base) not in self.names_used)
        self.names_used.add(name)
        return sym(name)

    def known_dims(self, value: Value) -> tuple[Dim, ...] | None:
        return self.contents.of(value)

    def bound_dims(self, value: Value, where: str) -> tuple[tuple[Dim, ...], Value]:
        if value.type.rank > 1 or not isinstance(value.type.size, int):
            raise UnsupportedModel(f"{where}: sizes come from {value.type}, whose length is not known at build time")
        names = tuple(self.fresh("u") for _ in range(value.type.size))
        signed = tuple(element_name(str(n), 0) for n in names)
        self.data_names.update(signed)
        token = Bind(signed)(value, loc=(where,))
        return tuple(sym(n) for n in signed), token

    def import_subgraph(
        self, proto: onnx.GraphProto, types: tuple[TensorType, ...], where: str
    ) -> tuple[Graph, tuple[Value, ...]]:
        own = [Input(info.name, t)() for info, t in zip(proto.input, types, strict=True)]
        outer = self.scope
        values: dict[str, Value | None] = {info.name: v for info, v in zip(proto.input, own, strict=True)}
        self.scope = Scope(values, outer)
        try:
            outputs = self._body(proto)
            captures = self.scope.captures
        finally:
            self.scope = outer
        if len(outputs) != len(proto.output):
            raise UnsupportedModel(f"{where}: its body {proto.name!r} could not be imported")
        inputs = (*own, *captures.values())
        graph = Graph(identifier(proto.name) or "body", inputs, outputs, tuple(o.name for o in proto.output))
        return graph, tuple(captures)


def _as_tuple(result: Value | tuple[Value | None, ...]) -> tuple[Value | None, ...]:
    return result if isinstance(result, tuple) else (result,)


def _report(name: str, problems: list[str]) -> str:
    unique = list(dict.fromkeys(problems))
    listed = "\n".join(f"  - {p}" for p in unique)
    return f"{name}: {len(unique)} thing(s) in the model are not supported:\n{listed}"


def identifier(text: str) -> str:
    """The text as a Python identifier, '' when nothing is left of it."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII).strip("_")
    if name and (name[0].isdigit() or keyword.iskeyword(name)):
        name = f"d_{name}"
    return name
