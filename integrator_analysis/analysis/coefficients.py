"""Values of a program's coefficients on a time grid, in float64 or at any precision.

Knows network programs; shares no code with the generated source, so that each checks the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Literal

import mpmath
import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import PAST, s, t, u
from integrator_analysis.inputs import InputError
from integrator_analysis.program.mending import mending_coefficients
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import Quadrature, advance

__all__ = ["CoefficientTable", "check_times", "walk_pasts"]


def check_times(times: Sequence[float], t_max: float = np.inf) -> np.ndarray:
    """Return the times as a strictly decreasing float64 grid of at least two in (0, t_max]; InputError otherwise."""
    grid = np.asarray(times, dtype=float)
    if grid.ndim != 1 or len(grid) < 2 or not np.all(np.isfinite(grid)):
        raise InputError(f"a time grid is a list of at least two finite times, got shape {grid.shape}")
    if grid[-1] <= 0:
        raise InputError(f"time {grid[-1]:g} at index {len(grid) - 1} is not positive; a sampler stops at t_min > 0")
    if grid.max() > t_max:
        raise InputError(f"time {grid.max():g} at index {int(grid.argmax())} is beyond t_max = {t_max:g}")
    rising = np.flatnonzero(np.diff(grid) >= 0)
    if len(rising):
        i = int(rising[0])
        raise InputError(
            f"times must decrease strictly, but times[{i}] = {grid[i]:g} and times[{i + 1}] = {grid[i + 1]:g}"
        )
    return grid


def walk_pasts(
    program: NetworkProgram, grid: Sequence[float], lowered: bool = False, to_zero: bool = False
) -> Iterator[tuple[list[float], int | None]]:
    """Yield the ``past`` and ``read`` of a CoefficientTable's row for each step of a walk down ``grid``.

    With ``lowered`` final orders a step reads at most as many earlier outputs as steps follow it, where ``to_zero`` the
    one to no noise too. The mending of a predictor-corrector, which corrects the step before, reads one more of them.
    """
    for i in range(len(grid) - 1):
        past, left = list(grid[:i][::-1]), len(grid) - 2 - i + to_zero
        if not lowered:
            yield past, None
        else:
            yield (past[: left + 2], left) if program.cycle else (past[:left], None)


class CoefficientTable:
    """The coefficients of a program as a function of (t, s): ``names`` and, when it is called, their values.

    ``backend`` says in what they are evaluated: float64, or mpmath at its working precision. They are kept once known.
    """

    def __init__(self, program: NetworkProgram, backend: Literal["numpy", "mpmath"] = "numpy") -> None:
        self.program = program
        self.names = tuple(self.program.coefficients)
        self.backend = backend
        self._known: dict[tuple[float, ...], list] = {}
        self._functions: dict[int, Callable[..., Any]] = {}
        self._samples: dict[tuple[Quadrature, float, float], tuple[list, np.ndarray, np.ndarray]] = {}
        definitions, parameters = self.program.definitions, self.program.parameters
        weights = {f for q in self.program.quadratures for f in q.names}
        calls = {c for e in self.program.coefficients.values() for c in e.atoms(AppliedUndef) if c.func in weights}
        self._weights = {c: sympy.Symbol(f"_weight_{n}") for n, c in enumerate(sorted(calls, key=str))}
        self._integrands = [
            (q, function(q.integrands, (u, s), definitions, parameters, backend)) for q in self.program.quadratures
        ]
        if advance in definitions:
            self._advance = function([advance(t, s)], (t, s), definitions, parameters, backend)
        self._mending = mending_coefficients(program)

    def __call__(self, start: float, end: float, past: Sequence[float] = (), read: int | None = None) -> list:
        """Return the coefficients of the step from ``start`` to ``end``, in the order of ``names``.

        ``past`` are the times at which earlier steps started, newest first; a multistep method reads the first few.
        ``read``: the step reads no more of them than that; the mending of a predictor-corrector reads all of ``past``.
        """
        if read is not None and read < len(past):
            fewer = self(start, end, past[:read])
            if self._mending is None:
                return fewer
            pairs = zip(self._mending.mends, self(start, end, past), fewer, strict=True)
            return [whole if mends else other for mends, whole, other in pairs]
        key = (start, end, *past[: self.program.history])
        if key not in self._known:
            self._known[key] = self._compute(start, end, key[2:])
        return self._known[key]

    def _compute(self, start: float, end: float, past: Sequence[float]) -> list:
        self._samples.clear()
        # What the symbols of the coefficients stand for, in three rounds: times within the step, polynomials through
        # them, and weights, which are integrals between such times.
        values: dict[sympy.Symbol, Any] = {t: start, s: end} | dict(zip(PAST, past, strict=False))
        for node in self.program.nodes:
            values[node.symbol] = self._find_node(start, end, node.share)
        for interpolation in self.program.interpolations:
            times = [values[n] for n in interpolation.available(len(past))]
            shares = iter(
                self._lagrange_rows(times, *(values.get(x) for x in (interpolation.start, interpolation.end)))
            )
            values[interpolation.line] = int(len(times) == 2)
            for row, node in zip(interpolation.symbols, interpolation.nodes, strict=True):
                found = next(shares) if node in interpolation.available(len(past)) else []
                values |= dict(zip(row, [*found, *[0] * (len(row) - len(found))], strict=True))
        for call, symbol in self._weights.items():
            ends = [values.get(a) for a in call.args]
            # A weight of an earlier evaluation that is not there yet multiplies nothing.
            values[symbol] = 0 if None in ends else self._weight(call.func, *ends)
        return list(self._function(len(past))(*(values[a] for a in self._arguments(len(past)))))

    def _arguments(self, past: int) -> list[sympy.Symbol]:
        """Return the symbols whose values ``_function`` takes, in their order."""
        shares = [x for i in self.program.interpolations for x in (i.line, *(x for row in i.symbols for x in row))]
        nodes = [node.symbol for node in self.program.nodes]
        return [t, s, *PAST[:past], *nodes, *shares, *self._weights.values()]

    def _function(self, past: int) -> Callable[..., Any]:
        """Return the coefficients as a function of times, shares and weights, with ``past`` earlier steps."""
        if past not in self._functions:
            # One function for each number of earlier steps: shares of nodes that are missing are zero from the start.
            missing: dict[sympy.Expr, sympy.Expr] = dict(self._weights)
            for interpolation in self.program.interpolations:
                for row, node in zip(interpolation.symbols, interpolation.nodes, strict=True):
                    if node not in interpolation.available(past):
                        missing |= dict.fromkeys(row, sympy.S.Zero)
            expressions = [e.xreplace(missing) for e in self.program.coefficients.values()]
            program = self.program
            self._functions[past] = function(
                expressions, self._arguments(past), program.definitions, program.parameters, self.backend
            )
        return self._functions[past]

    def _find_node(self, start: Any, end: Any, share: sympy.Rational) -> Any:
        """Return the time at ``share`` of the way from start to end, in the program's variable."""
        from scipy.optimize import brentq

        part = mpmath.mpf(share.p) / share.q if self.backend == "mpmath" else float(share)
        if self.program.variable is None:
            return start + part * (end - start)
        # No formula for the inverse of the variable is needed: the node is the root between the ends.
        whole = self._advance(start, end)[0]

        def miss(time: Any) -> Any:
            return self._advance(start, time)[0] / whole - part

        if self.backend == "mpmath":
            return mpmath.findroot(miss, (end, start), solver="anderson", tol=mpmath.eps * 100)
        return brentq(miss, end, start, xtol=1e-300, rtol=1e-15)

    def _lagrange_rows(self, times: Sequence[Any], start: Any, end: Any) -> list[list[Any]]:
        """Return in row j the coefficients of 1, x, x**2, ... of the Lagrange polynomial of times[j].

        x is the share of the way from start to end in the program's variable: 0 at start, 1 at end.
        """
        if not times:
            return []
        whole = self._advance(start, end)[0]
        positions = [self._advance(start, time)[0] / whole for time in times]
        rows = []
        for j, own in enumerate(positions):
            row = [whole / whole]
            for m, other in enumerate(positions):
                if m != j:
                    # Times (x - other) / (own - other): the row moved up one power, less ``other`` times the row.
                    pairs = zip([0, *row], [*row, 0], strict=True)
                    row = [(raised - other * level) / (own - other) for raised, level in pairs]
            rows.append(row)
        return rows

    def _weight(self, name: sympy.Function, start: Any, end: Any) -> Any:
        """Return int_end^start of what a program says of the weight ``name``, times powers of x where it has any."""
        for q, integrand in self._integrands:
            for k, group in enumerate(q.functions, q.lowest):
                if name in group:
                    entry, at = group.index(name), self._position(start, end) if k else None
                    if self.backend == "mpmath":
                        return _integrate_in_mpmath(q, integrand, start, end, entry, k, at)
                    values, factors, times = self._sample(q, integrand, start, end)
                    return float(np.sum(factors * values[entry] * (1.0 if at is None else np.asarray(at(times)) ** k)))
        raise KeyError(str(name))

    def _sample(
        self, q: Quadrature, integrand: Callable[..., Any], start: float, end: float
    ) -> tuple[list, np.ndarray, np.ndarray]:
        """Return the integrands of a quadrature at its nodes, the nodes' weights and their times, kept for one step."""
        key = q, start, end
        if key not in self._samples:
            times, factors = _quadrature_nodes(q, start, end)
            self._samples[key] = [np.asarray(value) for value in integrand(times, end)], factors, times
        return self._samples[key]

    def _position(self, start: Any, end: Any) -> Callable[[Any], Any]:
        """Return the function of time that x is."""
        whole = self._advance(start, end)[0]
        return lambda time: self._advance(start, time)[0] / whole

    def on_grid(self, times: Sequence[float]) -> np.ndarray:
        """Return float64 (len(times) - 1, len(names)): one row per step of the grid, which lies in (0, t_max]."""
        grid = [float(time) for time in check_times(times, self.program.process.t_max)]
        rows = [self(start, end, grid[:i][::-1]) for i, (start, end) in enumerate(pairwise(grid))]
        return np.array(rows, dtype=float).reshape(len(grid) - 1, len(self.names))


