"""Sizes that may be unknown until run time: integers, names, and exact arithmetic over names.

A ``Dim`` is an ``int`` or an ``Expr``. An ``Expr`` is a polynomial with integer coefficients over atoms; an atom is
a name, or one of ``floordiv mod max min lt eq select`` applied to dims. Equal polynomials compare and hash equal,
and anything that reduces to a number *is* an ``int``, so ``2 * H - H - H`` is ``0``.

Names stand for sizes, so arithmetic takes them to be at least 1. A name that holds ``__n`` stands for a count that may
be 0 (``count_name``), one that holds ``__v`` for an element of an integer tensor, which may be negative
(``element_name``).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from fusee.base.errors import InternalError, ParseError


@dataclass(frozen=True)
class Call:
    """An atom that is not a name: one of ``CALLS`` applied to dims."""

    kind: str
    args: tuple[Dim, ...]

    def __str__(self) -> str:
        a = [str(d) for d in self.args]
        if self.kind == "floordiv":
            return f"({a[0]})//({a[1]})"
        if self.kind == "mod":
            return f"({a[0]})%({a[1]})"
        return f"{self.kind}({','.join(a)})"


Atom = str | Call
Monomial = tuple[tuple[Atom, int], ...]  # (atom, power), sorted by text; () is the constant term


@dataclass(frozen=True)
class Expr:
    """A polynomial that is not a number: ``terms`` maps monomials to coefficients, sorted by text."""

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += sign + _term_text(monomial, abs(coefficient))
        return text

    def __repr__(self) -> str:
        return str(self)

    def __add__(self, other: Dim) -> Dim:
        return _add(self, other, 1)

    def __radd__(self, other: Dim) -> Dim:
        return _add(other, self, 1)

    def __sub__(self, other: Dim) -> Dim:
        return _add(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _add(other, self, -1)

    def __mul__(self, other: Dim) -> Dim:
        return _multiply(self, other)

    def __rmul__(self, other: Dim) -> Dim:
        return _multiply(other, self)

    def __neg__(self) -> Dim:
        return _multiply(self, -1)

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return mod(other, self)


Dim = int | Expr


def sym(name: str) -> Expr:
    """The dim that a name stands for. The name must be an identifier, so that text parses back."""
    if not name.isidentifier():
        raise InternalError(f"{name!r} is not an identifier, so it cannot name a dimension")
    return Expr(((((name, 1),), 1),))


def element_name(tensor: str, index: int) -> str:
    """The name of one element of an integer tensor: unlike a size, it may be negative."""
    return f"{tensor}__v{index}"


def count_name(base: str) -> str:
    """A name for how many there are of something found at run time: unlike a size, it may be 0."""
    return f"{base}__n"


def _terms(dim: Dim) -> dict[Monomial, int]:
    if isinstance(dim, Expr):
        return dict(dim.terms)
    return {(): int(dim)} if dim else {}


def _monomial_text(monomial: Monomial) -> str:
    factors: list[str] = []
    for atom, power in monomial:
        text = atom if isinstance(atom, str) else str(atom)
        text = f"({text})" if isinstance(atom, Call) and atom.kind in ("floordiv", "mod") else text
        factors += [text] * power
    return "*".join(factors)


def _term_text(monomial: Monomial, coefficient: int) -> str:
    if not monomial:
        return str(coefficient)
    text = _monomial_text(monomial)
    return text if coefficient == 1 else f"{coefficient}*{text}"


def _make(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Expr(tuple(sorted(kept.items(), key=lambda item: (not item[0], _monomial_text(item[0])))))


def _add(a: Dim, b: Dim, sign: int) -> Dim:
    terms = _terms(a)
    for monomial, coefficient in _terms(b).items():
        terms[monomial] = terms.get(monomial, 0) + sign * coefficient
    return _make(terms)


def _multiply(a: Dim, b: Dim) -> Dim:
    terms: dict[Monomial, int] = {}
    for left, x in _terms(a).items():
        for right, y in _terms(b).items():
            product = _join(left, right)
            terms[product] = terms.get(product, 0) + x * y
    return _make(terms)


def _join(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def _call(kind: str, *args: Dim) -> Dim:
    if all(isinstance(a, int) for a in args):
        return CALLS[kind](*[a for a in args if isinstance(a, int)])
    return Expr(((((Call(kind, args), 1),), 1),))


def _quotient(dividend: Monomial, divisor: Monomial) -> Monomial | None:
    """The monomial q with q * divisor = dividend, when there is one."""
    powers = dict(dividend)
    for atom, power in divisor:
        if powers.get(atom, 0) < power:
            return None
        powers[atom] -= power
    return tuple((atom, power) for atom, power in powers.items() if power)


def floordiv(a: Dim, b: Dim) -> Dim:
    """``a // b``, rounding down; what divides exactly comes out of the division. ``b`` is taken to be above 0.

    By the number 0 it is 0: that happens in the half of a ``select`` that is not taken.
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b else 0
    if b == 1:
        return a
    a, b = _without_common_factor(a, b)
    exact = _exact_quotient(a, b)
    if exact is not None:
        return exact
    divisor = _terms(b)
    if len(divisor) != 1:
        return _call("floordiv", a, b)
    ((monomial, coefficient),) = divisor.items()
    whole: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for term, c in _terms(a).items():
        quotient = _quotient(term, monomial)
        if quotient is not None and c % coefficient == 0:
            whole[quotient] = c // coefficient
        else:
            rest[term] = c
    return _make(whole) + _nested(_make(rest), b)


