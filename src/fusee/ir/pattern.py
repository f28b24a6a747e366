"""Patterns: what part of a graph a rule looks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Node, Op, Value, const_array


class NoMatch(Exception):
    """Why a rule whose pattern fitted did not fire; without a reason, that it did not fit after all."""


def need(condition: bool, reason: str) -> None:
    """Stop the rule, and record why, unless the condition holds."""
    if not condition:
        raise NoMatch(reason)


def fits(condition: bool) -> None:
    """Stop the rule without a record: the part of its pattern that is code does not fit."""
    if not condition:
        raise NoMatch("")


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

    @property
    def ops(self) -> tuple[type[Op], ...]:
        """The ops it fits at its root."""
        return self.op if isinstance(self.op, tuple) else (self.op,)

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

    @property
    def ops(self) -> tuple[type[Op], ...]:
        """The ops it fits at its root."""
        return tuple(op for option in self.options if isinstance(option, Pat | Either) for op in option.ops)

    def matches(self, value: Value, match: Match) -> Iterator[Match]:
        for option in self.options:
            yield from matches(option, value, match)


Pattern = Pat | Known | Either | str


def is_near(array: Array, number: float) -> bool:
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
