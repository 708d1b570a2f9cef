"""The symbols every module shares, the one error for bad input, and definitions: named functions with a body.

Knows names and substitution only. A derivation is carried out with undefined functions (``beta(t)``,
``cholesky_xx(t)``); what they stand for is kept beside it as a Definitions table and looked up only when a number or
source code is wanted. So formulas stay as short as on paper.
"""

from __future__ import annotations

import sympy

__all__ = ["PAST", "h", "s", "t", "u"]

t = sympy.Symbol("t", positive=True)
"""Forward diffusion time at which a step starts."""

s = sympy.Symbol("s", positive=True)
"""Forward diffusion time at which a step ends, s = t - h < t."""

h = sympy.Symbol("h", positive=True)
"""The step size t - s, a symbol of its own: t - s is subtracted once, or known better than by subtraction. In the body
of a function of two times it is the first less the second."""

u = sympy.Symbol("u", positive=True)
"""A time between s and t, the variable of integration of a weight."""

PAST = sympy.symbols("p1:6", positive=True)
"""Times at which earlier steps started, newest first: ... > p2 > p1 > t."""
