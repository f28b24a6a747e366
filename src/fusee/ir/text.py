"""Graphs as text, both ways: what a test writes, a dump holds and an error quotes.

    graph net(%x: f32[N,3], %size: i64[2] {elements=("size__v0", "size__v1")})
      %0 = const {value=[1.0, 2.0, 3.0]} : f32[3]
      %1 = const {digest="5b1e…"} : f32[64,3,7,7]
      %2 = mul(%x, %0) : f32[N,3]  # from /layer1/Mul
      %3, %4 = top_k(%2) {k=2, axis=1} : f32[N,2], i64[N,2]
      return scores=%3, best=%4

Attributes equal to their defaults are left out. A subgraph is an attribute ``{graph …}``. A size that is not a plain
name stands in angle brackets: ``shape=(N, <2*H>)``. A constant of equal elements is written as one number; one too
large to write is named by a digest and looked up in a table that the caller keeps.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from fusee.base.dims import Expr, parse_dim, sym
from fusee.base.errors import FuseeError, ParseError
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value, input_op

INLINE_ELEMENTS = 16  # constants up to this size are written out
WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "inf": float("inf"), "nan": float("nan")}
DTYPES = {d.value: d for d in DType}


def digest(array: Array) -> str:
    """A short name of an array's type and content."""
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()[:16]


def print_graph(graph: Graph, constants: dict[str, Array] | None = None, loc: bool = False) -> str:
    """The graph as text. Large constants are put into ``constants``; ``loc`` adds where each node came from."""
    printer = _Printer(constants if constants is not None else {}, loc)
    return "\n".join(line for _, line in printer.lines(graph, ""))


def graph_lines(graph: Graph) -> list[tuple[Node | None, str]]:
    """The graph's lines of text, each with the node it shows."""
    return _Printer({}, True).lines(graph, "")


def print_op(op: Op) -> str:
    """The op with its attributes: ``conv {strides=(2, 2)}``."""
    attributes = _Printer({}, False).attributes(op, "")
    return op.text_name() + (f" {attributes}" if attributes else "")


@dataclass(frozen=True)
class _Printer:
    constants: dict[str, Array]
    loc: bool

    def lines(self, graph: Graph, indent: str) -> list[tuple[Node | None, str]]:
        names: dict[Value, str] = {v: _value_name(input_op(v).name) for v in graph.inputs}
        head = ", ".join(f"{names[v]}: {self.parameter(input_op(v), indent)}" for v in graph.inputs)
        lines: list[tuple[Node | None, str]] = [(None, f"{indent}graph {_word(graph.name)}({head})")]
        taken = set(names.values())
        for node in graph.nodes():
            if node.results[0] in names:
                continue
            for value in node.results:
                names[value] = _free_name(len(names) - len(graph.inputs), taken)
            lines.append((node, f"{indent}  {self.line(node, names, indent + '  ')}"))
        lines.append((None, f"{indent}  return {_returned(graph, names)}"))
        return lines

    def parameter(self, op: Input, indent: str) -> str:
        return f"{op.type}" + (f" {{elements={self.attribute(op.elements, indent)}}}" if op.elements else "")

    def line(self, node: Node, names: Mapping[Value, str], indent: str) -> str:
        results = ", ".join(names[v] for v in node.results)
        operands = "" if isinstance(node.op, Const) else f"({', '.join(names.get(v, '%?') for v in node.operands)})"
        types = ", ".join(map(str, node.types))
        attributes = self.attributes(node.op, indent)
        text = f"{results} = {node.op.text_name()}{operands} {attributes + ' ' if attributes else ''}: {types}"
        return text + (f"  # from {', '.join(map(_loc_word, node.loc))}" if self.loc and node.loc else "")

    def attributes(self, op: Op, indent: str) -> str:
        if isinstance(op, Const):
            return "{" + self.array(op.value) + "}"
        shown = [f"{k}={self.attribute(v, indent)}" for k, v in op.attributes().items() if not _is_default(op, k, v)]
        return f"{{{', '.join(shown)}}}" if shown else ""

    def array(self, array: Array) -> str:
        if array.size and bool((array.reshape(-1)[1:] == array.reshape(-1)[0]).all()):
            return f"value={_element(array.reshape(-1)[0])}"
        if array.size <= INLINE_ELEMENTS:
            return f"value={_elements(array)}"
        name = digest(array)
        self.constants[name] = array
        return f'digest="{name}"'

    def attribute(self, value: Any, indent: str) -> str:
        match value:
            case bool() | np.bool_() | None | DType() | TensorType():
                return {True: "true", False: "false", None: "none"}.get(value) or str(value)  # pyright: ignore[reportArgumentType, reportCallIssue]
            case int() | float() | np.number():
                return repr(value.item() if isinstance(value, np.number) else value)
            case str():
                return json.dumps(value)
            case Expr():
                return _size(value)
            case tuple():
                parts = [self.attribute(v, indent) for v in value]
                return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
            case Graph():
                body = "\n".join(line for _, line in self.lines(value, indent + "  "))
                return f"{{\n{body}\n{indent}}}"
            case np.ndarray():
                return f"{TensorType.of(value)} {{{self.array(value)}}}"
            case _:
                raise ParseError(f"an attribute of type {type(value).__name__} has no text form: {value!r}")


