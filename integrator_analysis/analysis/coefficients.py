"""Values of a program's coefficients on a time grid, in float64 or at any precision.

Knows lowered programs; shares no code with the generated source, so that each checks the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import mpmath
import numpy as np
import sympy

from integrator_analysis.numeric import function
from integrator_analysis.program import Quadrature, StepProgram
from integrator_analysis.symbols import InputError, s, t, u

__all__ = ["CoefficientTable", "check_times"]


def check_times(times: Sequence[float]) -> np.ndarray:
    """A strictly decreasing float64 grid of at least two positive times; InputError otherwise."""
    grid = np.asarray(times, dtype=float)
    if grid.ndim != 1 or len(grid) < 2 or not np.all(np.isfinite(grid)):
        raise InputError(f"a time grid is a list of at least two finite times, got shape {grid.shape}")
    if grid[-1] <= 0:
        raise InputError(f"time {grid[-1]:g} at index {len(grid) - 1} is not positive; a sampler stops at t_min > 0")
    rising = np.flatnonzero(np.diff(grid) >= 0)
    if len(rising):
        i = int(rising[0])
        raise InputError(
            f"times must decrease strictly, but times[{i}] = {grid[i]:g} and times[{i + 1}] = {grid[i + 1]:g}"
        )
    return grid


class CoefficientTable:
    """The coefficients of a program as a function of (t, s): ``names`` and, by call, their values."""

    def __init__(self, program: StepProgram, backend: Literal["numpy", "mpmath"] = "numpy") -> None:
        self.program = program.lowered()
        self.names = tuple(self.program.coefficients)
        self.backend = backend
        self._known: dict[tuple[float, float], list] = {}
        definitions, parameters = self.program.definitions, self.program.parameters
        weights = [f for q in self.program.quadratures for f in q.functions]
        symbols = [sympy.Symbol(f"_{f}") for f in weights]
        named = {f(t, s): symbol for f, symbol in zip(weights, symbols, strict=True)}
        expressions = [e.xreplace(named) for e in self.program.coefficients.values()]
        self._coefficients = function(expressions, (t, s, *symbols), definitions, parameters, backend)
        self._integrands = [
            (q, function(q.integrands, (u, s), definitions, parameters, backend)) for q in self.program.quadratures
        ]

    def __call__(self, start: float, end: float) -> list:
        """The coefficients of the step from ``start`` to ``end``, in the order of ``names``; kept once known."""
        if (start, end) not in self._known:
            self._known[start, end] = self._compute(start, end)
        return self._known[start, end]

    def _compute(self, start: float, end: float) -> list:
        integrate = _gauss_legendre if self.backend == "numpy" else _mpmath_quadrature
        weights = [value for q, integrand in self._integrands for value in integrate(q, integrand, start, end)]
        return list(self._coefficients(start, end, *weights))

    def on_grid(self, times: Sequence[float]) -> np.ndarray:
        """float64 (len(times) - 1, len(names)): one row per step of the grid."""
        grid = check_times(times)
        rows = [self(start, end) for start, end in pairwise(grid)]
        return np.array(rows, dtype=float).reshape(len(grid) - 1, len(self.names))


def _gauss_legendre(q: Quadrature, integrand: Callable[..., Any], start: float, end: float) -> np.ndarray:
    nodes, weights = np.polynomial.legendre.leggauss(q.nodes)
    low, width = np.sqrt(end), (start - end) / (np.sqrt(start) + np.sqrt(end))
    roots = low + width * (1 + nodes) / 2
    values = integrand(roots**2, end)
    return np.array([np.sum(weights * width * roots * np.asarray(v)) for v in values])


def _mpmath_quadrature(q: Quadrature, integrand: Callable[..., Any], start: Any, end: Any) -> list[Any]:
    ends = [mpmath.sqrt(end), mpmath.sqrt(start)]
    return [mpmath.quad(lambda r, i=i: 2 * r * integrand(r * r, end)[i], ends) for i in range(len(q.functions))]