@cache
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes and weights, kept: to find them costs as much as an integral does."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def _quadrature_nodes(q: Quadrature, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the times and weights of the Gauss-Legendre rule that the program asks for, in sqrt(t) or in log t."""
    nodes, weights = _legendre(q.nodes)
    if q.rule == "sqrt":
        # The difference of the roots is computed without cancellation, as is that of the logarithms below.
        low, width = np.sqrt(end), (start - end) / (np.sqrt(start) + np.sqrt(end))
        roots = low + width * (1 + nodes) / 2
        return roots**2, weights * width * roots
    width = np.log1p((start - end) / end)
    times = end * np.exp(width * (1 + nodes) / 2)
    return times, weights * width * times / 2


def _integrate_in_mpmath(
    q: Quadrature, integrand: Callable[..., Any], start: Any, end: Any, entry: int, power: int, position: Any
) -> Any:
    """Return the integral by mpmath's own rule at its working precision, in the same variable as in float64."""
    factor = (lambda time: position(time) ** power) if power else (lambda time: 1)
    if q.rule == "sqrt":
        ends = [mpmath.sqrt(end), mpmath.sqrt(start)]
        return mpmath.quad(lambda r: 2 * r * integrand(r * r, end)[entry] * factor(r * r), ends)
    ends = [mpmath.log(end), mpmath.log(start)]
    return mpmath.quad(lambda w: (x := mpmath.exp(w)) * integrand(x, end)[entry] * factor(x), ends)
