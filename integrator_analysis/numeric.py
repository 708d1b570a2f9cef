"""Numbers from symbolic expressions, in float64 (numpy) or at any precision (mpmath).

Knows definitions, parameters and the special functions; the analyses use it, and it shares no code with the printer
of generated source, so that each can be checked against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import sympy

from integrator_analysis.algebra.special import MPMATH, NUMPY
from integrator_analysis.symbols import Definitions

__all__ = ["function"]


def function(
    expressions: Sequence[sympy.Expr],
    arguments: Sequence[sympy.Symbol],
    definitions: Definitions,
    parameters: Mapping[sympy.Symbol, sympy.Expr],
    backend: Literal["numpy", "mpmath"] = "numpy",
) -> Callable[..., Any]:
    """A callable of ``arguments`` that returns the list of values of ``expressions``."""
    resolved = [definitions.resolve(sympy.sympify(e)).xreplace(dict(parameters)) for e in expressions]
    modules = [NUMPY, "numpy"] if backend == "numpy" else [MPMATH, "mpmath"]
    return sympy.lambdify(list(arguments), resolved, modules=modules, cse=True)
