"""Jets: the derivatives at one point (z, t) of unknown smooth functions, as generators of a polynomial ring.

Knows how to expand an expression in t and s = t - h, an evaluation of an unknown function at a nearby point, and a
linear matrix ODE, as series in h; and how to differentiate in the ring. Knows nothing of schemes.

The step size enters through g with h = g**grade: grade 1 for deterministic expansions, 2 where noise of size sqrt(h)
occurs. Each block is taken to be one-dimensional: scalar jets decide order conditions up to order four.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import QQ
from sympy.core.function import AppliedUndef
from sympy.polys.rings import PolyElement, ring

from integrator_analysis.algebra.series import Series
from integrator_analysis.algebra.special import expm1

__all__ = ["JetRing", "LinearFlow", "multi_indices"]

Index = tuple[int, ...]
Key = tuple[str, Any]


def multi_indices(variables: int, order: int) -> list[Index]:
    """All multi-indices in ``variables`` variables of total order <= ``order``, lowest order first.

    >>> multi_indices(2, 1)
    [(0, 0), (0, 1), (1, 0)]
    """
    box = itertools.product(range(order + 1), repeat=variables)
    return sorted((i for i in box if sum(i) <= order), key=lambda i: (sum(i), i))


@dataclass(frozen=True)
class LinearFlow:
    """The matrix X(t, s) with d/dh X(t, t - h) = generator(t - h) X - source(t - h) and X(t, t) = ``initial``.

    With ``initial`` the identity and no source it is the propagator E, with zero and eta it is the weight psi_0.
    ``entries`` are the functions that name its entries, so that a coefficient can mention ``entries[i, j](t, s)``.
    """

    entries: sympy.ImmutableMatrix
    generator: sympy.ImmutableMatrix
    initial: sympy.ImmutableMatrix
    source: sympy.ImmutableMatrix | None = None

    @classmethod
    def named(
        cls,
        name: str,
        blocks: Sequence[str],
        generator: sympy.Matrix,
        initial: sympy.Matrix,
        source: sympy.Matrix | None,
        t: sympy.Symbol,
        s: sympy.Symbol,
    ) -> LinearFlow:
        """The flow whose entry (i, j) is called name_ij(t, s)."""
        entries = sympy.ImmutableMatrix(
            initial.rows, initial.cols, lambda i, j: sympy.Function(f"{name}_{blocks[i]}{blocks[j]}")(t, s)
        )
        frozen = None if source is None else source.as_immutable()
        return cls(entries, generator.as_immutable(), initial.as_immutable(), frozen)


@dataclass
class JetRing:
    """The ring of jets of state components, parameters, functions of time and one unknown vector field.

    ``unknown`` names the components of a smooth vector field on (z, t), e.g. ("s_x", "s_m"); ``observable`` a smooth
    scalar field on z, absent if empty; ``noises`` are standard normal variables, each carrying a factor g.
    ``functions`` maps the name of each function of time to whether it is constant (no jets but its value).
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
    observable: str = ""
    noises: tuple[str, ...] = ()
    flows: tuple[LinearFlow, ...] = ()
    zeros: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.grade = 2 if self.noises else 1
        self.truncation = self.order * self.grade
        keys: list[Key] = [("time", "t"), *(("state", b) for b in self.blocks), *(("noise", n) for n in self.noises)]
        keys += [("parameter", p) for p in self.parameters] + [("reciprocal", p) for p in self.parameters]
        keys += [
            ("function", (f, i)) for f, c in self.functions.items() for i in range(1 if c else self.truncation + 1)
        ]
        in_state_and_time = multi_indices(len(self.blocks) + 1, self.truncation)
        keys += [("unknown", (c, i)) for c in self.unknown for i in in_state_and_time]
        if self.observable:
            keys += [("observable", i) for i in multi_indices(len(self.blocks), self.truncation)]
        self.keys = keys
        self.position = {key: n for n, key in enumerate(keys)}
        self.ring, *self.generators = ring([f"g{n}" for n in range(len(keys))], QQ)
        self._reciprocals = [(self.position["parameter", p], self.position["reciprocal", p]) for p in self.parameters]
        self._flow_entries = {e.func: (flow, i, j) for flow in self.flows for (i, j), e in _indexed(flow.entries)}
        self._flow_series: dict[LinearFlow, list[list[Series]]] = {}

    # -- elements ----------------------------------------------------------------------------------------------
    def __getitem__(self, key: Key) -> PolyElement:
        return self.generators[self.position[key]]

    def series(self, *coefficients: PolyElement) -> Series:
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

    def reduce(self, element: PolyElement) -> PolyElement:
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
    def expand(self, expression: sympy.Expr, offset: Series | None = None) -> Series:
        """The series of an expression in time, end = time - h, parameters, functions of time and flow entries.

        ``offset`` moves the point at which ``time`` is taken. Raises NotImplementedError for anything else.
        """
        e = sympy.sympify(expression)
        if e.is_Rational:
            return self.constant(QQ(int(e.p), int(e.q)))
        if e == self.time:
            start = self.series(self["time", "t"])
            return start if offset is None else start + offset
        if e == self.end:
            return self.series(self["time", "t"]) - self.h
        if e == self.step:
            return self.h
        if str(e.func if isinstance(e, AppliedUndef) else e) in self.zeros:
            return self.constant(0)
        if ("parameter", e) in self.position:
            return self.series(self["parameter", e])
        if e.is_Add:
            return sum((self.expand(a, offset) for a in e.args), self.constant(0))
        if e.is_Mul:
            return math.prod((self.expand(a, offset) for a in e.args), start=self.constant(1))
        if e.is_Pow and e.exp.is_Integer:
            if e.exp >= 0:
                return self.expand(e.base, offset) ** int(e.exp)
            if ("parameter", e.base) in self.position:
                return self.series(self["reciprocal", e.base]) ** int(-e.exp)
        if isinstance(e, sympy.exp):
            return self.expand(e.args[0], offset).compose_exp()
        if isinstance(e, expm1):
            return self.expand(e.args[0], offset).compose_exp() - self.constant(1)
        if isinstance(e, AppliedUndef) and e.func in self._flow_entries:
            flow, i, j = self._flow_entries[e.func]
            return self.flow(flow)[i][j]
        if isinstance(e, AppliedUndef) and str(e.func) in self.functions:
            return self.function_at(str(e.func), self.expand(e.args[0], offset) - self.series(self["time", "t"]))
        raise NotImplementedError(f"no series in h for {e}")

    def offset(self, time: sympy.Expr) -> Series:
        """``time`` minus the start time, as a series in h: 0 for t, -h for s, -h/2 for (t + s)/2."""
        return self.expand(time) - self.series(self["time", "t"])

    def function_at(self, name: str, offset: Series) -> Series:
        """f(t + offset) as a Taylor series in the jets of f at t."""
        out, power = self.constant(0), self.constant(1)
        for i in range(1 if self.functions[name] else self.truncation + 1):
            out = out + power.scale(self["function", (name, i)] * QQ(1, math.factorial(i)))
            power = power * offset
        return out

    def unknown_at(self, state: Mapping[str, Series], offset: Series) -> dict[str, Series]:
        """The unknown field's components at (state, t + offset), expanded about (z, t)."""
        deltas = [state[b] - self.series(self["state", b]) for b in self.blocks] + [offset]
        powers = [self._powers(d) for d in deltas]
        out = {component: self.constant(0) for component in self.unknown}
        for index in multi_indices(len(deltas), self.truncation):
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

    def flow(self, flow: LinearFlow) -> list[list[Series]]:
        """The entries of a LinearFlow as series in h, by Picard iteration of its differential equation."""
        if flow not in self._flow_series:
            initial = self._matrix(flow.initial)
            generator = self._matrix(flow.generator, -self.h)
            source = None if flow.source is None else self._matrix(flow.source, -self.h)
            x = initial
            for _ in range(self.order):
                slope = _multiply(generator, x)
                if source is not None:
                    slope = [[a - b for a, b in zip(p, q, strict=True)] for p, q in zip(slope, source, strict=True)]
                x = [
                    [a + self.integrate(b) for a, b in zip(p, q, strict=True)]
                    for p, q in zip(initial, slope, strict=True)
                ]
            self._flow_series[flow] = x
        return self._flow_series[flow]

    def _matrix(self, matrix: sympy.Matrix, offset: Series | None = None) -> list[list[Series]]:
        return [[self.expand(e, offset) for e in row] for row in matrix.tolist()]

    def integrate(self, series: Series) -> Series:
        """int_0^h of a series in h."""
        out = [self.ring(0)] * (self.truncation + 1)
        for n in range(0, self.truncation + 1 - self.grade, self.grade):
            out[n + self.grade] = series.coefficients[n] * QQ(1, n // self.grade + 1)
        return Series(tuple(out))

    # -- calculus in the ring ----------------------------------------------------------------------------------
    def derivative(self, element: PolyElement, block: str | None) -> PolyElement:
        """The partial derivative by a block of the state, or by t for block None, of a polynomial in jets."""
        variable = len(self.blocks) if block is None else self.blocks.index(block)
        out = self.ring(0)
        for n in _used(element):
            shifted = self._shift(self.keys[n], variable)
            if shifted is not None:
                out += element.diff(self.generators[n]) * shifted
        return out

    def _shift(self, key: Key, variable: int) -> PolyElement | None:
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
            return self["unknown", (component, _raise_index(index, variable))]
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


def _used(element: PolyElement) -> Iterable[int]:
    seen: set[int] = set()
    for exponents in element.monoms():
        seen.update(n for n, e in enumerate(exponents) if e)
    return sorted(seen)


def _raise_index(index: Sequence[int], variable: int) -> Index:
    return tuple(i + (n == variable) for n, i in enumerate(index))