def _is_default(op: Op, name: str, value: Any) -> bool:
    """Whether an attribute is what it is when left out."""
    if not is_dataclass(op) or isinstance(value, np.ndarray):
        return False
    default = next(f.default for f in fields(op) if f.name == name)
    return default is not MISSING and type(default) is type(value) and default == value


def _value_name(name: str) -> str:
    return "%" + _word(name)


def _word(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else json.dumps(name)


def _loc_word(name: str) -> str:
    return name if re.fullmatch(r"[^\s,\"]+", name) else json.dumps(name)


def _free_name(start: int, taken: set[str]) -> str:
    """``%0``, ``%1`` …, passing over names that the inputs have."""
    name = f"%{start}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _returned(graph: Graph, names: Mapping[Value, str]) -> str:
    values = [names.get(v, "%?") for v in graph.outputs]
    if not graph.output_names:
        return ", ".join(values)
    return ", ".join(f"{_word(n)}={v}" for n, v in zip(graph.output_names, values, strict=True))


def _size(value: Expr) -> str:
    text = str(value)
    return text if text.isidentifier() and text not in WORDS and text not in DTYPES else f"<{text}>"


def _element(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value)


def _elements(array: Array) -> str:
    if array.ndim == 0:
        return _element(array[()])
    return f"[{', '.join(_elements(row) for row in array)}]"


def parse_graph(text: str, ops: tuple[type[Op], ...], constants: Mapping[str, Array] | None = None) -> Graph:
    """Read what ``print_graph`` writes, with ops from the given table. Raises ParseError saying what was expected."""
    table = {op.text_name(): op for op in ops}
    parser = _Parser(text, table, constants or {})
    graph = parser.graph()
    parser.end()
    return graph


@dataclass
class _Parser:
    """Recursive descent over the characters; ``at`` is how far it has read."""

    text: str
    ops: Mapping[str, type[Op]]
    constants: Mapping[str, Array]
    at: int = 0
    node_at: int = 0  # where the line that is being read begins

    def skip(self) -> None:
        """Pass over blanks and comments, but for the comment that tells where a node came from."""
        found = re.compile(r"(\s+|#(?! from ).*)*").match(self.text, self.at)
        self.at = found.end() if found else self.at

    def peek(self, pattern: str) -> bool:
        self.skip()
        return re.compile(pattern).match(self.text, self.at) is not None

    def accept(self, pattern: str) -> str:
        """The text that the pattern takes here, or ''."""
        self.skip()
        found = re.compile(pattern).match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def expect(self, pattern: str, what: str) -> str:
        taken = self.accept(pattern)
        return taken if taken else self.fail(f"expected {what}")

    def wrong(self, reason: str) -> Any:
        """The line that is being read says something that cannot be."""
        line = self.text.count("\n", 0, self.node_at) + 1
        shown = self.text[self.node_at :].split("\n", 1)[0].strip()
        raise ParseError(f"line {line}: {reason}, in {shown[:80]!r}")

    def fail(self, reason: str) -> Any:
        line = self.text.count("\n", 0, self.at) + 1
        rest = self.text[self.at :].split("\n", 1)[0].strip()
        raise ParseError(f"line {line}: {reason}, got {rest[:80]!r}")

    def end(self) -> None:
        if not self.peek(r"$"):
            self.fail("expected the end of the text")

    def word(self, what: str) -> str:
        if self.peek('"'):
            return self.string()
        return self.expect(r"\w+", what)

    def string(self) -> str:
        return json.loads(self.expect(r'"(\\.|[^"\\])*"', 'a text in "quotes"'))

    def value_name(self) -> str:
        self.expect("%", "a value such as %0")
        return self.word("a value's name after %")

    def listed(self, item: Any, close: str) -> list[Any]:
        """Items between commas, up to the closing bracket."""
        items: list[Any] = []
        while not self.accept(close):
            items.append(item())
            if not self.accept(",") and not self.peek(close):
                self.fail(f"expected ',' or '{close[-1]}'")
        return items

    def graph(self) -> Graph:
        self.expect(r"graph\b", "'graph name(...)'")
        name = self.word("the graph's name")
        self.expect(r"\(", "'('")
        inputs: tuple[Value, ...] = tuple(self.listed(self.parameter, r"\)"))
        values = {input_op(v).name: v for v in inputs}
        while not self.accept(r"return\b"):
            self.node(values)
        names, outputs = self.returned(values)
        return Graph(name, inputs, outputs, names)

    def parameter(self) -> Value:
        name = self.value_name()
        self.expect(":", f"': type' of %{name}")
        kind = self.type()
        elements = self.braced().get("elements", ()) if self.peek(r"\{") else ()
        return Input(name, kind, elements)()

    def returned(self, values: Mapping[str, Value]) -> tuple[tuple[str, ...], tuple[Value, ...]]:
        names: list[str] = []
        outputs: list[Value] = []
        while not outputs or self.accept(","):
            if not self.peek("%"):
                names.append(self.word("an output's name"))
                self.expect("=", "'=' and a value")
            outputs.append(self.operand(values))
        if names and len(names) != len(outputs):
            self.fail("expected a name for each output or for none")
        return tuple(names), tuple(outputs)

    def operand(self, values: Mapping[str, Value]) -> Value:
        name = self.value_name()
        return values[name] if name in values else self.fail(f"%{name} is used before it is defined")

    def node(self, values: dict[str, Value]) -> None:
        self.skip()
        begin = self.at
        names = [self.value_name()]
        while self.accept(","):
            names.append(self.value_name())
        self.expect("=", "'= op(...)'")
        kind = self.expect(r"\w+", "an op's name")
        operands = self.listed(lambda: self.operand(values), r"\)") if self.accept(r"\(") else []
        attributes = self.braced() if self.peek(r"\{") else {}
        types = self.types() if self.accept(":") else ()
        self.node_at = begin
        op = self.op(kind, attributes, types)
        results = self.apply(op, operands)
        if types and tuple(v.type for v in results) != types:
            found = ", ".join(str(v.type) for v in results)
            self.wrong(f"{kind} gives {found}, but its line says {', '.join(map(str, types))}")
        if len(results) != len(names):
            self.wrong(f"{kind} has {len(results)} results, but its line names {len(names)}")
        if again := [n for n in names if n in values]:
            self.wrong(f"%{again[0]} is defined twice")
        values |= dict(zip(names, results, strict=True))

    def apply(self, op: Op, operands: list[Value]) -> tuple[Value, ...]:
        loc = self.origin()
        try:
            return op.apply(*operands, loc=loc)
        except TypeError:
            return self.wrong(f"{op.text_name()} does not take {len(operands)} operands")

    def origin(self) -> tuple[str, ...]:
        """The names in a trailing comment ``# from /a, /b``."""
        found = re.compile(r"[ \t]*# from (.*)").match(self.text, self.at)
        if found is None:
            return ()
        self.at = found.end()
        words = re.findall(r'"(?:\\.|[^"\\])*"|[^\s,"]+', found[1])
        return tuple(json.loads(w) if w[0] == '"' else w for w in words)

    def op(self, kind: str, attributes: dict[str, Any], types: tuple[TensorType, ...]) -> Op:
        if kind == Const.text_name():
            return Const(self.constant(attributes, types))
        if kind not in self.ops:
            near = difflib.get_close_matches(kind, self.ops, n=3)
            return self.wrong(f"unknown op {kind!r}: expected " + (" or ".join(near) or "an op of the table"))
        try:
            return self.ops[kind](**attributes)
        except TypeError as err:
            return self.wrong(f"{kind}: {err}")

    def constant(self, attributes: dict[str, Any], types: tuple[TensorType, ...]) -> Array:
        if len(types) != 1 or not types[0].is_static:
            return self.wrong("a constant needs ': type' with numbers for sizes")
        return self.array(attributes, types[0])

    def array(self, attributes: dict[str, Any], kind: TensorType) -> Array:
        shape = kind.static_shape()
        if "digest" not in attributes:
            value = np.array(attributes.get("value", 0), kind.dtype.numpy)
            if value.shape not in ((), shape):
                return self.wrong(f"the value's shape is {value.shape}: expected that of {kind}")
            return np.array(np.broadcast_to(value, shape), order="C")
        found = self.constants.get(attributes["digest"])
        if found is None or TensorType.of(found) != kind:
            what = "none" if found is None else TensorType.of(found)
            return self.wrong(
                f"constant {attributes['digest']!r}: expected {kind} in the table of constants, found {what}"
            )
        return found

    def type(self) -> TensorType:
        head = self.expect(r"\w+\[", "a type such as f32[N,3]")
        close = self.at + _closing(self.text[self.at :])
        body = self.text[self.at : close]
        self.at = close + 1
        try:
            return TensorType.parse(f"{head}{body}]")
        except FuseeError as err:
            return self.fail(str(err))

    def types(self) -> tuple[TensorType, ...]:
        found = [self.type()]
        while self.accept(","):
            found.append(self.type())
        return tuple(found)

    def braced(self) -> dict[str, Any]:
        self.expect(r"\{", "'{'")
        return dict(self.listed(self.pair, r"\}"))

    def pair(self) -> tuple[str, Any]:
        name = self.expect(r"\w+", "an attribute's name")
        self.expect("=", f"'=' after {name}")
        return name, self.attribute()

    def attribute(self) -> Any:
        if self.accept(r"\("):
            return tuple(self.listed(self.attribute, r"\)"))
        if self.accept(r"\["):
            return self.listed(self.attribute, r"\]")
        if self.peek(r"\{"):
            return self.nested()
        if self.peek('"'):
            return self.string()
        if self.accept("<"):
            return parse_dim(self.expect(r"[^>]+>", "a size up to '>'")[:-1])
        if number := self.accept(r"-?(inf|nan|\d[\d.]*([eE][-+]?\d+)?)\b(?!\w)"):
            return int(number) if re.fullmatch(r"-?\d+", number) else float(number)
        return self.tensor() if self.peek(r"\w+\[") else self.named()

    def nested(self) -> Graph:
        self.expect(r"\{", "'{'")
        graph = self.graph()
        self.expect(r"\}", "'}' after the subgraph")
        return graph

    def tensor(self) -> TensorType | Array:
        """A type, or an array when its content follows."""
        kind = self.type()
        return self.array(self.braced(), kind) if self.peek(r"\{") else kind

    def named(self) -> Any:
        word = self.expect(r"[A-Za-z_]\w*", "an attribute's value")
        if word in WORDS:
            return WORDS[word]
        return DTYPES[word] if word in DTYPES else sym(word)


def _closing(text: str) -> int:
    """Where the bracket that is already open closes."""
    depth = 1
    for i, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if depth == 0:
            return i
    return len(text)
