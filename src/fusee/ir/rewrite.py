"""Pattern -> replacement: one walk over the graph, operands first, repeated until nothing fires.

To add a rule: write a function that builds the replacement, decorate it with ``rule(pattern)``, and list it in its
pass's tuple. Nothing else.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fusee.base.errors import InternalError
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value
from fusee.ir.pattern import Either, Match, NoMatch, Pat, need

MOST_SWEEPS = 200  # a set of rules still at work after so many sweeps undoes its own work


Built = Value | tuple[Value, ...]


@dataclass(frozen=True)
class Rule:
    """A pattern and what to build in its place; ``takes`` are the bound names that ``build`` wants."""

    name: str
    pattern: Pat | Either
    build: Callable[..., Built]
    takes: tuple[str, ...]

    def built(self, match: Match) -> tuple[Value, ...]:
        made = self.build(**{k: match.bound[k] for k in self.takes if k in match.bound})
        return made if isinstance(made, tuple) else (made,)


def rule(pattern: Pat | Either) -> Callable[[Callable[..., Built]], Rule]:
    """Make a rule of a function whose parameters are names that its pattern binds; ``root`` is the matched value.

    The function returns one value, or a tuple with a value for each result of the root.
    """

    def make(build: Callable[..., Built]) -> Rule:
        return Rule(build.__name__.replace("_", "-"), pattern, build, tuple(inspect.signature(build).parameters))

    return make


@dataclass(frozen=True)
class Verdict:
    """What became of a rule that fitted at a node; ``reason`` is empty when it fired."""

    rule: str
    op: str
    loc: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        where = f" ({', '.join(self.loc)})" if self.loc else ""
        return f"{self.rule} at {self.op}{where}" + (f": {self.reason}" if self.reason else "")


@dataclass
class Report:
    """Which rules fired and which declined. ``limit`` bounds the rewrites: bisect on it to find the one that breaks."""

    limit: int | None = None
    fired: list[Verdict] = field(default_factory=list)
    _declined: dict[Verdict, None] = field(default_factory=dict)

    @property
    def declined(self) -> list[Verdict]:
        return list(self._declined)

    @property
    def may_fire(self) -> bool:
        return self.limit is None or len(self.fired) < self.limit

    def fire(self, name: str, node: Node) -> None:
        self.fired.append(Verdict(name, type(node.op).__name__, node.loc))

    def decline(self, name: str, node: Node, reason: str) -> None:
        if reason:
            self._declined[Verdict(name, type(node.op).__name__, node.loc, reason)] = None


def rewrite(graph: Graph, rules: Iterable[Rule], report: Report | None = None) -> Graph:
    """Apply the rules until none fires. Raises InternalError when they never come to rest."""
    report = report if report is not None else Report()
    rules = tuple(rules)
    for _ in range(MOST_SWEEPS):
        before = len(report.fired)
        graph = _Sweep(graph, rules, report).run()
        if len(report.fired) == before:
            return graph
    raise restless(graph, report)


def restless(graph: Graph, report: Report) -> InternalError:
    last = ", ".join(sorted({v.rule for v in report.fired[-20:]}))
    return InternalError(f"the rewrites of graph {graph.name} do not come to rest; the last to fire: {last}")


class _Sweep:
    """One walk. ``now`` maps each value of the graph to what stands for it; ``uses`` counts users in the new graph."""

    def __init__(self, graph: Graph, rules: tuple[Rule, ...], report: Report) -> None:
        self.graph, self.rules, self.report = graph, rules, report
        self.uses: Counter[Value] = graph.uses()
        self.alive: set[Node] = set(graph.nodes())
        self.now: dict[Value, Value] = {}
        self.by_op: dict[type[Op], tuple[Rule, ...]] = {}
        self.made: list[Node] = []  # the nodes of the last replacement

    def run(self) -> Graph:
        for node in self.graph.nodes():
            if node not in self.alive:
                continue
            settled = self.settle(self.rebuilt(node).results)
            self.now |= {old: new for old, new in zip(node.results, settled, strict=True) if old != new}
        if not self.now:
            return self.graph
        return replace(self.graph, outputs=tuple(self.now.get(v, v) for v in self.graph.outputs))

    def rebuilt(self, node: Node) -> Node:
        """The node on the operands of now."""
        operands = tuple(self.now.get(v, v) for v in node.operands)
        if operands == node.operands:
            return node
        new = replace(node, operands=operands)
        self.alive.discard(node)
        self.alive.add(new)
        for old, value in zip(node.results, new.results, strict=True):
            self.uses[value] = self.uses.pop(old, 0)
        return new

    def settle(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """Apply rules to the node of these results, then to the new node that replaces it, until none fires."""
        for _ in range(MOST_SWEEPS):
            built = self.apply_one(values[0].node)
            if built is None:
                return values
            values = built
            if values[0].node not in self.made or values != values[0].node.results:
                return values
        raise restless(self.graph, self.report)

    def apply_one(self, node: Node) -> tuple[Value, ...] | None:
        for candidate in self.rules_for(type(node.op)):
            built = self.attempt(candidate, node) if self.report.may_fire else None
            if built is not None:
                return built
        return None

    def rules_for(self, op: type[Op]) -> tuple[Rule, ...]:
        if op not in self.by_op:
            self.by_op[op] = tuple(r for r in self.rules if issubclass(op, r.pattern.ops))
        return self.by_op[op]

    def attempt(self, candidate: Rule, node: Node) -> tuple[Value, ...] | None:
        """What the rule builds for the first fit it accepts; None, with the reasons recorded, when there is none."""
        for match in candidate.pattern.matches(node.results[0], Match({"root": node.results[0]})):
            try:
                self.check_inner(match)
                built = candidate.built(match)
                self.check_types(node, built)
            except NoMatch as why:
                self.report.decline(candidate.name, node, str(why))
                continue
            self.report.fire(candidate.name, node)
            return self.install(node, self.with_loc(built, match.nodes))
        return None

    def check_inner(self, match: Match) -> None:
        """Nodes inside the pattern must have no user outside it, or they would be computed twice."""
        covered = set(match.nodes)
        inside = Counter(v for n in covered for v in n.operands)
        for inner in dict.fromkeys(match.nodes[1:]):
            free = inner in match.shared or not inner.operands
            need(
                free or all(self.uses[v] == inside[v] for v in inner.results),
                f"{type(inner.op).__name__} is used elsewhere",
            )

    def check_types(self, node: Node, built: tuple[Value, ...]) -> None:
        if len(built) != len(node.types):
            raise InternalError(f"{type(node.op).__name__} has {len(node.types)} results, its replacement {len(built)}")
        for value, kind in zip(built, node.types, strict=True):
            need(value.type == kind, f"the replacement is {value.type}, not {kind}")

    def with_loc(self, built: tuple[Value, ...], sources: tuple[Node, ...]) -> tuple[Value, ...]:
        """The values, their new nodes remembering every source node that they stand for."""
        loc = tuple(dict.fromkeys(name for n in reversed(sources) for name in n.loc))
        new: dict[Node, Node] = {}
        for node in self.fresh_nodes(built):
            operands = tuple(Value(new.get(v.node, v.node), v.index) for v in node.operands)
            kept = node.loc or (() if isinstance(node.op, Const) else loc)
            new[node] = replace(node, operands=operands, loc=kept)
        return tuple(Value(new.get(v.node, v.node), v.index) for v in built)

    def fresh_nodes(self, built: tuple[Value, ...]) -> list[Node]:
        """Nodes that the graph does not hold yet, operands before users."""
        done: dict[Node, None] = {}
        stack = [(v.node, False) for v in built]
        while stack:
            node, ready = stack.pop()
            if node in self.alive or node in done or isinstance(node.op, Input):
                continue
            if ready:
                done[node] = None
                continue
            stack.append((node, True))
            stack.extend((v.node, False) for v in node.operands)
        return list(done)

    def install(self, node: Node, built: tuple[Value, ...]) -> tuple[Value, ...]:
        """Let the replacement take over the node's users, and drop what nobody uses any more."""
        self.made = self.fresh_nodes(built)
        for new in self.made:
            self.alive.add(new)
            self.uses.update(new.operands)
        for old, value in zip(node.results, built, strict=True):
            self.uses[value] += self.uses.pop(old, 0)
        self.drop(node)
        return built

    def drop(self, node: Node) -> None:
        stack = [node]
        while stack:
            dead = stack.pop()
            if dead not in self.alive or isinstance(dead.op, Input) or any(self.uses[v] > 0 for v in dead.results):
                continue
            self.alive.discard(dead)
            for operand in dead.operands:
                self.uses[operand] -= 1
            stack.extend(v.node for v in dead.operands)


def rebuild(graph: Graph, visit: Callable[[Node], Sequence[Value]]) -> Graph:
    """Walk operands first; ``visit`` gets each node on its new operands and gives what stands for its results.

    Raises InternalError when that has another type than the result it stands for.
    """
    now: dict[Value, Value] = {}
    for node in graph.nodes():
        if isinstance(node.op, Input):
            continue
        operands = tuple(now.get(v, v) for v in node.operands)
        current = node if operands == node.operands else replace(node, operands=operands)
        for old, new in zip(node.results, visit(current), strict=True):
            if new.type != old.type:
                raise InternalError(f"{type(node.op).__name__} is {old.type}, its replacement {new.type}")
            if new != old:
                now[old] = new
    return replace(graph, outputs=tuple(now.get(v, v) for v in graph.outputs)) if now else graph


def inline(body: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
    """The body's outputs computed on the operands in the place of its inputs."""
    built: dict[Value, Value] = dict(zip(body.inputs, operands, strict=True))
    for node in body.nodes():
        if node.results[0] not in built:
            results = node.op.apply(*[built[v] for v in node.operands], loc=node.loc)
            built.update(zip(node.results, results, strict=True))
    return tuple(built[v] for v in body.outputs)
