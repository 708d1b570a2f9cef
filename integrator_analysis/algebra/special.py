"""Functions that closed forms are made of, kept as atoms: phi_k, cosh(sqrt x), sinh(sqrt x)/sqrt x, their damped
moments, the decay along a table of betas, and differences with their own formula.

Knows their values and derivatives in sympy, numpy and mpmath; knows nothing of processes or of generated code.

The textbook formula of each entire function has a removable singularity: phi_2(z) = (e^z - 1 - z)/z**2 at z = 0. So
none is ever expanded into elementary functions, and a power series replaces the formula where that would cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy.codegen.cfunctions import expm1, log1p

__all__ = [
    "DAMPED_DECAY",
    "DAMPED_NODES",
    "DAMPED_PHASE",
    "MPMATH",
    "NUMPY",
    "Table",
    "cosh_sqrt",
    "damped_moment",
    "decay",
    "decay_rate",
    "difference",
    "exp_moment",
    "expm1",
    "log1p",
    "phi",
    "sinhc_sqrt",
]

SERIES_RADIUS = 1.0
"""abs(z) below which the series replaces the formula, which at z = 1 cancels by less than one digit (phi_2, phi_3)."""

SERIES_TERMS = 20
"""1/20! = 4e-19: below float64 rounding for every |z| <= SERIES_RADIUS."""

DAMPED_NODES = 64
"""Gauss-Legendre nodes of a damped moment, in v with r = b v**2."""

DAMPED_DECAY, DAMPED_PHASE = 500.0, 90.0
"""c b, and sqrt(-x) b for x < 0, up to which those nodes give 3e-15 to 2e-14 relative; at a phase of 130 and no decay
they are wrong in the eighth digit."""


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

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return _evalf(MPMATH["cosh_sqrt"], self.args, prec)


class sinhc_sqrt(sympy.Function):
    """sinh(sqrt(x)) / sqrt(x), entire in x, 1 at x = 0: the odd part of a 2 x 2 exponential.

    Its derivative is written as a quotient that cancels near x = 0: for checks in many digits only.
    """

    nargs = 1

    @classmethod
    def eval(cls, x: sympy.Expr) -> sympy.Expr | None:
        return sympy.S.One if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        x = self.args[0]
        return (cosh_sqrt(x) - sinhc_sqrt(x)) / (2 * x)

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return _evalf(MPMATH["sinhc_sqrt"], self.args, prec)


class damped_moment(sympy.Function):
    r"""damped_moment(k, c, x, b) = int_0^b e^{-c r} g_k(r) dr, g_1 = sinh(q r)/q, g_2 = (cosh(q r) - 1)/q**2, q^2 = x.

    Entire in x: at x = 0 (critical damping) g_k = r^k / k!.

    >>> sympy.N(damped_moment(2, 0, -1, 2 * sympy.pi), 10)  # int_0^{2 pi} (1 - cos r) dr
    6.283185307
    """

    nargs = 4

    @classmethod
    def eval(cls, k: sympy.Expr, c: sympy.Expr, x: sympy.Expr, b: sympy.Expr) -> sympy.Expr | None:
        if b.is_zero:
            return sympy.S.Zero
        return exp_moment(int(k), c, b) / sympy.factorial(k) if x.is_zero else None

    def fdiff(self, argindex: int = 4) -> sympy.Expr:
        if argindex != 4:
            raise sympy.core.function.ArgumentIndexError(self, argindex)
        k, c, x, b = self.args
        odd = b * sinhc_sqrt(x * b**2)
        return sympy.exp(-c * b) * (odd if k == 1 else b**2 * sinhc_sqrt(x * b**2 / 4) ** 2 / 2)

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return _evalf(_damped_moment_mpmath, self.args, prec)


class Table(sympy.AtomicExpr):
    """A named row of rational numbers as one atom, so that expressions stay short; source code prints its name."""

    __slots__ = ("name", "values")
    is_commutative = True

    def __new__(cls, name: str, values: Sequence[sympy.Rational]) -> Table:
        table = sympy.AtomicExpr.__new__(cls)
        table.name, table.values = name, tuple(map(sympy.Rational, values))
        return table

    def __getnewargs__(self) -> tuple[object, ...]:
        return self.name, self.values

    def _hashable_content(self) -> tuple[object, ...]:
        return self.name, self.values

    def _sympystr(self, printer: object) -> str:
        return self.name

    _latex = _pythoncode = _sympyrepr = _sympystr

    def _numpycode(self, printer: object) -> str:
        return repr(self.pairs)

    _mpmathcode = _numpycode

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(numerator, denominator) of each number."""
        return tuple((int(v.p), int(v.q)) for v in self.values)

    @property
    def rows(self) -> list[str]:
        """The numbers as float64 literals, six a line, for generated source."""
        literals = [repr(float(v)) for v in self.values]
        return [", ".join(literals[i : i + 6]) + "," for i in range(0, len(literals), 6)]


