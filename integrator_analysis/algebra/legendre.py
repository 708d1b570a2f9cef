"""Gauss-Legendre rules for mpmath, whose own take seconds to be made where many digits are asked for.

Knows Legendre polynomials in whole numbers; knows no integrand.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mpmath
import numpy as np
from mpmath.calculus.quadrature import GaussLegendre

__all__ = ["legendre_rule"]

GUARD = 40
"""Bits beyond those asked for: nodes next to the ends, where 1 - x**2 is about 1/n**2, lose twice the bits of n."""


class _LegendreRule(GaussLegendre):
    """mpmath's rule of 3 * 2**(degree - 1) nodes, its nodes from those of numpy by Newton's method in whole numbers."""

    def calc_nodes(self, degree: int, prec: int, verbose: bool = False) -> list[tuple[Any, Any]]:
        """Return (node, weight) pairs, correct to ``prec`` bits."""
        n = 3 * 2 ** (degree - 1)
        bits = prec + GUARD
        pairs = []
        with mpmath.workprec(bits):
            for start in np.polynomial.legendre.leggauss(n)[0]:
                node = int(mpmath.ldexp(mpmath.mpf(float(start)), bits))
                correct = 44  # bits of numpy's nodes; every step of Newton's method doubles them, but for a few
                while correct < bits:
                    value, slope = _value_and_slope(n, node, bits)
                    node -= (value << bits) // slope
                    correct = 2 * correct - 8
                _, slope = _value_and_slope(n, node, bits)
                x, rise = mpmath.ldexp(node, -bits), mpmath.ldexp(slope, -bits)
                pairs.append((x, 2 / ((1 - x**2) * rise**2)))
        return pairs


def _value_and_slope(n: int, x: int, bits: int) -> tuple[int, int]:
    """P_n and its derivative at x, all in units of 2**-bits."""
    before, value = 1 << bits, x
    for j in range(2, n + 1):
        before, value = value, ((2 * j - 1) * (x * value >> bits) - (j - 1) * before) // j
    slope = (n * ((x * value >> bits) - before) << bits) // ((x * x >> bits) - (1 << bits))
    return value, slope


@cache
def legendre_rule(context: Any) -> _LegendreRule:
    """The rule of an mpmath context, made once: it keeps its nodes. For ``mpmath.quad(..., method=legendre_rule)``."""
    return _LegendreRule(context)
