"""Numbers from symbolic expressions, in float64 (numpy) or at any precision (mpmath).

Knows definitions, parameters and the special functions; the analyses use it, and it shares no code with the printer
of generated source, so that each can be checked against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import mpmath
import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.special import MPMATH, NUMPY
from integrator_analysis.symbols import Definitions, u

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
    """A callable of ``arguments`` that returns the list of values of ``expressions``."""
    resolved = [definitions.resolve(sympy.sympify(e)).xreplace(dict(parameters)) for e in expressions]
    integrals = {c.func for e in resolved for c in e.atoms(AppliedUndef) if c.func in definitions}
    named = {}
    for f in integrals:
        integrand = function([definitions[f].body], (u,), definitions, parameters, backend)
        named[str(f)] = _integral(integrand, backend)
    modules = [named, NUMPY, "numpy"] if backend == "numpy" else [named, MPMATH, "mpmath"]
    return sympy.lambdify(list(arguments), resolved, modules=modules, cse=True)


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
        total = 0.0
        for node, weight in zip((1 + nodes) / 2, weights / 2, strict=True):
            time = np.exp(low + width * node)
            total = total + width * weight * time * integrand(time)[0]
        return total

    return value
