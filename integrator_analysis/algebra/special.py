"""Entire functions that closed forms of samplers are made of, kept as atoms: phi_k, cosh(sqrt x), sinh(sqrt x)/sqrt x.

Knows their values and derivatives in sympy, numpy and mpmath; knows nothing of processes or of generated code.

Each has a removable singularity in its textbook formula (phi_2(z) = (e^z - 1 - z)/z**2 at z = 0), so none is ever
expanded into elementary functions: a power series is used where the formula would cancel.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy.codegen.cfunctions import expm1, log1p

__all__ = ["MPMATH", "NUMPY", "cosh_sqrt", "exp_moment", "expm1", "log1p", "phi", "sinhc_sqrt"]

SERIES_RADIUS = 1.0
"""abs(z) below which the series replaces the formula, which at z = 1 cancels by less than one digit (phi_2, phi_3)."""

SERIES_TERMS = 20
"""1/20! = 4e-19: below float64 rounding for every |z| <= SERIES_RADIUS."""


class phi(sympy.Function):
    r"""phi_k(z) = int_0^1 e^{(1-u) z} u^{k-1} / (k-1)! du, the functions of exponential integrators; phi_0 = exp.

    >>> sympy.N(phi(2, 0)), sympy.N(phi(2, 1), 10)
    (0.500000000000000, 0.7182818285)
    """

    nargs = 2

    @classmethod
    def eval(cls, k: sympy.Expr, z: sympy.Expr) -> sympy.Expr | None:
        if k == 0:
            return sympy.exp(z)
        if z.is_zero:
            return 1 / sympy.factorial(k)
        return None

    def fdiff(self, argindex: int = 2) -> sympy.Expr:
        if argindex != 2:
            raise sympy.core.function.ArgumentIndexError(self, argindex)
        k, z = self.args
        return phi(k, z) - k * phi(k + 1, z)

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        k, z = (a._to_mpmath(prec + 20) for a in self.args)
        with mpmath.workprec(prec + 20):
            return sympy.Float(_phi_mpmath(k, z), precision=prec)


class cosh_sqrt(sympy.Function):
    """cosh(sqrt(x)), entire in x: the even part of a 2 x 2 exponential with discriminant x of either sign."""

    nargs = 1

    @classmethod
    def eval(cls, x: sympy.Expr) -> sympy.Expr | None:
        return sympy.S.One if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sinhc_sqrt(self.args[0]) / 2


class sinhc_sqrt(sympy.Function):
    """sinh(sqrt(x)) / sqrt(x), entire in x, 1 at x = 0: the odd part of a 2 x 2 exponential."""

    nargs = 1

    @classmethod
    def eval(cls, x: sympy.Expr) -> sympy.Expr | None:
        return sympy.S.One if x.is_zero else None


def exp_moment(k: int, rate: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    r"""int_0^b r^k e^{-rate r} dr without cancellation at small ``rate * b``.

    k = 0 is -expm1(-rate b)/rate; k >= 1 is k! b^{k+1} e^{-rate b} phi_{k+1}(rate b), a sum of positive terms.
    """
    if k == 0:
        return -expm1(-rate * b) / rate
    return sympy.factorial(k) * b ** (k + 1) * sympy.exp(-rate * b) * phi(k + 1, rate * b)


def _phi_mpmath(k: Any, z: mpmath.mpf) -> mpmath.mpf:
    k = int(k)
    return mpmath.hyp1f1(1, k + 1, z) / mpmath.factorial(k)


def _sqrt_function_mpmath(even: bool, x: mpmath.mpf) -> mpmath.mpf:
    root = mpmath.sqrt(x)
    if even:
        return mpmath.re(mpmath.cosh(root))
    return mpmath.mpf(1) if x == 0 else mpmath.re(mpmath.sinh(root) / root)


def _phi_numpy(k: int, z: np.ndarray) -> np.ndarray:
    z = np.asarray(z, dtype=float)
    near = np.abs(z) < SERIES_RADIUS
    inside = np.where(near, z, 0.0)
    series = np.zeros_like(z)
    for j in reversed(range(SERIES_TERMS)):
        series = series * inside + 1.0 / math.factorial(j + k)
    outside = np.where(near, 1.0, z)
    value = np.expm1(outside) / outside
    for j in range(1, k):
        value = (value - 1.0 / math.factorial(j)) / outside
    return np.where(near, series, value)


def _cosh_sqrt_numpy(x: np.ndarray) -> np.ndarray:
    root = np.sqrt(np.abs(x))
    return np.where(np.asarray(x) >= 0, np.cosh(root), np.cos(root))


def _sinhc_sqrt_numpy(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=float)
    safe = np.where(x == 0, 1.0, np.sqrt(np.abs(x)))
    return np.where(x == 0, 1.0, np.where(x > 0, np.sinh(safe), np.sin(safe)) / safe)


NUMPY = {"phi": _phi_numpy, "cosh_sqrt": _cosh_sqrt_numpy, "sinhc_sqrt": _sinhc_sqrt_numpy, "expm1": np.expm1}
"""Names for sympy.lambdify's ``modules`` in float64."""

MPMATH = {
    "phi": _phi_mpmath,
    "cosh_sqrt": lambda x: _sqrt_function_mpmath(True, x),
    "sinhc_sqrt": lambda x: _sqrt_function_mpmath(False, x),
    "expm1": mpmath.expm1,
}
"""Names for sympy.lambdify's ``modules`` at mpmath's working precision."""