def _nested(a: Dim, b: Dim) -> Dim:
    """``a // b``; ``(x // c) // d`` is ``x // (c * d)`` when both divisors are numbers."""
    a, b = _without_common_factor(a, b)
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(a, Expr) and isinstance(b, int) and len(a.terms) == 1 and a.terms[0][1] == 1:
        ((atoms, _),) = a.terms
        inner = atoms[0][0] if len(atoms) == 1 and atoms[0][1] == 1 else None
        if isinstance(inner, Call) and inner.kind == "floordiv" and isinstance(inner.args[1], int):
            return floordiv(inner.args[0], inner.args[1] * b)
    return _call("floordiv", a, b)


def _without_common_factor(a: Dim, b: Dim) -> tuple[Dim, Dim]:
    """The same ratio in lower terms: a number and the atoms that every term of both has are taken out."""
    both = [_terms(a), _terms(b)]
    if not both[0]:
        return 0, 1
    number = gcd(*[c for terms in both for c in terms.values()])
    shared = _shared_atoms([m for terms in both for m in terms])
    if number == 1 and not shared:
        return a, b
    reduced = [_make({_quotient(m, shared) or (): c // number for m, c in terms.items()}) for terms in both]
    return reduced[0], reduced[1]


def _shared_atoms(monomials: Sequence[Monomial]) -> Monomial:
    powers = dict(monomials[0])
    for monomial in monomials[1:]:
        other = dict(monomial)
        powers = {atom: min(power, other[atom]) for atom, power in powers.items() if atom in other}
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


MAX_DIVISION_STEPS = 32


def _exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """The polynomial q with q * b = a, when plain long division finds one."""
    divisor = _terms(b)
    lead = max(divisor, key=_degree)
    quotient: Dim = 0
    for _ in range(MAX_DIVISION_STEPS):
        remainder = _terms(a - quotient * b)
        if not remainder:
            return quotient
        first = max(remainder, key=_degree)
        ratio = _quotient(first, lead)
        if ratio is None or remainder[first] % divisor[lead]:
            return None
        quotient = quotient + _make({ratio: remainder[first] // divisor[lead]})
    return None


def _degree(monomial: Monomial) -> tuple[int, str]:
    return sum(power for _, power in monomial), _monomial_text(monomial)


def mod(a: Dim, b: Dim) -> Dim:
    """``a - (a // b) * b``."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b if b else 0
    if isinstance(b, int) and b:
        a = _make({m: c for m, c in _terms(a).items() if c % b})
        if isinstance(a, int):
            return a % b
    if a == b or b == 1 or floordiv(a, b) * b == a:
        return 0
    return _call("mod", a, b)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """``a / b`` rounded up."""
    return floordiv(a + b - 1, b)


def lower_bound(dim: Dim) -> int | None:
    """A number that the dim is certainly not below; None when there is none to be had."""
    total = 0
    for monomial, coefficient in _terms(dim).items():
        bounds = [_atom_bound(atom) for atom, _ in monomial]
        if monomial and (coefficient < 0 or any(b is None or b < 0 for b in bounds)):
            bound = bounds[0] if len(monomial) == 1 and monomial[0][1] == 1 else None
            if coefficient < 0 or bound is None:
                return None
            total += coefficient * bound
            continue
        product_bound = 1
        for (_, power), bound in zip(monomial, bounds, strict=True):
            product_bound *= (bound or 0) ** power
        total += coefficient * product_bound
    return total


def _atom_bound(atom: Atom) -> int | None:
    if isinstance(atom, str):
        return None if "__v" in atom else 0 if "__n" in atom else 1
    bounds = [lower_bound(a) for a in atom.args]
    match atom.kind:
        case "max":
            return max((b for b in bounds if b is not None), default=None)
        case "min":
            return None if None in bounds else min(b for b in bounds if b is not None)
        case "select":
            return None if None in bounds[1:] else min(b for b in bounds[1:] if b is not None)
        case "floordiv":
            divisor = atom.args[1]
            return bounds[0] // divisor if bounds[0] is not None and isinstance(divisor, int) else _sign_bound(bounds)
        case _:
            return 0 if atom.kind in ("lt", "eq") else _sign_bound(bounds)


def _sign_bound(bounds: Sequence[int | None]) -> int | None:
    """0 for a quotient or remainder of what is not negative."""
    return 0 if all(b is not None and b >= 0 for b in bounds) else None


def is_nonnegative(dim: Dim) -> bool:
    """Whether the dim is certainly at least 0."""
    bound = lower_bound(dim)
    return bound is not None and bound >= 0


def dim_max(a: Dim, b: Dim) -> Dim:
    """The larger of two dims; one of them, when it is known which."""
    if is_nonnegative(a - b):
        return a
    return b if is_nonnegative(b - a) else _call("max", a, b)


def dim_min(a: Dim, b: Dim) -> Dim:
    """The smaller of two dims; one of them, when it is known which."""
    if is_nonnegative(b - a):
        return a
    return b if is_nonnegative(a - b) else _call("min", a, b)


def less(a: Dim, b: Dim) -> Dim:
    """1 when ``a < b``, else 0."""
    if is_nonnegative(a - b):
        return 0
    return 1 if is_nonnegative(b - a - 1) else _call("lt", a, b)


def equal(a: Dim, b: Dim) -> Dim:
    """1 when the two are the same number, else 0. (``==`` asks whether they are the same expression.)"""
    if a == b:
        return 1
    return 0 if isinstance(a - b, int) else _call("eq", a, b)


def select(condition: Dim, then: Dim, otherwise: Dim) -> Dim:
    """``then`` where the condition is not 0."""
    if isinstance(condition, int):
        return then if condition else otherwise
    return then if then == otherwise else _call("select", condition, then, otherwise)


CALLS: dict[str, Callable[..., int]] = {
    "floordiv": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "max": max,
    "min": min,
    "lt": lambda a, b: int(a < b),
    "eq": lambda a, b: int(a == b),
    "select": lambda c, a, b: a if c else b,
}

_BUILD: dict[str, Callable[..., Dim]] = {
    "floordiv": floordiv,
    "mod": mod,
    "max": dim_max,
    "min": dim_min,
    "lt": less,
    "eq": equal,
    "select": select,
}


def symbols(dims: Iterable[Dim] | Dim) -> frozenset[str]:
    """The names that one or several dims depend on."""
    if isinstance(dims, int):
        return frozenset()
    if not isinstance(dims, Expr):
        return frozenset[str]().union(*[symbols(d) for d in dims])
    found: set[str] = set()
    for monomial, _ in dims.terms:
        for atom, _ in monomial:
            found |= {atom} if isinstance(atom, str) else symbols(atom.args)
    return frozenset(found)


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """The dim with names replaced by numbers or other dims; unknown names stay."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        product: Dim = coefficient
        for atom, power in monomial:
            factor = _substitute_atom(atom, values)
            for _ in range(power):
                product = product * factor
        total = total + product
    return total


def _substitute_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, str):
        return values[atom] if atom in values else sym(atom)
    return _BUILD[atom.kind](*[substitute(a, values) for a in atom.args])


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The number a dim is, given its names. Raises InternalError when a name has no value."""
    result = substitute(dim, values)
    if isinstance(result, int):
        return result
    missing = ", ".join(sorted(symbols(result)))
    raise InternalError(f"the size {dim} cannot be computed: {missing} has no value yet")


def parse_dim(text: str) -> Dim:
    """Read what ``str(dim)`` prints: ``224``, ``N``, ``2*H``, ``(H)//(2)``, ``max(1,H)``."""
    try:
        return _from_ast(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError:
        raise ParseError(f"expected a dimension such as 224, N or (H+1)//(2), got {text!r}") from None


_OPERATORS: dict[type[ast.operator], Callable[[Dim, Dim], Dim]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: floordiv,
    ast.Mod: mod,
}


def _from_ast(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return sym(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return 0 - _from_ast(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_from_ast(left), _from_ast(right))
        case ast.Call(func=ast.Name(id=kind), args=args) if kind in _BUILD:
            return _BUILD[kind](*[_from_ast(a) for a in args])
        case _:
            raise ParseError(f"expected a dimension, got {ast.unparse(node)!r}")


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return total


def match(shape: Sequence[Dim], sizes: Sequence[int], values: dict[str, int]) -> str:
    """Give values to the names of a shape from actual sizes; the first disagreement in words, or ''.

    A dimension that is one name gives that name its value; every other dimension must then come out right.
    """
    if len(shape) != len(sizes):
        return f"rank {len(sizes)} instead of {len(shape)}"
    for dim, size in zip(shape, sizes, strict=True):
        name = _lone_name(dim)
        if name is not None:
            values.setdefault(name, size)
    for axis, (dim, size) in enumerate(zip(shape, sizes, strict=True)):
        expected = substitute(dim, values)
        if isinstance(expected, int) and expected != size:
            known = "" if isinstance(dim, int) else f" ({dim})"
            return f"dimension {axis} is {size} instead of {expected}{known}"
    return ""


def _lone_name(dim: Dim) -> str | None:
    """The name a dimension consists of, if it is nothing but a name."""
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    ((monomial, coefficient),) = dim.terms
    if coefficient != 1 or len(monomial) != 1 or monomial[0][1] != 1:
        return None
    atom = monomial[0][0]
    return atom if isinstance(atom, str) else None
