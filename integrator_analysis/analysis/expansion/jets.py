"""Jets: the derivatives at one point (z, t) of unknown smooth functions, as generators of a polynomial ring.

Knows how to expand an expression in times near t, an evaluation of an unknown function at a nearby point, a linear
matrix ODE and its weights, as series in h; and how to differentiate in the ring. Knows nothing of schemes.

The step size enters through g with h = g**grade: grade 1 for deterministic expansions, 2 where noise of size sqrt(h)
occurs. An unknown field's jets are numbers: each block is taken to be one-dimensional. algebra.trees is for the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import QQ
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.ring import PackedElement, PackedRing
from integrator_analysis.algebra.series import Series
from integrator_analysis.algebra.special import expm1, phi

__all__ = ["JetRing", "multi_indices"]

Index = tuple[int, ...]

Key = tuple[str, Any]

Times = Mapping[sympy.Symbol, Series]


def multi_indices(variables: int, order: int) -> list[Index]:
    """All multi-indices in ``variables`` variables of total order <= ``order``, lowest order first.

    >>> multi_indices(2, 1)
    [(0, 0), (0, 1), (1, 0)]
    """
    box = itertools.product(range(order + 1), repeat=variables)
    return sorted((i for i in box if sum(i) <= order), key=lambda i: (sum(i), i))


@dataclass
class JetRing:
    """The ring of jets of state components, parameters, functions of time and one unknown vector field.

    ``unknown`` names the components of a smooth vector field on (z, t), e.g. ("s_x", "s_m"); it is linear in z if
    ``linear``, so that it has no second jets there. ``observable`` is a smooth scalar field on z, absent if empty;
    ``noises`` are standard normal variables, each carrying a factor g.
    ``functions`` maps the name of each function of time to whether it is constant (no jets but its value);
    ``slopes`` names those whose first derivative may be divided by (variables that times are measured in),
    ``divisors`` those whose value may be. ``integrals`` maps functions of two times (a, b) to what they are the
    integral of, from b to a.
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
    flows: tuple[LinearFlow, ...] = ()
    zeros: frozenset[str] = frozenset()
    slopes: tuple[str, ...] = ()
    divisors: tuple[str, ...] = ()
    integrals: Mapping[str, str] = field(default_factory=dict)
    clocks: frozenset[sympy.Symbol] = frozenset()

    def __post_init__(self) -> None:
        self.clocks |= {self.time, self.end}
        self.grade = 2 if self.noises else 1
        self.truncation = self.order * self.grade
        keys: list[Key] = [("time", "t"), ("share", "y")]
        keys += [*(("state", b) for b in self.blocks), *(("noise", n) for n in self.noises)]
        keys += [("parameter", p) for p in self.parameters] + [("reciprocal", p) for p in self.parameters]
        keys += [
            ("function", (f, i)) for f, c in self.functions.items() for i in range(1 if c else self.truncation + 1)
        ]
        keys += [("reciprocal slope", f) for f in self.slopes] + [("reciprocal value", f) for f in self.divisors]
        keys += [("unknown", (c, i)) for c in self.unknown for i in self._unknown_indices()]
        if self.observable:
            keys += [("observable", i) for i in multi_indices(len(self.blocks), self.truncation)]
        self.keys = keys
        self.position = {key: n for n, key in enumerate(keys)}
        self.ring = PackedRing([f"g{n}" for n in range(len(keys))])
        self.generators = self.ring.gens
        self._reciprocals = [(self.position["parameter", p], self.position["reciprocal", p]) for p in self.parameters]
        self._reciprocals += [
            (self.position["function", (f, 1)], self.position["reciprocal slope", f]) for f in self.slopes
        ]
        self._reciprocals += [
            (self.position["function", (f, 0)], self.position["reciprocal value", f]) for f in self.divisors
        ]
        self._flow_entries: dict[sympy.Function, tuple[LinearFlow, int | None, int, int]] = {}
        for flow in self.flows:
            for k, matrix in [(None, flow.entries), *enumerate(flow.moments)]:
                self._flow_entries |= {e.func: (flow, k, i, j) for (i, j), e in _indexed(matrix)}
        self._spreads = {e.func: (flow, n) for flow in self.flows for n, e in enumerate(flow.spread or ())}
        self._memory: dict[Any, Any] = {}

    def _unknown_indices(self) -> list[Index]:
        indices = multi_indices(len(self.blocks) + 1, self.truncation)
        return [i for i in indices if not self.linear or sum(i[:-1]) <= 1]

    # -- elements ----------------------------------------------------------------------------------------------
    @property
    def scalars(self) -> JetRing:
        """The ring of coefficients: itself."""
        return self

    @property
    def zero(self) -> Series:
        return self.constant(0)

    def __getitem__(self, key: Key) -> PackedElement:
        return self.generators[self.position[key]]

    def series(self, *coefficients: PackedElement) -> Series:
        """The series with these coefficients in g."""
        return Series.of([self.ring(c) for c in coefficients], self.truncation)

    def constant(self, value: Any) -> Series:
        return self.series(self.ring(value))

    @property
    def h(self) -> Series:
        return self.constant(1).shift(self.grade)

    def symbols(self, name: Callable[[str, Any], sympy.Expr]) -> list[sympy.Expr]:
        """One sympy expression per generator, in ring order, for ``element.as_expr(*symbols)``."""
        return [name(kind, label) for kind, label in self.keys]

    def initial_state(self) -> dict[str, Series]:
        return {b: self.series(self["state", b]) for b in self.blocks}

    def reduce(self, element: PackedElement) -> PackedElement:
        """The normal form under parameter * reciprocal = 1; an element is zero iff its normal form is."""
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

    # -- expansion ---------------------------------------------------------------------------------------------
    def expand(self, expression: sympy.Expr, at: Times | None = None) -> Series:
        """The series of an expression in times, parameters, functions of time and flow entries.

        ``at`` gives symbols their series: a time its offset from ``time``, any other its value. By default the start
        is at offset 0 and the end at -h. Raises NotImplementedError for anything else.
        """
        e = sympy.sympify(expression)
        at = self.step_times() if at is None else at
        if e.is_Rational:
            return self.constant(QQ(int(e.p), int(e.q)))
        if e == self.step:
            return at[self.time] - at[self.end]
        if e in at:
            return at[e] + self.series(self["time", "t"]) if e in self.clocks else at[e]
        if str(e.func if isinstance(e, AppliedUndef) else e) in self.zeros:
            return self.constant(0)
        if ("parameter", e) in self.position:
            return self.series(self["parameter", e])
        if e.is_Add:
            return sum((self.expand(a, at) for a in e.args), self.constant(0))
        if e.is_Mul:
            return math.prod((self.expand(a, at) for a in e.args), start=self.constant(1))
        if e.is_Pow and e.exp.is_Integer:
            if e.exp >= 0:
                return self.expand(e.base, at) ** int(e.exp)
            if ("parameter", e.base) in self.position:
                return self.series(self["reciprocal", e.base]) ** int(-e.exp)
            if self._slope(e.base) or str(e.base.func) in self.divisors or e.base.is_Add:
                return self.reciprocal(self.expand(e.base, at)) ** int(-e.exp)
        if e.is_Pow and e.exp == sympy.Rational(1, 2):
            return self.root(self.expand(e.base, at), e)
        if isinstance(e, sympy.exp):
            return self.expand(e.args[0], at).compose_exp()
        if isinstance(e, expm1):
            return self.expand(e.args[0], at).compose_exp() - self.constant(1)
        if isinstance(e, phi):
            return self.expand(e.args[1], at).compose_exp(int(e.args[0]))
        if isinstance(e, AppliedUndef) and str(e.func) in self.integrals:
            return self.integral(self.integrals[str(e.func)], *(self.offset(a, at) for a in e.args))
        if isinstance(e, AppliedUndef) and e.func in self._spreads:
            flow, n = self._spreads[e.func]
            return self.spread(flow, *(self.offset(a, at) for a in e.args))[n]
        if isinstance(e, AppliedUndef) and e.func in self._flow_entries:
            flow, k, i, j = self._flow_entries[e.func]
            begin, stop = (self.offset(a, at) for a in e.args)
            matrix = self.propagator(flow, begin, stop) if k is None else self.moment(flow, k, begin, stop)
            return matrix[i][j]
        if isinstance(e, AppliedUndef) and str(e.func) in self.functions:
            return self.function_at(str(e.func), self.offset(e.args[0], at))
        if isinstance(e, AppliedUndef) and str(e.func) == "advance":
            variable = self.flows[0].variable
            first, last = (self.offset(a, at) for a in e.args)
            return self.difference(variable, first, last)
        if name := self._slope(e):
            return self.function_at(name, self.offset(e.args[0], at), derivative=1)
        raise NotImplementedError(f"no series in h for {e}")

    def _slope(self, e: sympy.Expr) -> str:
        """The function whose derivative e is, by the name slope_f(time); empty if e is not of that form."""
        name = str(e.func).removeprefix("slope_") if isinstance(e, AppliedUndef) else ""
        return name if name in self.slopes and name != str(e.func) else ""

    def step_times(self) -> dict[sympy.Symbol, Series]:
        """The offsets of a step's start and end."""
        return {self.time: self.constant(0), self.end: -self.h}

    def moved(self, offset: Series) -> dict[sympy.Symbol, Series]:
        """Times for an expression in ``time`` alone that is wanted at time + offset."""
        return {self.time: offset}

    def offset(self, time: sympy.Expr, at: Times | None = None) -> Series:
        """``time`` minus the start time, as a series in h: 0 for t, -h for s, -h/2 for (t + s)/2."""
        return self.expand(time, at) - self.series(self["time", "t"])

    def function_at(self, name: str, offset: Series, derivative: int = 0) -> Series:
        """f(t + offset), or a derivative of f there, as a Taylor series in the jets of f at t."""
        out, power = self.constant(0), self.constant(1)
        for i in range(derivative, 1 if self.functions[name] else self.truncation + 1):
            out = out + power.scale(self["function", (name, i)] * QQ(1, math.factorial(i - derivative)))
            power = power * offset
        return out

    def integral(self, name: str, start: Series, end: Series) -> Series:
        """int f from t + end to t + start, as a Taylor series in the jets of f at t."""
        out, upper, lower = self.constant(0), start, end
        for i in range(1 if self.functions[name] else self.truncation):
            out = out + (upper - lower).scale(self["function", (name, i)] * QQ(1, math.factorial(i + 1)))
            upper, lower = upper * start, lower * end
        return out

    def reciprocal(self, series: Series) -> Series:
        """1 / series, for a leading coefficient that is a rational number times powers of invertible generators."""
        lead = self.reduce(series.coefficients[0])
        terms = lead.terms()
        if len(terms) != 1:
            raise NotImplementedError(f"no reciprocal of a series that begins with {lead}")
        ((exponents, coefficient),) = terms
        partner = dict(self._reciprocals) | {q: p for p, q in self._reciprocals}
        inverse = [0] * len(exponents)
        for n, e in enumerate(exponents):
            if e:
                inverse[partner[n]] = e
        first = self.ring.from_dict({tuple(inverse): 1 / coefficient})
        rest = Series((self.ring(0), *series.coefficients[1:])).scale(-first)
        out = term = self.constant(1)
        for _ in range(self.truncation):
            term = self.normal(term * rest)
            out = out + term
        return self.normal(out.scale(first))

    def root(self, series: Series, expression: sympy.Expr) -> Series:
        """The square root of 1 + O(h), by the binomial series."""
        rest = series - self.constant(1)
        if rest.coefficients[0]:
            raise NotImplementedError(f"no series in h for {expression}")
        out, power = self.constant(1), self.constant(1)
        for k in range(1, self.truncation + 1):
            power = power * rest
            binomial = sympy.binomial(sympy.Rational(1, 2), k)
            out = out + power.scale(self.ring(QQ(int(binomial.p), int(binomial.q))))
        return self.normal(out)

    def quotient(self, numerator: Series, denominator: Series) -> Series:
        """A quotient of two series that both vanish at h = 0, the denominator to first order: one power is lost."""
        parts = [part.divide(self.grade).truncate(self.truncation) for part in (numerator, denominator)]
        return self.normal(parts[0] * self.reciprocal(parts[1]))

    def normal(self, series: Series) -> Series:
        """Every coefficient in its normal form."""
        return Series(tuple(self.reduce(c) for c in series.coefficients))

    def unknown_at(self, state: Mapping[str, Series], offset: Series, through: int | None = None) -> dict[str, Series]:
        """The unknown field's components at (state, t + offset), expanded about (z, t), through h**through or more."""
        deltas = [state[b] - self.series(self["state", b]) for b in self.blocks] + [offset]
        powers = [self._powers(d) for d in deltas]
        out = {component: self.constant(0) for component in self.unknown}
        for index in self._unknown_indices():
            product = self.constant(1)
            for p, i in zip(powers, index, strict=True):
                product = product * p[i]
            if any(product.coefficients):
                weight = QQ(1, math.prod(math.factorial(i) for i in index))
                for component in self.unknown:
                    out[component] = out[component] + product.scale(self["unknown", (component, index)] * weight)
        return out

    def observable_at(self, state: Mapping[str, Series]) -> Series:
        """The observable at ``state``, expanded about z."""
        powers = [self._powers(state[b] - self.series(self["state", b])) for b in self.blocks]
        out = self.constant(0)
        for index in multi_indices(len(self.blocks), self.truncation):
            product = self.constant(QQ(1, math.prod(math.factorial(i) for i in index)))
            for p, i in zip(powers, index, strict=True):
                product = product * p[i]
            out = out + product.scale(self["observable", index])
        return out

    def _powers(self, delta: Series) -> list[Series]:
        out = [self.constant(1)]
        for _ in range(self.truncation):
            out.append(out[-1] * delta)
        return out

    # -- linear flows, their weights, and polynomials through nodes ---------------------------------------------
    def flow(self, flow: LinearFlow) -> list[list[Series]]:
        """E(t - h, t) as series in h, by Picard iteration of its differential equation."""
        if flow not in self._memory:
            size = flow.generator.rows
            identity = [[self.constant(int(i == j)) for j in range(size)] for i in range(size)]
            generator = self._matrix(flow.generator, -self.h)
            x = identity
            for _ in range(self.order):
                slope = _multiply(generator, x)
                x = [
                    [a + self.integrate(b) for a, b in zip(p, q, strict=True)]
                    for p, q in zip(identity, slope, strict=True)
                ]
            self._memory[flow] = x
        return self._memory[flow]

    def propagator(self, flow: LinearFlow, start: Series, end: Series) -> list[list[Series]]:
        """E between two times near t, given by their offsets."""
        key = (flow, start, end)
        if key not in self._memory:
            forth, back = ([[self.along(e, offset) for e in row] for row in self.flow(flow)] for offset in (end, start))
            self._memory[key] = _multiply(forth, self._inverse(back)) if any(start.coefficients) else forth
        return self._memory[key]

    def moment(self, flow: LinearFlow, k: int, start: Series, end: Series) -> list[list[Series]]:
        """The weights psi_k between two times: an integral over the share y of the way, exact in the ring."""
        key = (flow, k, start, end)
        if key not in self._memory:
            length = start - end
            between = start - length.scale(self["share", "y"])
            integrand = _multiply(
                self.propagator(flow, between, end),
                self._matrix(flow.source, between),
            )
            factor = -length
            if k:
                factor = factor * self.position_of(flow.variable, between, start, end) ** k
            self._memory[key] = [[self._integrate_share(e * factor) for e in row] for row in integrand]
        return self._memory[key]

    def spread(self, flow: LinearFlow, start: Series, end: Series) -> tuple[Series, Series, Series]:
        """What ``flow.spread`` stands for between two times, given by their offsets."""
        key = (flow, "spread", start, end)
        if key not in self._memory:
            length = start - end
            between = start - length.scale(self["share", "y"])
            e = self.propagator(flow, between, end)
            product = _multiply(
                _multiply(e, self._matrix(flow.diffusion, between)), [list(c) for c in zip(*e, strict=True)]
            )
            (xx, xm), (_, mm) = [[self._integrate_share(entry * length) for entry in row] for row in product]
            slope = self.quotient(xm, mm)
            self._memory[key] = (self.normal(xx - xm * slope), slope, mm)
        return self._memory[key]

    def position_of(self, variable: sympy.Expr | None, between: Series, start: Series, end: Series) -> Series:
        """The share of the way from start to end, measured in ``variable``, at which ``between`` lies."""
        return self.quotient(self.difference(variable, start, between), self.difference(variable, start, end))

    def difference(self, variable: sympy.Expr | None, start: Series, end: Series) -> Series:
        """The variable at end minus that at start."""
        if variable is None:
            return end - start
        return self.expand(variable, self.moved(end)) - self.expand(variable, self.moved(start))

    def node(self, variable: sympy.Expr | None, share: sympy.Rational, start: Series, end: Series) -> Series:
        """The offset of the time that lies at ``share`` of the way from start to end, measured in ``variable``."""
        part = self.constant(QQ(int(share.p), int(share.q)))
        guess = start + (end - start) * part
        if variable is None:
            return guess
        first, last = (self.expand(variable, self.moved(v)) for v in (start, end))
        target = first + (last - first) * part
        slope = self.reciprocal(self.function_at(str(variable.func), start, derivative=1))
        for _ in range(self.order):
            guess = self.normal(guess - (self.expand(variable, self.moved(guess)) - target) * slope)
        return guess

    def shares(self, positions: Sequence[Series]) -> list[list[Series]]:
        """Row j: the coefficients of 1, x, x**2, ... of the Lagrange polynomial of position j."""
        rows = []
        for j, own in enumerate(positions):
            row = [self.constant(1)]
            for m, other in enumerate(positions):
                if m != j:
                    scale = self.reciprocal(own - other)
                    shifted, lowered = [self.constant(0), *row], [*row, self.constant(0)]
                    row = [(a - b * other) * scale for a, b in zip(shifted, lowered, strict=True)]
            rows.append(row)
        return rows

    def along(self, series: Series, offset: Series) -> Series:
        """A series in h that stands for f(t - h), taken at t + offset instead."""
        key = ("elapsed", offset)
        if key not in self._memory:
            self._memory[key] = self._powers(-offset)
        out = self.constant(0)
        for power, n in zip(self._memory[key], range(0, self.truncation + 1, self.grade), strict=False):
            if series.coefficients[n]:
                out = out + power.scale(series.coefficients[n])
        return out

    def _inverse(self, matrix: list[list[Series]]) -> list[list[Series]]:
        """The inverse of identity + O(h), by its Neumann series."""
        size = len(matrix)
        identity = [[self.constant(int(i == j)) for j in range(size)] for i in range(size)]
        rest = [[b - a for a, b in zip(p, q, strict=True)] for p, q in zip(matrix, identity, strict=True)]
        out = identity
        for _ in range(self.order):
            out = [
                [a + b for a, b in zip(p, q, strict=True)] for p, q in zip(identity, _multiply(rest, out), strict=True)
            ]
        return out

    def _integrate_share(self, series: Series) -> Series:
        """int_0^1 dy of a series whose coefficients are polynomials in the share y."""
        n = self.position["share", "y"]
        out = []
        for element in series.coefficients:
            total: dict[tuple[int, ...], Any] = {}
            for exponents, coefficient in element.terms():
                key = (*exponents[:n], 0, *exponents[n + 1 :])
                total[key] = total.get(key, 0) + coefficient / (exponents[n] + 1)
            out.append(self.reduce(self.ring.from_dict({k: c for k, c in total.items() if c})))
        return Series(tuple(out))

    def _matrix(self, matrix: sympy.Matrix, offset: Series | None = None) -> list[list[Series]]:
        at = None if offset is None else self.moved(offset)
        return [[self.expand(e, at) for e in row] for row in matrix.tolist()]

    def integrate(self, series: Series) -> Series:
        """int_0^h of a series in h."""
        out = [self.ring(0)] * (self.truncation + 1)
        for n in range(0, self.truncation + 1 - self.grade, self.grade):
            out[n + self.grade] = series.coefficients[n] * QQ(1, n // self.grade + 1)
        return Series(tuple(out))

    # -- calculus in the ring ----------------------------------------------------------------------------------
    def derivative(self, element: PackedElement, block: str | None) -> PackedElement:
        """The partial derivative by a block of the state, or by t for block None, of a polynomial in jets."""
        variable = len(self.blocks) if block is None else self.blocks.index(block)
        out = self.ring(0)
        for n in _used(element):
            shifted = self._shift(self.keys[n], variable)
            if shifted is not None:
                out += element.diff(self.generators[n]) * shifted
        return out

    def _shift(self, key: Key, variable: int) -> PackedElement | None:
        kind, name = key
        of_time = variable == len(self.blocks)
        if kind == "time":
            return self.ring(1) if of_time else None
        if kind == "state":
            return self.ring(1) if not of_time and self.blocks[variable] == name else None
        if kind == "function":
            f, i = name
            return self["function", (f, i + 1)] if of_time and not self.functions[f] else None
        if kind == "unknown":
            component, index = name
            raised = _raise_index(index, variable)
            return None if self.linear and sum(raised[:-1]) > 1 else self["unknown", (component, raised)]
        if kind == "observable":
            return None if of_time else self["observable", _raise_index(name, variable)]
        return None

    def expectation(self, series: Series, variances: Mapping[str, Series]) -> Series:
        """E over the noises: odd powers vanish, n**(2k) becomes (2k - 1)!! variances[n]**k."""
        out = self.constant(0)
        powers = {n: self._powers(variances[n].truncate(self.truncation)) for n in self.noises}
        positions = {n: self.position["noise", n] for n in self.noises}
        for degree, element in enumerate(series.coefficients):
            for exponents, coefficient in element.terms():
                if any(exponents[p] % 2 for p in positions.values()):
                    continue
                rest, term = list(exponents), self.constant(1)
                for n, p in positions.items():
                    half = exponents[p] // 2
                    rest[p] = 0
                    moment = math.prod(range(1, 2 * half, 2))
                    term = term * powers[n][half].scale(self.ring(moment))
                out = out + term.scale(self.ring.from_dict({tuple(rest): coefficient})).shift(degree)
        return out


def _multiply(a: list[list[Series]], b: list[list[Series]]) -> list[list[Series]]:
    columns = list(zip(*b, strict=True))
    return [[_sum([x * y for x, y in zip(row, column, strict=True)]) for column in columns] for row in a]


def _sum(terms: Sequence[Series]) -> Series:
    out = terms[0]
    for term in terms[1:]:
        out = out + term
    return out


def _indexed(matrix: sympy.Matrix) -> Iterator[tuple[tuple[int, int], sympy.Expr]]:
    return (((i, j), matrix[i, j]) for i in range(matrix.rows) for j in range(matrix.cols))


def _used(element: PackedElement) -> Iterable[int]:
    seen: set[int] = set()
    for exponents in element.monoms():
        seen.update(n for n, e in enumerate(exponents) if e)
    return sorted(seen)


def _raise_index(index: Sequence[int], variable: int) -> Index:
    return tuple(i + (n == variable) for n, i in enumerate(index))
