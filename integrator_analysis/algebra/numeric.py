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
from integrator_analysis.algebra.special import MPMATH, NUMPY
from integrator_analysis.algebra.symbols import h, s, t, u

__all__ = ["function"]

NODES = 48
"""Gauss-Legendre nodes of an integral in log u. The frame's angle on PSLD, from 1e-3 to 1: 1e-14."""


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
        return np.array([matrix(float(time), float(s))[number] for time in t.ravel()]).reshape(t.shape)
    return matrix(t, s)[number]


def _ordered_exponential(
    generator: Callable[..., Any], size: int, backend: Literal["numpy", "mpmath"]
) -> Callable[[Any, Any], Any]:
    """(t, s) -> E(s, t) row by row, by scipy's DOP853 or mpmath's Taylor series; each pair of times once."""
    from scipy.integrate import solve_ivp  # half a second that most derivations do without

    def slope(time: Any, flat: Any) -> list[Any]:
        m = generator(time)
        return [
            sum(flat[i * size + k] * m[k * size + j] for k in range(size)) for i in range(size) for j in range(size)
        ]

    @cache
    def solve(t: Any, s: Any) -> Any:
        start = [float(i == j) for i in range(size) for j in range(size)]
        if t == s:
            return start
        if backend == "mpmath":  # odefun goes forward only
            sign = 1 if t > s else -1
            return mpmath.odefun(lambda x, flat: [sign * y for y in slope(sign * x, flat)], sign * s, start)(sign * t)
        return solve_ivp(slope, (s, t), start, method="DOP853", rtol=2.3e-14, atol=1e-16).y[:, -1]

    return solve


def _integral(integrand: Callable[..., Any], backend: Literal["numpy", "mpmath"]) -> Callable[..., Any]:
    """(t, s) -> the integral of ``integrand`` from s to t."""
    if backend == "mpmath":
        known: dict[tuple[Any, int], dict[Any, Any]] = {}

        def panel(start: Any, end: Any) -> Any:
            ends = [mpmath.log(start), mpmath.log(end)]
            return mpmath.quad(lambda w: mpmath.exp(w) * integrand(mpmath.exp(w))[0], ends, method="gauss-legendre")

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
