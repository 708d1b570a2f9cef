"""The symbols of time that every module shares.

sympy tells symbols apart by their names and assumptions, so each is made once, here.
"""

from __future__ import annotations

import sympy

__all__ = ["PAST", "h", "s", "t", "u"]

t = sympy.Symbol("t", positive=True)
"""Forward diffusion time; of two times the first, at which a step starts."""

s = sympy.Symbol("s", positive=True)
"""The second of two times, at which a step ends: s = t - h < t."""

h = sympy.Symbol("h", positive=True)
"""The step size t - s. It is a symbol of its own because it may be known to more digits than the difference of two
rounded times. In the body of a function of two times it is the first less the second."""

u = sympy.Symbol("u", positive=True)
"""A time between s and t, over which weights are integrated."""

PAST = sympy.symbols("p1:6", positive=True)
"""Times beyond t, nearest first: t < p1 < p2 < ... At these earlier steps started."""
