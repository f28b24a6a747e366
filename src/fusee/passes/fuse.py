"""Groups of ops that one kernel computes, so that what flows between them stays in registers.

A group is an anchor (a convolution, a product, a reduction …) with the elementwise ops after it, and before it for
reductions; what remains of elementwise ops and movement forms groups of its own. Only its last value is used outside,
so groups can never wait for each other in a circle. Which groups exist is the backend's to say: ``accepts`` tells
whether some kernel takes a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fusee.ir.graph import Const, Graph, Input, Node, Op, Value
from fusee.ir.passes import Pass
from fusee.ir.rewrite import Report
from fusee.ops.attention import Attention
from fusee.ops.control import After, Bind
from fusee.ops.element import Elementwise
from fusee.ops.fused import Fused
from fusee.ops.linear import Conv, MatMul
from fusee.ops.reduce import ArgReduce, Cumulative, LogSoftmax, Normalize, Reduce, Softmax
from fusee.ops.shape import Concat, DimsTensor, Expand, Pad, Reshape, Slice, Transpose, Trilu

Accepts = Callable[[Op, tuple[Value, ...]], bool]

ROW_OPS = (Reduce, ArgReduce, Softmax, LogSoftmax, Normalize, Cumulative)  # read each element once: a prologue is free
READS_TRANSPOSED = (Attention, MatMul, Conv)  # may read operands, and write results, whose axes lie in another order
MOVEMENT = (Transpose, Expand, Pad, Trilu)
ALIASES = (Reshape, Slice, Concat, After, Bind, DimsTensor)  # no work of their own: the planner sees to them
MOST_NODES = 32
MOST_DETOUR = 8  # ops between a value with several users and the op where its branches meet again


@dataclass(frozen=True)
class Group:
    """Nodes in graph order, the last of which gives the group's only result."""

    nodes: tuple[Node, ...]

    @property
    def result(self) -> Value:
        return self.nodes[-1].results[0]


def fuse(graph: Graph, report: Report, accepts: Accepts) -> Graph:
    """Put groups in place of their nodes."""
    grouping = _Grouping(graph, accepts, report)
    return _installed(graph, grouping.all(), report)


def fuse_pass(accepts: Accepts) -> Pass:
    """The pass for a backend whose kernels take what ``accepts`` says."""
    return Pass("fuse", lambda graph, report: fuse(graph, report, accepts))


def as_op(nodes: tuple[Node, ...]) -> tuple[Fused, tuple[Value, ...]]:
    """Nodes, of which the last gives the result, as one op, and its operands.

    Constants of one element become part of the body; larger ones are operands, so that equal bodies share code.
    """
    inside = set(nodes)
    outer = dict.fromkeys(v for n in nodes for v in n.operands if v.node not in inside and not _is_number(v))
    inputs = {v: Input(f"x{i}", v.type)() for i, v in enumerate(outer)}
    built: dict[Node, Node] = {}
    for node in nodes:
        operands = tuple(inputs.get(v) or Value(built.get(v.node, v.node), v.index) for v in node.operands)
        built[node] = Node(node.op, operands, node.types, node.loc)
    working = [n for n in nodes if not isinstance(n.op, (Transpose, Reshape))] or nodes
    name = "_".join(n.op.text_name() for n in working[:6])
    body = Graph(name, tuple(inputs.values()), built[nodes[-1]].results[:1])
    return Fused(body), tuple(outer)


def _is_number(value: Value) -> bool:
    return isinstance(value.op, Const) and value.op.value.size == 1