class decay(sympy.Function):
    r"""decay(t, s, betas) = -log of the product of 1 - beta from time s to t, beta_k acting between k and k + 1.

    At integers -log(prod_{s <= k < t} (1 - beta_k)); between them linear, so decay(t, s) = sum_k -log(1 - beta_k) times
    the time that [s, t] spends in [k, k + 1]: a sum of terms of one sign.

    >>> half = Table("BETAS", [sympy.Rational(1, 2)] * 3)
    >>> sympy.N(sympy.exp(-decay(2, 0, half)), 5)
    0.25000
    """

    nargs = 3

    @classmethod
    def eval(cls, t: sympy.Expr, s: sympy.Expr, betas: Table) -> sympy.Expr | None:
        return sympy.S.Zero if t == s else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        t, s, betas = self.args
        if argindex == 3:
            raise sympy.core.function.ArgumentIndexError(self, argindex)
        return decay_rate(t, betas) if argindex == 1 else -decay_rate(s, betas)

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return _evalf(_decay_mpmath, self.args, prec)


class decay_rate(sympy.Function):
    """-log(1 - beta_k) for k < t <= k + 1: the slope of decay in t, at an integer that of the segment below it."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        if argindex != 1:
            raise sympy.core.function.ArgumentIndexError(self, argindex)
        return sympy.S.Zero

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return _evalf(_decay_rate_mpmath, self.args, prec)


class difference(sympy.Function):
    """difference(a, b, d) = a - b, where d is a formula for it that keeps its digits where a and b are close.

    d is used while it is less than half of a. Beyond, its factors may grow, and the subtraction loses nothing.
    """

    nargs = 3


def exp_moment(k: int, rate: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    r"""int_0^b r^k e^{-rate r} dr without cancellation at small ``rate * b``.

    rate = 0 is b^{k+1}/(k+1); k = 0 is -expm1(-rate b)/rate; k >= 1 is k! b^{k+1} e^{-rate b} phi_{k+1}(rate b), a sum
    of positive terms.
    """
    if rate == 0:
        return b ** (k + 1) / sympy.Integer(k + 1)
    if k == 0:
        return -expm1(-rate * b) / rate
    return sympy.factorial(k) * b ** (k + 1) * sympy.exp(-rate * b) * phi(k + 1, rate * b)


def _evalf(function: Any, arguments: Sequence[sympy.Expr], prec: int) -> sympy.Expr | None:
    """``function`` of mpmath at 20 guard bits; None, which leaves the call as it is, where an argument is no number."""
    if not all(isinstance(a, Table) or a.is_number for a in arguments):
        return None
    with mpmath.workprec(prec + 20):
        values = [a.pairs if isinstance(a, Table) else a._to_mpmath(prec + 20) for a in arguments]
        return sympy.Float(function(*values), precision=prec)


def _phi_mpmath(k: Any, z: mpmath.mpf) -> mpmath.mpf:
    k = int(k)
    return mpmath.hyp1f1(1, k + 1, z) / mpmath.factorial(k)


def _cosh_sqrt_mpmath(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.re(mpmath.cosh(mpmath.sqrt(x)))


def _sinhc_sqrt_mpmath(x: mpmath.mpf) -> mpmath.mpf:
    root = mpmath.sqrt(x)
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


def _damped_moment_mpmath(k: Any, c: mpmath.mpf, x: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
    """By partial fractions, with the digits that they cancel added: (sqrt(x) b)**2 of the result's size."""
    k, c, x, b = int(k), mpmath.mpf(c), mpmath.mpf(x), mpmath.mpf(b)
    if b == 0 or x == 0:
        # the double eigenvalue: b^(k+1) / (k+1)! e^{-c b} M(1, k+2, c b)
        return b ** (k + 1) * mpmath.exp(-c * b) * mpmath.hyp1f1(1, k + 2, c * b) / mpmath.factorial(k + 1)
    lost = max(0, -2 * mpmath.mag(mpmath.sqrt(abs(x)) * b)) + max(0, mpmath.mag(c * b)) + max(0, mpmath.mag(x * b * b))
    with mpmath.workprec(mpmath.mp.prec + int(lost) + 30):
        root = mpmath.sqrt(x)

        def plain(a: Any) -> Any:
            return b if a == 0 else -mpmath.expm1(-a * b) / a

        if k == 1:
            value = (plain(c - root) - plain(c + root)) / (2 * root)
        else:
            value = (plain(c - root) + plain(c + root) - 2 * plain(c)) / (2 * x)
        value = mpmath.re(value)
    return +value


