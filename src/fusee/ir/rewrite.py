"""Pattern -> replacement: one walk over the graph, operands first, repeated until nothing fires.

To add a rule: write a function that builds the replacement, decorate it with ``rule(pattern)``, and list it in its
pass's tuple. Nothing else.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from fusee.base.errors import InternalError
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value, const_array

MOST_SWEEPS = 200  # a set of rules still at work after so many sweeps undoes its own work


class NoMatch(Exception):
    """Why a rule whose pattern fitted did not fire."""


def need(condition: bool, reason: str) -> None:
    """Stop the rule, and record why, unless the condition holds."""
    if not condition:
        raise NoMatch(reason)


@dataclass(frozen=True)
class Match:
    """What a pattern bound so far, and the nodes it covers, root first."""

    bound: dict[str, Value] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    shared: frozenset[Node] = frozenset()

    def bind(self, name: str, value: Value) -> Match | None:
        """The match with one more name; None when the name already stands for something else."""
        if self.bound.get(name, value) != value:
            return None
        return self if name in self.bound else replace(self, bound={**self.bound, name: value})


@dataclass(frozen=True)
class Pat:
    """A node of this op (or of one of these); operands are patterns, or names that bind any value.

    A name used twice must stand for the same value. ``commutative`` also tries the two operands the other way round;
    ``shared`` allows the node to have users outside the pattern; ``rest`` lets the node have more operands.
    """

    op: type[Op] | tuple[type[Op], ...]
    operands: tuple[Pattern, ...]
    name: str = ""
    commutative: bool = False
    shared: bool = False
    rest: bool = False

    def __init__(
        self,
        op: type[Op] | tuple[type[Op], ...],
        *operands: Pattern,
        name: str = "",
        commutative: bool = False,
        shared: bool = False,
        rest: bool = False,
    ) -> None:
        given = {"op": op, "operands": operands, "name": name, "commutative": commutative}
        for key, value in (given | {"shared": shared, "rest": rest}).items():
            object.__setattr__(self, key, value)

    def matches(self, value: Value, match: Match) -> Iterator[Match]:
        if not isinstance(value.op, self.op) or not self._takes(len(value.operands)):
            return
        match = replace(match, nodes=(*match.nodes, value.node))
        if self.shared:
            match = replace(match, shared=match.shared | {value.node})
        named = match.bind(self.name, value) if self.name else match
        if named is None:
            return
        yield from _all_match(self.operands, value.operands, named)
        if self.commutative:
            yield from _all_match(self.operands, (value.operands[1], value.operands[0]), named)

    def _takes(self, count: int) -> bool:
        return count >= len(self.operands) if self.rest else count == len(self.operands)


@dataclass(frozen=True)
class Known:
    """A constant, bound to a name; ``near`` asks all its elements to be close to a number."""

    name: str = ""
    near: float | None = None

    def matches(self, value: Value, match: Match) -> Iterator[Match]:
        array = const_array(value)
        if array is None or (self.near is not None and not is_near(array, self.near)):
            return
        named = match.bind(self.name, value) if self.name else match
        if named is not None:
            yield named


@dataclass(frozen=True)
class Either:
    """One of several patterns, tried in order."""

    options: tuple[Pattern, ...]

    def __init__(self, *options: Pattern) -> None:
        object.__setattr__(self, "options", options)

    def matches(self, value: Value, match: Match) -> Iterator[Match]:
        for option in self.options:
            yield from matches(option, value, match)


Pattern = Pat | Known | Either | str


def is_near(array: np.ndarray, number: float) -> bool:
    """Whether every element of a numeric constant is the number, up to f16 rounding of odd numbers such as sqrt(2)."""
    if array.dtype == np.bool_ or not array.size:
        return False
    return bool(np.all(np.abs(array.astype(np.float64) - number) <= 1e-3 * abs(number)))


def matches(pattern: Pattern, value: Value, match: Match) -> Iterator[Match]:
    """Every way in which a pattern fits a value."""
    if isinstance(pattern, str):
        named = match.bind(pattern, value)
        if named is not None:
            yield named
        return
    yield from pattern.matches(value, match)


def _all_match(patterns: tuple[Pattern, ...], values: tuple[Value, ...], match: Match) -> Iterator[Match]:
    if not patterns:
        yield match
        return
    for first in matches(patterns[0], values[0], match):
        yield from _all_match(patterns[1:], values[1:], first)


Built = Value | tuple[Value, ...]


@dataclass(frozen=True)
class Rule:
    """A pattern and what to build in its place; ``takes`` are the bound names that ``build`` wants."""

    name: str
    pattern: Pat
    build: Callable[..., Built]
    takes: tuple[str, ...]

    def built(self, match: Match) -> tuple[Value, ...]:
        made = self.build(**{k: match.bound[k] for k in self.takes if k in match.bound})
        return made if isinstance(made, tuple) else (made,)


def rule(pattern: Pat) -> Callable[[Callable[..., Built]], Rule]:
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
    last = ", ".join(sorted({v.rule for v in report.fired[-20:]}))
    raise InternalError(f"the rewrites of graph {graph.name} do not come to rest; the last to fire: {last}")


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
        while True:
            built = self.apply_one(values[0].node)
            if built is None:
                return values
            values = built
            if values[0].node not in self.made or values != values[0].node.results:
                return values

    def apply_one(self, node: Node) -> tuple[Value, ...] | None:
        for candidate in self.rules_for(type(node.op)):
            built = self.attempt(candidate, node) if self.report.may_fire else None
            if built is not None:
                return built
        return None

    def rules_for(self, op: type[Op]) -> tuple[Rule, ...]:
        if op not in self.by_op:
            self.by_op[op] = tuple(r for r in self.rules if issubclass(op, r.pattern.op))
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