class _Grouping:
    """Which node is in which group, while groups are found."""

    def __init__(self, graph: Graph, accepts: Accepts, report: Report) -> None:
        self.accepts, self.report = accepts, report
        self.order = {n: i for i, n in enumerate(graph.nodes())}
        self.outputs = set(graph.outputs)
        self.users: dict[Value, list[Node]] = {}
        for node in self.order:
            for value in dict.fromkeys(node.operands):
                self.users.setdefault(value, []).append(node)
        self.taken: set[Node] = set()
        self.formed = 0  # groups of more than one node

    def all(self) -> list[Group]:
        """Heavy anchors first, the last in the graph first: of two that meet in a sum, the later computes it."""
        anchors = [n for n in reversed(self.order) if _is_anchor(n)]
        anchors.sort(key=lambda n: isinstance(n.op, ROW_OPS))
        found = [self.around(n) for n in anchors if n not in self.taken]
        chains = [n for n in reversed(self.order) if isinstance(n.op, (Elementwise, *MOVEMENT))]
        found += [self.pointwise(n) for n in chains if n not in self.taken]
        return [g for g in found if len(g.nodes) > 1]

    def claim(self, nodes: set[Node]) -> Group:
        self.taken |= nodes
        self.formed += len(nodes) > 1
        return Group(tuple(sorted(nodes, key=self.order.__getitem__)))

    def takes(self, nodes: set[Node]) -> bool:
        """Whether a kernel takes these nodes as one op."""
        limit = self.report.limit
        if len(nodes) > MOST_NODES or (limit is not None and len(self.report.fired) + self.formed >= limit):
            return False
        op, operands = as_op(tuple(sorted(nodes, key=self.order.__getitem__)))
        return self.accepts(op, operands)

    def around(self, anchor: Node) -> Group:
        """The anchor, what follows it, and for ops that read each element once what comes before."""
        nodes = {anchor}
        while (grown := self.grown_down(nodes)) is not None:
            nodes = grown
        if isinstance(anchor.op, ROW_OPS + READS_TRANSPOSED):
            nodes = self.grown_up(nodes, anchor)
        return self.claim(nodes)

    def grown_down(self, nodes: set[Node]) -> set[Node] | None:
        """The group with the next op after it, or with all ops up to where branches meet; None when it ends."""
        last = max(nodes, key=self.order.__getitem__)
        if len(last.types) != 1:
            return None
        shape = last.types[0].shape
        grown = set(nodes)
        for _ in range(MOST_DETOUR):
            following = self.next_outside(grown)
            if following is None or not self.may_follow(following, nodes, shape):
                return None
            grown.add(following)
            if len(self.ends(grown)) == 1:
                return grown if self.takes(grown) else None
        return None

    def may_follow(self, node: Node, nodes: set[Node], shape: tuple[object, ...]) -> bool:
        if node in self.taken or len(node.types) != 1:
            return False
        if isinstance(node.op, Transpose):
            return any(isinstance(n.op, READS_TRANSPOSED) for n in nodes)
        return isinstance(node.op, Elementwise) and node.types[0].shape == shape

    def next_outside(self, nodes: set[Node]) -> Node | None:
        """The first user of the group's values outside of it; None when a value is an output of the graph."""
        ends = self.ends(nodes)
        if any(v in self.outputs for v in ends):
            return None
        outside = {u for v in ends for u in self.users.get(v, ()) if u not in nodes}
        return min(outside, key=self.order.__getitem__, default=None)

    def ends(self, nodes: set[Node]) -> list[Value]:
        """The group's values that are used outside of it."""
        values = [v for n in nodes for v in n.results]
        return [v for v in values if v in self.outputs or any(u not in nodes for u in self.users.get(v, ()))]

    def grown_up(self, nodes: set[Node], anchor: Node) -> set[Node]:
        """The group with cheap ops that only it uses, nearest first."""
        waiting = [v.node for v in anchor.operands]
        while waiting:
            node = waiting.pop(0)
            if self.may_precede(node, nodes, anchor) and self.takes(nodes | {node}):
                nodes = nodes | {node}
                waiting += [v.node for v in node.operands]
        return nodes

    def may_precede(self, node: Node, nodes: set[Node], anchor: Node) -> bool:
        if not self.only_used_in(node, nodes):
            return False
        if not isinstance(anchor.op, READS_TRANSPOSED):
            return isinstance(node.op, Elementwise)
        return isinstance(node.op, Transpose) or (isinstance(node.op, Reshape) and self.splits_heads(node))

    def splits_heads(self, node: Node) -> bool:
        """Whether a reshape splits axes that are then moved, or reads a slice of wider rows."""
        moved = all(isinstance(u.op, Transpose) for u in self.users[node.results[0]])
        return moved or isinstance(node.operands[0].op, Slice)

    def only_used_in(self, node: Node, nodes: set[Node]) -> bool:
        """Whether nothing else needs the node, so that it need not be computed twice."""
        if node in nodes or node in self.taken or len(node.types) != 1:
            return False
        value = node.results[0]
        return value not in self.outputs and all(u in nodes for u in self.users.get(value, ()))

    def pointwise(self, root: Node) -> Group:
        """A group of elementwise ops and movement that ends in this node."""
        nodes, waiting = {root}, list(_producers(root))
        while waiting:
            node = waiting.pop(0)
            if self.joins(node, nodes) and self.takes(nodes | {node}):
                nodes.add(node)
                waiting += _producers(node)
        return self.claim(nodes)

    def joins(self, node: Node, nodes: set[Node]) -> bool:
        """Whether a producer is computed as often inside the group as alone: its users have as many elements."""
        if not isinstance(node.op, (Elementwise, *MOVEMENT)) or not self.only_used_in(node, nodes):
            return False
        return all(u.types[0].size == node.types[0].size for u in self.users[node.results[0]])


def _producers(node: Node) -> Iterator[Node]:
    return (v.node for v in node.operands)


def _is_anchor(node: Node) -> bool:
    """Whether a group may form around the node: it does work of its own, in compiled code, with one result."""
    plain = isinstance(node.op, (Elementwise, Const, Input, Fused, *MOVEMENT, *ALIASES))
    return not (plain or node.op.on_host or node.op.subgraphs() or node.op.defined_symbols()) and len(node.types) == 1


def _installed(graph: Graph, groups: list[Group], report: Report) -> Graph:
    """The graph with each group as one node; a group comes after all that it reads."""
    by_last = {g.nodes[-1]: g for g in groups}
    now: dict[Value, Value] = {}
    for node in graph.nodes():
        group = by_last.get(node)
        if group is None:
            _rebuild_node(node, now)
            continue
        op, operands = as_op(group.nodes)
        loc = tuple(dict.fromkeys(name for n in group.nodes for name in n.loc))
        report.fire("fuse", node)
        now[group.result] = op(*[now.get(v, v) for v in operands], loc=loc)
    return Graph(graph.name, graph.inputs, tuple(now.get(v, v) for v in graph.outputs), graph.output_names)


def _rebuild_node(node: Node, now: dict[Value, Value]) -> None:
    operands = tuple(now.get(v, v) for v in node.operands)
    if operands == node.operands:
        return
    new = Node(node.op, operands, node.types, node.loc)
    now |= dict(zip(node.results, new.results, strict=True))