@cache
def _damped_rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes v**2 and weights 2 v w of the rule on (0, 1) in v."""
    nodes, weights = np.polynomial.legendre.leggauss(DAMPED_NODES)
    nodes = (1 + nodes) / 2
    return nodes**2, nodes * weights


def _damped_moment_numpy(k: int, c: float, x: float, b: np.ndarray) -> np.ndarray:
    nodes, weights = _damped_rule()
    b = np.asarray(b, dtype=float)
    r = b[..., None] * nodes
    g = r * _sinhc_sqrt_numpy(x * r**2) if k == 1 else r**2 * _sinhc_sqrt_numpy(x * r**2 / 4) ** 2 / 2
    return b * (weights * np.exp(-c * r) * g).sum(-1)


Pairs = tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def _rates_mpmath(betas: Pairs, prec: int) -> tuple[mpmath.mpf, ...]:
    with mpmath.workprec(prec):
        return tuple(-mpmath.log1p(-mpmath.mpf(p) / q) for p, q in betas)


@lru_cache(maxsize=64)
def _rates_numpy(betas: Pairs) -> np.ndarray:
    return -np.log1p(-np.array([p / q for p, q in betas]))


def _decay_mpmath(t: Any, s: Any, betas: Pairs) -> mpmath.mpf:
    def part(time: Any, k: int) -> Any:
        return min(max(time - k, 0), 1)

    first, last = max(int(mpmath.floor(min(t, s))), 0), min(int(mpmath.ceil(max(t, s))), len(betas))
    rates = _rates_mpmath(betas, mpmath.mp.prec)
    return mpmath.fsum(rates[k] * (part(t, k) - part(s, k)) for k in range(first, last))


def _decay_rate_mpmath(t: Any, betas: Pairs) -> mpmath.mpf:
    return _rates_mpmath(betas, mpmath.mp.prec)[min(max(int(mpmath.ceil(t)) - 1, 0), len(betas) - 1)]


def _decay_numpy(t: Any, s: Any, betas: Pairs) -> np.ndarray:
    rates = _rates_numpy(betas)
    k = np.arange(len(rates))
    t, s = (np.asarray(time, dtype=float)[..., None] for time in (t, s))
    return (rates * (np.clip(t - k, 0, 1) - np.clip(s - k, 0, 1))).sum(-1)


def _decay_rate_numpy(t: Any, betas: Pairs) -> np.ndarray:
    rates = _rates_numpy(betas)
    return rates[np.clip(np.ceil(t).astype(int) - 1, 0, len(rates) - 1)]


def _difference_numpy(a: np.ndarray, b: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.where(2 * np.abs(d) < np.abs(a), d, a - b)


NUMPY = {
    "phi": _phi_numpy,
    "cosh_sqrt": _cosh_sqrt_numpy,
    "sinhc_sqrt": _sinhc_sqrt_numpy,
    "damped_moment": _damped_moment_numpy,
    "decay": _decay_numpy,
    "decay_rate": _decay_rate_numpy,
    "difference": _difference_numpy,
    "expm1": np.expm1,
    "log1p": np.log1p,
}
"""Names for sympy.lambdify's ``modules`` in float64."""

MPMATH = {
    "phi": _phi_mpmath,
    "cosh_sqrt": _cosh_sqrt_mpmath,
    "sinhc_sqrt": _sinhc_sqrt_mpmath,
    "damped_moment": _damped_moment_mpmath,
    "decay": _decay_mpmath,
    "decay_rate": _decay_rate_mpmath,
    "difference": lambda a, b, d: d if 2 * abs(d) < abs(a) else a - b,
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
}
"""Names for sympy.lambdify's ``modules`` at mpmath's working precision."""
