"""Numbers from symbolic expressions, in float64 (numpy) or at any precision (mpmath).

Knows definitions, parameters and the special functions; the analyses use it, and it shares no code with the printer
of generated source, so that each can be checked against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal

import mpmath
import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.legendre import legendre_rule
from integrator_analysis.algebra.special import MPMATH, NUMPY
from integrator_analysis.algebra.symbols import h, s, t, u

__all__ = ["function"]

NODES = 48
"""Gauss-Legendre nodes of an integral in log u. The frame's angle on PSLD, from 1e-3 to 1: 1e-14."""

PRECISIONS = 128
"""Bits of which the precision of an integral in mpmath is a multiple."""


def function(
    expressions: Sequence[sympy.Expr],
    arguments: Sequence[sympy.Symbol],
    definitions: Definitions,
    parameters: Mapping[sympy.Symbol, sympy.Expr],
    backend: Literal["numpy", "mpmath"] = "numpy",
) -> Callable[..., Any]:
    """A callable of ``arguments`` that returns the list of values of ``expressions``.

    Defined functions are evaluated by their bodies, integrals among them by quadrature, ordered exponentials by solving
    their equation; ``parameters`` are put in as numbers.
    """
    lines = _StraightLine(definitions, parameters)
    results = [lines.inline(sympy.sympify(e)) for e in expressions]
    named: dict[str, Any] = {}
    ordered: dict[sympy.ImmutableMatrix, Callable[..., Any]] = {}
    for f in sorted(lines.integrals, key=str):
        matrix = definitions[f].generator
        if matrix is not None:
            if matrix not in ordered:
                entries = function(list(matrix), (u,), definitions, parameters, backend)
                ordered[matrix] = _ordered_exponential(entries, matrix.rows, backend)
            named[str(f)] = partial(_entry, ordered[matrix], int(definitions[f].body))
            continue
        integrand = function([definitions[f].body], (u,), definitions, parameters, backend)
        named[str(f)] = _integral(integrand, backend)
    modules = [named, NUMPY, "numpy"] if backend == "numpy" else [named, MPMATH, "mpmath"]
    return sympy.lambdify(list(arguments), results, modules=modules, cse=lambda _: (lines.assignments, results))


class _StraightLine:
    """Assignments in the order in which they can be carried out: one for each call of a defined function.

    Written out at once, the formulas of a weight grow to hundreds of thousands of nodes. A call whose value at these
    parameters is a number or a symbol gets no assignment: it is replaced by that, so that a product with it may vanish.
    """

    def __init__(self, definitions: Definitions, parameters: Mapping[sympy.Symbol, sympy.Expr]) -> None:
        self.definitions, self.parameters = definitions, {h: t - s, **parameters}
        self.assignments: list[tuple[sympy.Symbol, sympy.Expr]] = []
        self.integrals: set[sympy.Function] = set()
        self._values: dict[sympy.Expr, sympy.Expr] = {}

    def inline(self, expression: sympy.Expr) -> sympy.Expr:
        """``expression`` with parameters as numbers, and in place of every call of a defined function its value."""
        expression = expression.xreplace(self.parameters)
        calls = sorted((c for c in expression.atoms(AppliedUndef) if c.func in self.definitions), key=str)
        return expression.xreplace({c: self._value(c) for c in calls})

    def _value(self, call: sympy.Expr) -> sympy.Expr:
        """The value of a call: a number, a symbol that is assigned it, or the call itself where it is an integral."""
        definition = self.definitions[call.func]
        inner = call.func(*(self.inline(a) for a in call.args))
        if inner not in self._values:
            value = inner
            if definition.integral or definition.generator is not None:
                self.integrals.add(call.func)
            else:
                value = self.inline(definition(*inner.args))
            if not value.is_Atom:
                symbol = sympy.Symbol(f"_v{len(self.assignments)}")
                self.assignments.append((symbol, value))
                value = symbol
            self._values[inner] = value
        return self._values[inner]


