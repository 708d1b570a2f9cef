"""Functions of two times expanded in powers of h: entries of linear flows, integrals, advance; nodes between two times.

Knows the ring of jets (jets.py) and linear flows (algebra.linear_flow). It adds to the ring's table one rule for every
function of two times; a rule takes the offsets of both times from t. Knows nothing of schemes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import sympy
from sympy import QQ
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.expansion.jets import JetRing, Rule

__all__ = ["FlowSeries", "advance_between", "find_node", "integral", "lagrange_rows", "position_between"]

Matrix = list[list[Series]]


class FlowSeries:
    """The propagator, weights and spread of one linear flow as series over ``jets``, each computed once.

    Times are given by their offsets from t.
    """

    def __init__(self, jets: JetRing, flow: LinearFlow) -> None:
        self.jets, self.flow = jets, flow
        size = flow.generator.rows
        self.identity = [[jets.constant(int(i == j)) for j in range(size)] for i in range(size)]
        self._step: Matrix | None = None
        self._memory: dict[Any, Any] = {}

    def rules(self) -> dict[str, Rule]:
        """Return how each named entry of the flow is expanded, for ``JetRing.rules``."""

        def named(matrix: sympy.Matrix, expand: Any) -> dict[str, Rule]:
            calls = {(i, j): matrix[i, j] for i in range(matrix.rows) for j in range(matrix.cols)}
            return {
                call.func.__name__: lambda start, end, i=i, j=j: expand(start, end)[i][j]
                for (i, j), call in calls.items()
                if isinstance(call, AppliedUndef)
            }

        out = named(self.flow.entries, self.propagator)
        for k, matrix in enumerate(self.flow.moments):
            out |= named(matrix, partial(self.moment, k))
        for n, call in enumerate(self.flow.spread or ()):
            out[call.func.__name__] = lambda start, end, n=n: self.spread(start, end)[n]
        return out

    def propagator(self, start: Series, end: Series) -> Matrix:
        """Return E(end, start)."""
        key = ("propagator", start, end)
        if key not in self._memory:
            # E(end, start) = E(end, t) E(start, t)^{-1}, each from the series of a step that leaves t.
            forth, back = (
                [[self.jets.along(e, offset) for e in row] for row in self._leave_t()] for offset in (end, start)
            )
            self._memory[key] = _multiply(forth, self._invert(back)) if any(start.coefficients) else forth
        return self._memory[key]

    def _leave_t(self) -> Matrix:
        """Return E(t - h, t) as series in h, by Picard iteration of its differential equation."""
        if self._step is None:
            # dE(t - h, t)/dh = G(t - h) E: each round of x = 1 + int_0^h G x is right in one power of h more.
            generator = self._expand(self.flow.generator, -self.jets.h)
            x = self.identity
            for _ in range(self.jets.order):
                x = _add(self.identity, [[self.jets.integrate(b) for b in row] for row in _multiply(generator, x)])
            self._step = x
        return self._step

    def moment(self, k: int, start: Series, end: Series) -> Matrix:
        """Return the weights psi_k between two times: an integral over the share y of the way, exact in the ring."""
        key = ("moment", k, start, end)
        if key not in self._memory:
            between, length = self._between(start, end)
            # int_end^start du = length int_0^1 dy, and y is a generator: the integral is one of polynomials.
            integrand = _multiply(self.propagator(between, end), self._expand(self.flow.source, between))
            factor = -length
            if k:
                factor = factor * position_between(self.jets, self.flow.variable, between, start, end) ** k
            self._memory[key] = [[_integrate_share(self.jets, e * factor) for e in row] for row in integrand]
        return self._memory[key]

    def spread(self, start: Series, end: Series) -> tuple[Series, Series, Series]:
        """Return what the three names of ``LinearFlow.spread`` stand for between two times."""
        key = ("spread", start, end)
        if key not in self._memory:
            between, length = self._between(start, end)
            e = self.propagator(between, end)
            transposed = [list(column) for column in zip(*e, strict=True)]
            product = _multiply(_multiply(e, self._expand(self.flow.diffusion, between)), transposed)
            (xx, xm), (_, mm) = [[_integrate_share(self.jets, entry * length) for entry in row] for row in product]
            # Cholesky from the second block on: its variance, the slope of the first on it, what is left of the first.
            slope = _divide(self.jets, xm, mm)
            self._memory[key] = (self.jets.normal(xx - xm * slope), slope, mm)
        return self._memory[key]

    def _between(self, start: Series, end: Series) -> tuple[Series, Series]:
        """Return the time at the share y of the way from start to end, and start - end."""
        length = start - end
        return start - length.scale(self.jets["share", "y"]), length

    def _expand(self, matrix: sympy.Matrix, offset: Series) -> Matrix:
        """Return the entries of a matrix function of time, taken at t + offset."""
        return [[self.jets.expand(e, {self.jets.time: offset}) for e in row] for row in matrix.tolist()]

    def _invert(self, matrix: Matrix) -> Matrix:
        """Return the inverse of identity + O(h), by its Neumann series."""
        rest = [[b - a for a, b in zip(p, q, strict=True)] for p, q in zip(matrix, self.identity, strict=True)]
        out = self.identity
        for _ in range(self.jets.order):
            out = _add(self.identity, _multiply(rest, out))
        return out


def integral(jets: JetRing, name: str, start: Series, end: Series) -> Series:
    """Return int f from t + end to t + start, f the function called ``name``, as a Taylor series in its jets at t."""
    out, at_start, at_end = jets.constant(0), start, end
    for i in range(1 if jets.functions[name] else jets.truncation):
        out = out + (at_start - at_end).scale(jets["function", (name, i)] * QQ(1, math.factorial(i + 1)))
        at_start, at_end = at_start * start, at_end * end
    return out


def advance_between(jets: JetRing, variable: sympy.Expr | None, start: Series, end: Series) -> Series:
    """Return the variable at end minus that at start; None is time itself."""
    if variable is None:
        return end - start
    return jets.expand(variable, {jets.time: end}) - jets.expand(variable, {jets.time: start})


def position_between(jets: JetRing, variable: sympy.Expr | None, between: Series, start: Series, end: Series) -> Series:
    """Return the share of the way from start to end, measured in ``variable``, at which ``between`` lies."""
    return _divide(jets, advance_between(jets, variable, start, between), advance_between(jets, variable, start, end))


def find_node(jets: JetRing, variable: sympy.Expr | None, share: sympy.Rational, start: Series, end: Series) -> Series:
    """Return the offset of the time at ``share`` of the way from start to end, measured in ``variable``."""
    part = jets.constant(QQ(int(share.p), int(share.q)))
    guess = start + (end - start) * part
    if variable is None:
        return guess
    first, last = (jets.expand(variable, {jets.time: offset}) for offset in (start, end))
    target = first + (last - first) * part
    # Newton's iteration with the slope at the start: every round is right in one power of h more.
    slope = jets.reciprocal(jets.function_at(str(variable.func), start, derivative=1))
    for _ in range(jets.order):
        guess = jets.normal(guess - (jets.expand(variable, {jets.time: guess}) - target) * slope)
    return guess


def lagrange_rows(jets: JetRing, positions: Sequence[Series]) -> list[list[Series]]:
    """Return in row j the coefficients of 1, x, x**2, ... of the Lagrange polynomial of position j."""
    rows = []
    for j, own in enumerate(positions):
        row = [jets.constant(1)]
        for m, other in enumerate(positions):
            if m != j:
                # Times (x - other) / (own - other): the row moved up one power, less ``other`` times the row itself.
                scale = jets.reciprocal(own - other)
                raised, level = [jets.constant(0), *row], [*row, jets.constant(0)]
                row = [(a - b * other) * scale for a, b in zip(raised, level, strict=True)]
        rows.append(row)
    return rows


def _divide(jets: JetRing, numerator: Series, denominator: Series) -> Series:
    """Return a quotient of two series that vanish at h = 0, the denominator to first order: one power is lost."""
    # A common factor h is taken out first, since only what begins with an invertible monomial has a reciprocal.
    parts = [part.divide(jets.grade).truncate(jets.truncation) for part in (numerator, denominator)]
    return jets.normal(parts[0] * jets.reciprocal(parts[1]))


def _integrate_share(jets: JetRing, series: Series) -> Series:
    """Return int_0^1 dy of a series whose coefficients are polynomials in the share y."""
    n = jets.position["share", "y"]
    out = []
    for element in series.coefficients:
        total: dict[tuple[int, ...], Any] = {}
        for exponents, coefficient in element.terms():
            key = (*exponents[:n], 0, *exponents[n + 1 :])
            total[key] = total.get(key, 0) + coefficient / (exponents[n] + 1)
        out.append(jets.reduce(jets.ring.from_dict({k: c for k, c in total.items() if c})))
    return Series(tuple(out))


def _multiply(a: Matrix, b: Matrix) -> Matrix:
    columns = list(zip(*b, strict=True))
    return [[_sum([x * y for x, y in zip(row, column, strict=True)]) for column in columns] for row in a]


def _add(a: Matrix, b: Matrix) -> Matrix:
    return [[x + y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def _sum(terms: Sequence[Series]) -> Series:
    out = terms[0]
    for term in terms[1:]:
        out = out + term
    return out
