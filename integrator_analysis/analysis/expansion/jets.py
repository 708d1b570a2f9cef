"""Jets: the derivatives at one point (z, t) of unknown smooth functions, as generators of a polynomial ring.

Knows how to expand in powers of h an expression in times near t, and an evaluation of an unknown field at a nearby
point. What a function of the expression means it looks up in a table of rules: functions of one time are its own,
functions of two times are added by two_times.py. Differentiation and expectation are in calculus.py.

The step size enters through g with h = g**grade: grade 1 for deterministic expansions, 2 where noise of size sqrt(h)
occurs. An unknown field's jets are numbers: each block is taken to be one-dimensional. trees.py is for the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sympy
from sympy import QQ
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.ring import PackedElement, PackedRing
from integrator_analysis.algebra.series import Series
from integrator_analysis.algebra.special import expm1, phi

__all__ = ["Index", "JetRing", "Rule", "Times", "multi_indices", "powers"]

Index = tuple[int, ...]

Key = tuple[str, Any]

Times = Mapping[sympy.Symbol, Series]

Rule = Callable[..., Series]
"""The offsets of a function's arguments from t, one series for each -> the function's series."""


def multi_indices(variables: int, order: int) -> list[Index]:
    """Return all multi-indices in ``variables`` variables of total order <= ``order``, lowest order first.

    >>> multi_indices(2, 1)
    [(0, 0), (0, 1), (1, 0)]
    """
    box = itertools.product(range(order + 1), repeat=variables)
    return sorted((i for i in box if sum(i) <= order), key=lambda i: (sum(i), i))


def powers(series: Series) -> list[Series]:
    """Return series**0, series**1, ..., as many as a series without constant term has that are not truncated."""
    out = [series**0]
    for _ in range(series.truncation):
        out.append(out[-1] * series)
    return out


@dataclass
class JetRing:
    """The ring of jets of state components, parameters, functions of time and one unknown vector field.

    ``unknown`` names the components of a smooth vector field on (z, t), e.g. ("s_x", "s_m"). It is linear in z if
    ``linear``, so that it has no second jets there. ``observable`` is a smooth scalar field on z, absent if empty.
    ``noises`` are standard normal variables, each carrying a factor g.
    ``functions`` maps the name of each function of time to whether it is constant (no jets but its value).
    ``slopes`` names those whose first derivative may be divided by (variables that times are measured in),
    ``divisors`` those whose value may be. A derivative of f is written slope_f in expressions.
    ``rules`` maps the name of a function to how it is expanded; the ring enters functions of one time by itself.
    ``clocks`` are the symbols that stand for times, beside ``time`` and ``end``.
    ``zeros`` names parameters and functions that are exactly 0: an error term that they multiply is not there.
    ``order`` is the highest power of h kept; jets are kept to the total order that a term of that size can show.
    """

    blocks: tuple[str, ...]
    order: int
    time: sympy.Symbol
    end: sympy.Symbol
    parameters: tuple[sympy.Symbol, ...]
    step: sympy.Symbol
    functions: Mapping[str, bool]
    unknown: tuple[str, ...]
    linear: bool = False
    observable: str = ""
    noises: tuple[str, ...] = ()
    zeros: frozenset[str] = frozenset()
    slopes: tuple[str, ...] = ()
    divisors: tuple[str, ...] = ()
    clocks: frozenset[sympy.Symbol] = frozenset()
    rules: dict[str, Rule] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.clocks |= {self.time, self.end}
        # A noise of size sqrt(h) carries one factor g, so that h is g**2; without noise half the series would be zero.
        self.grade = 2 if self.noises else 1
        self.truncation = self.order * self.grade
        indices = multi_indices(len(self.blocks) + 1, self.truncation)
        self.unknown_indices = [i for i in indices if not self.linear or sum(i[:-1]) <= 1]
        self.keys = self._list_keys()
        self.position = {key: n for n, key in enumerate(self.keys)}
        self.ring = PackedRing([f"g{n}" for n in range(len(self.keys))])
        self.generators = self.ring.gens
        # Each quantity that may be divided by has a second generator for its reciprocal, which ``reduce`` cancels.
        invertible: list[tuple[Key, Key]] = [(("parameter", p), ("reciprocal", p)) for p in self.parameters]
        invertible += [(("function", (f, 1)), ("reciprocal slope", f)) for f in self.slopes]
        invertible += [(("function", (f, 0)), ("reciprocal value", f)) for f in self.divisors]
        self._reciprocals = [(self.position[key], self.position[partner]) for key, partner in invertible]
        self._denominators = {*self.divisors, *(f"slope_{name}" for name in self.slopes)}
        self._elapsed: dict[Series, list[Series]] = {}
        self.rules |= {name: partial(self.function_at, name) for name in self.functions}
        self.rules |= {f"slope_{name}": partial(self.function_at, name, derivative=1) for name in self.slopes}

    def _list_keys(self) -> list[Key]:
        """Return what the generators stand for, in ring order."""
        # The share y of the way between two times is a generator that weights integrate out.
        keys: list[Key] = [("time", "t"), ("share", "y")]
        keys += [*(("state", b) for b in self.blocks), *(("noise", n) for n in self.noises)]
        keys += [("parameter", p) for p in self.parameters] + [("reciprocal", p) for p in self.parameters]
        keys += [
            ("function", (f, i)) for f, c in self.functions.items() for i in range(1 if c else self.truncation + 1)
        ]
        keys += [("reciprocal slope", f) for f in self.slopes] + [("reciprocal value", f) for f in self.divisors]
        keys += [("unknown", (c, i)) for c in self.unknown for i in self.unknown_indices]
        if self.observable:
            keys += [("observable", i) for i in multi_indices(len(self.blocks), self.truncation)]
        return keys

    @property
    def scalars(self) -> JetRing:
        """The ring of coefficients: itself, for here a block is one number."""
        return self

    @property
    def zero(self) -> Series:
        """The series 0."""
        return self.constant(0)

    def __getitem__(self, key: Key) -> PackedElement:
        return self.generators[self.position[key]]

    def series(self, *coefficients: PackedElement) -> Series:
        """Return the series with these coefficients in g."""
        return Series.of([self.ring(c) for c in coefficients], self.truncation)

    def constant(self, value: Any) -> Series:
        """Return a rational number or an element as a series."""
        return self.series(self.ring(value))

    @property
    def h(self) -> Series:
        """The step size as a series: g**grade."""
        return self.constant(1).shift(self.grade)

    def symbols(self, name: Callable[[str, Any], sympy.Expr]) -> list[sympy.Expr]:
        """Return one sympy expression per generator, in ring order, for ``element.as_expr(*symbols)``."""
        return [name(kind, label) for kind, label in self.keys]

    def initial_state(self) -> dict[str, Series]:
        """Return the state z by block."""
        return {b: self.series(self["state", b]) for b in self.blocks}

    def reduce(self, element: PackedElement) -> PackedElement:
        """Return the normal form under quantity * reciprocal = 1; an element is zero iff its normal form is."""
        out: dict[tuple[int, ...], object] = {}
        for exponents, coefficient in element.terms():
            e = list(exponents)
            for p, q in self._reciprocals:
                common = min(e[p], e[q])
                e[p] -= common
                e[q] -= common
            key = tuple(e)
            out[key] = out.get(key, 0) + coefficient
        return self.ring.from_dict({k: c for k, c in out.items() if c})

    def normal(self, series: Series) -> Series:
        """Return the series with every coefficient in its normal form."""
        return Series(tuple(self.reduce(c) for c in series.coefficients))

    def expand(self, expression: sympy.Expr, at: Times | None = None) -> Series:
        """Return the series of an expression in times, parameters and functions that have a rule.

        ``at`` gives symbols their series: a time its offset from ``time``, any other its value. By default the start
        is at offset 0 and the end at -h. Raises NotImplementedError for anything else.
        """
        e = sympy.sympify(expression)
        # The cases in order: numbers, symbols that ``at`` gives, what is zero, arithmetic, calls by their rule.
        at = {self.time: self.constant(0), self.end: -self.h} if at is None else at
        if e.is_Rational:
            return self.constant(QQ(int(e.p), int(e.q)))
        if e == self.step:
            return at[self.time] - at[self.end]
        if e in at:
            return at[e] + self.series(self["time", "t"]) if e in self.clocks else at[e]
        called = _name_of_call(e)
        if (e.name if e.is_Symbol else called) in self.zeros:
            return self.constant(0)
        if ("parameter", e) in self.position:
            return self.series(self["parameter", e])
        if e.is_Add:
            return sum((self.expand(a, at) for a in e.args), self.constant(0))
        if e.is_Mul:
            return math.prod((self.expand(a, at) for a in e.args), start=self.constant(1))
        if e.is_Pow:
            return self._expand_power(e, at)
        if isinstance(e, sympy.exp):
            return self.expand(e.args[0], at).compose_exp()
        if isinstance(e, expm1):
            return self.expand(e.args[0], at).compose_exp() - self.constant(1)
        if isinstance(e, phi):
            return self.expand(e.args[1], at).compose_exp(int(e.args[0]))
        if called in self.rules:
            return self.rules[called](*(self.offset(a, at) for a in e.args))
        raise _no_series(e)

    def _expand_power(self, e: sympy.Pow, at: Times) -> Series:
        """Return the series of an integer power, or of the square root of 1 + O(h)."""
        base, exponent = e.base, e.exp
        if exponent.is_Integer and exponent >= 0:
            return self.expand(base, at) ** int(exponent)
        if exponent.is_Integer:
            # A parameter has its reciprocal among the generators; a sum or a function is inverted as a series.
            if ("parameter", base) in self.position:
                return self.series(self["reciprocal", base]) ** int(-exponent)
            if _name_of_call(base) in self._denominators or base.is_Add:
                return self.reciprocal(self.expand(base, at)) ** int(-exponent)
        if exponent == sympy.Rational(1, 2):
            rest = self.expand(base, at) - self.constant(1)
            if not rest.coefficients[0]:
                return self.normal(_root_of_one_plus(rest))
        raise _no_series(e)

    def offset(self, time: sympy.Expr, at: Times | None = None) -> Series:
        """Return ``time`` minus the start time, as a series in h: 0 for t, -h for s, -h/2 for (t + s)/2."""
        return self.expand(time, at) - self.series(self["time", "t"])

    def function_at(self, name: str, offset: Series, derivative: int = 0) -> Series:
        """Return f(t + offset), or a derivative of f there, as a Taylor series in the jets of f at t."""
        out, power = self.constant(0), self.constant(1)
        # A constant function has one jet, its value.
        for i in range(derivative, 1 if self.functions[name] else self.truncation + 1):
            out = out + power.scale(self["function", (name, i)] * QQ(1, math.factorial(i - derivative)))
            power = power * offset
        return out

    def unknown_at(self, state: Mapping[str, Series], offset: Series, through: int | None = None) -> dict[str, Series]:
        """Return the field's components at (state, t + offset), expanded about (z, t), through h**through or more."""
        deltas = [state[b] - self.series(self["state", b]) for b in self.blocks] + [offset]
        # Taylor's series in all variables at once, a product of powers for each multi-index. A displacement begins with
        # h, so that most products are truncated to nothing.
        known = [powers(d) for d in deltas]
        out = {component: self.constant(0) for component in self.unknown}
        for index in self.unknown_indices:
            product = self.constant(1)
            for p, i in zip(known, index, strict=True):
                product = product * p[i]
            if any(product.coefficients):
                weight = QQ(1, math.prod(math.factorial(i) for i in index))
                for component in self.unknown:
                    out[component] = out[component] + product.scale(self["unknown", (component, index)] * weight)
        return out

    def reciprocal(self, series: Series) -> Series:
        """Return 1 / series, for a leading coefficient that is a number times powers of invertible generators."""
        lead = self.reduce(series.coefficients[0])
        terms = lead.terms()
        if len(terms) != 1:
            raise NotImplementedError(f"no reciprocal of a series that begins with {lead}")
        ((exponents, coefficient),) = terms
        # The leading monomial is inverted generator by generator: each has a partner that it cancels with.
        partner = dict(self._reciprocals) | {q: p for p, q in self._reciprocals}
        inverse = [0] * len(exponents)
        for n, e in enumerate(exponents):
            if e:
                inverse[partner[n]] = e
        first = self.ring.from_dict({tuple(inverse): 1 / coefficient})
        # 1 / (lead (1 - rest)) = (1 + rest + rest**2 + ...) / lead, and rest has no constant term.
        rest = Series((self.ring(0), *series.coefficients[1:])).scale(-first)
        out = term = self.constant(1)
        for _ in range(self.truncation):
            term = self.normal(term * rest)
            out = out + term
        return self.normal(out.scale(first))

    def along(self, series: Series, offset: Series) -> Series:
        """Return f(t + offset) from the series in h of f(t - h): -offset is put in the place of h."""
        if offset not in self._elapsed:
            self._elapsed[offset] = powers(-offset)
        # Powers of g that are no powers of h do not occur: a function of t - h has no noise in it.
        out = self.constant(0)
        for power, n in zip(self._elapsed[offset], range(0, self.truncation + 1, self.grade), strict=False):
            if series.coefficients[n]:
                out = out + power.scale(series.coefficients[n])
        return out

    def integrate(self, series: Series) -> Series:
        """Return int_0^h of a series in h."""
        out = [self.ring(0)] * (self.truncation + 1)
        for n in range(0, self.truncation + 1 - self.grade, self.grade):
            out[n + self.grade] = series.coefficients[n] * QQ(1, n // self.grade + 1)
        return Series(tuple(out))


def _root_of_one_plus(rest: Series) -> Series:
    """Return sqrt(1 + rest) by the binomial series, for a series without constant term."""
    out = power = rest**0
    one = power.coefficients[0]
    for k in range(1, rest.truncation + 1):
        power = power * rest
        binomial = sympy.binomial(sympy.Rational(1, 2), k)
        out = out + power.scale(one * QQ(int(binomial.p), int(binomial.q)))
    return out


def _name_of_call(expression: sympy.Expr) -> str:
    """Return the name of the undefined function that an expression is a call of, or "" for any other."""
    return expression.func.__name__ if isinstance(expression, AppliedUndef) else ""


def _no_series(expression: sympy.Expr) -> NotImplementedError:
    return NotImplementedError(f"no series in h for {expression}")