def _entry(matrix: Callable[..., Any], number: int, t: Any, s: Any) -> Any:
    """One entry of a matrix function of two times, for an array of first times too."""
    if isinstance(t, np.ndarray):
        return np.reshape(matrix(tuple(t.ravel().tolist()), float(s))[number], t.shape)
    found = matrix((t,), s)[number]
    return found if isinstance(found, mpmath.mpf) else np.asarray(found).item()


def _ordered_exponential(
    generator: Callable[..., Any], size: int, backend: Literal["numpy", "mpmath"]
) -> Callable[[Any, Any], Any]:
    """(times, s) -> E(s, t) row by row, by scipy's DOP853 or mpmath's Taylor series; each tuple of times once.

    In float64 an entry is an array with a number for each time; mpmath takes one time.
    """
    start = [float(i == j) for i in range(size) for j in range(size)]

    def slope(time: Any, flat: Any) -> list[Any]:
        m = generator(time)
        return [
            sum(flat[i * size + k] * m[k * size + j] for k in range(size)) for i in range(size) for j in range(size)
        ]

    @cache
    def solve(times: tuple[Any, ...], s: Any) -> Any:
        if backend == "mpmath":  # odefun goes forward only
            (t,) = times
            sign = 1 if t > s else -1
            if t == s:
                return [mpmath.mpf(number) for number in start]
            return mpmath.odefun(lambda x, flat: [sign * y for y in slope(sign * x, flat)], sign * s, start)(sign * t)
        return _solve_to_all(slope, start, np.array(times, dtype=float), float(s))

    return solve


def _solve_to_all(slope: Callable[..., list[Any]], start: list[float], times: np.ndarray, s: float) -> np.ndarray:
    """The solution (len(start), len(times)) of y' = slope(time, y), y(s) = ``start``, at each of ``times``.

    All are solved together, each over its own way from s in the share of the way that runs from 0 to 1: the steps are
    those of the longest way, and every slope is one call for all times. One solution after another takes 30 times as
    long for the 40 nodes of a weight.
    """
    from scipy.integrate import solve_ivp  # half a second that most derivations do without

    way = times - s

    def slope_of_all(share: float, flat: np.ndarray) -> np.ndarray:
        rows = flat.reshape(len(start), len(times))
        return np.ravel([way * row for row in slope(s + share * way, rows)])

    first = np.repeat(start, len(times))
    solution = solve_ivp(slope_of_all, (0.0, 1.0), first, method="DOP853", rtol=2.3e-14, atol=1e-16)
    return np.asarray(solution.y[:, -1]).reshape(len(start), len(times))


def _integral(integrand: Callable[..., Any], backend: Literal["numpy", "mpmath"]) -> Callable[..., Any]:
    """(t, s) -> the integral of ``integrand`` from s to t."""
    if backend == "mpmath":
        known: dict[tuple[Any, int], dict[Any, Any]] = {}

        def panel(start: Any, end: Any) -> Any:
            # Nodes are found anew at every precision, and numerical derivatives ask for many.
            with mpmath.workprec(-(-mpmath.mp.prec // PRECISIONS) * PRECISIONS):
                ends = [mpmath.log(start), mpmath.log(end)]
                return mpmath.quad(lambda w: mpmath.exp(w) * integrand(mpmath.exp(w))[0], ends, method=legendre_rule)

        def precise(t: Any, s: Any) -> Any:
            # Integrals are asked for at times close to one another (derivatives): go on from the nearest known one.
            found = known.setdefault((s, mpmath.mp.prec), {s: mpmath.mpf(0)})
            if t not in found:
                near = min(found, key=lambda time: abs(time - t))
                found[t] = found[near] + panel(near, t)
            return found[t]

        return precise
    nodes, weights = np.polynomial.legendre.leggauss(NODES)

    def value(t: Any, s: Any) -> Any:
        low, width = np.log(s), np.log(np.asarray(t, dtype=float) / s)
        along = (-1, *[1] * width.ndim)  # the nodes along a dimension before those of t
        time = np.exp(low + width * ((1 + nodes) / 2).reshape(along))
        return np.sum(width * (weights / 2).reshape(along) * time * integrand(time)[0], axis=0)

    return value
