"""Differences f(t) - f(s) written so that nothing cancels when s is close to t.

Knows sums, products, integer and half-integer powers, exp, expm1, log, log1p, cos, sin, the decay along a table and
functions with a stated difference; knows nothing of samplers. A difference that it has no rule for raises: a silent
subtraction is what it exists to prevent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.function import AppliedUndef, UndefinedFunction

from integrator_analysis.algebra.special import decay

__all__ = ["stable_difference"]

Rules = Mapping[UndefinedFunction, Callable[[sympy.Expr, sympy.Expr], sympy.Expr]]


def stable_difference(
    f: sympy.Expr,
    u: sympy.Symbol,
    t: sympy.Symbol,
    s: sympy.Symbol,
    known: Rules | None = None,
    step: sympy.Symbol | None = None,
) -> sympy.Expr:
    """f(u=t) - f(u=s) with every factor that vanishes at t = s pulled out exactly.

    ``known`` maps an undefined function g(u) to a callable (t, s) -> g(t) - g(s) in a stable form. ``step`` is t - s
    itself, where that has a symbol of its own: it may be known to more digits than the difference of two rounded times.

    >>> u, t, s = sympy.symbols("u t s")
    >>> stable_difference(u**2, u, t, s)
    (-s + t)*(s + t)
    >>> stable_difference(sympy.exp(u), u, t, s)
    exp(s)*expm1(-s + t)
    >>> stable_difference(sympy.sqrt(u), u, t, s)
    (-s + t)/(sqrt(s) + sqrt(t))
    >>> stable_difference(sympy.log(u), u, t, s)
    log1p((-s + t)/s)
    >>> stable_difference(sympy.cos(u), u, t, s)
    2*sin(s/2 - t/2)*sin(s/2 + t/2)

    Raises NotImplementedError for an expression without a rule.
    """
    return _Difference(u, t, s, known or {}, t - s if step is None else step).of(f)


@dataclass(frozen=True)
class _Difference:
    """The difference between ``t`` and ``s`` of expressions in ``u``; ``length`` stands for t - s."""

    u: sympy.Symbol
    t: sympy.Symbol
    s: sympy.Symbol
    known: Rules
    length: sympy.Expr

    def at(self, e: sympy.Expr, time: sympy.Symbol) -> sympy.Expr:
        return e.xreplace({self.u: time})

    def of(self, e: sympy.Expr) -> sympy.Expr:
        """The stable difference of ``e``. Raises NotImplementedError where there is no rule."""
        if not e.has(self.u):
            return sympy.S.Zero
        if e == self.u:
            return self.length
        if e.is_polynomial(self.u):
            return self.length * self._quotient_of_polynomial(e)
        if e.is_Add:
            return sympy.Add(*map(self.of, e.args))
        if e.is_Mul:
            # a(t) b(t) - a(s) b(s) = (a(t) - a(s)) b(t) + a(s) (b(t) - b(s))
            return self._of_product(e.args[0], sympy.Mul(*e.args[1:]))
        if e.is_Pow:
            return self._of_power(e)
        return self._of_function(e)

    def _quotient_of_polynomial(self, e: sympy.Expr) -> sympy.Expr:
        quotient, remainder = sympy.div(self.at(e, self.t) - self.at(e, self.s), self.t - self.s, self.t)
        if remainder != 0:
            raise ArithmeticError(f"{e} is a polynomial, so t - s divides its difference")
        return quotient

    def _of_product(self, first: sympy.Expr, second: sympy.Expr) -> sympy.Expr:
        return self.of(first) * self.at(second, self.t) + self.at(first, self.s) * self.of(second)

    def _of_power(self, e: sympy.Expr) -> sympy.Expr:
        if e.exp == sympy.Rational(1, 2):
            return self.of(e.base) / (self.at(e, self.t) + self.at(e, self.s))
        if (2 * e.exp).is_Integer and not e.exp.is_Integer and e.exp > 0:
            return self._of_product(sympy.sqrt(e.base), e.base ** (e.exp - sympy.Rational(1, 2)))
        if e.exp.is_Integer and e.exp > 0:
            # a^n - b^n = (a - b) (a^(n-1) + a^(n-2) b + ... + b^(n-1)), here from the lowest power of a
            a, b = self.at(e.base, self.t), self.at(e.base, self.s)
            return self.of(e.base) * sympy.Add(*[a**i * b ** (e.exp - 1 - i) for i in range(e.exp)])
        if (-e.exp).is_positive:
            return -self.of(1 / e) / (self.at(1 / e, self.t) * self.at(1 / e, self.s))
        raise _no_rule(e)

    def _of_function(self, e: sympy.Expr) -> sympy.Expr:
        if isinstance(e, AppliedUndef) and e.args == (self.u,) and e.func in self.known:
            return self.known[e.func](self.t, self.s)
        if isinstance(e, (sympy.exp, expm1)):
            return sympy.exp(self.at(e.args[0], self.s)) * expm1(self.of(e.args[0]))
        if isinstance(e, sympy.log):
            return log1p(self.of(e.args[0]) / self.at(e.args[0], self.s))
        if isinstance(e, log1p):
            return log1p(self.of(e.args[0]) / (1 + self.at(e.args[0], self.s)))
        if isinstance(e, (sympy.cos, sympy.sin)):
            other, sign = (sympy.sin, -1) if isinstance(e, sympy.cos) else (sympy.cos, 1)
            middle = (self.at(e.args[0], self.t) + self.at(e.args[0], self.s)) / 2
            return 2 * sign * other(sympy.expand(middle)) * sympy.sin(self.of(e.args[0]) / 2)
        if isinstance(e, decay) and not e.args[1].has(self.u):
            return decay(self.at(e.args[0], self.t), self.at(e.args[0], self.s), e.args[2])
        raise _no_rule(e)


def _no_rule(e: sympy.Expr) -> NotImplementedError:
    return NotImplementedError(f"no rule for the stable difference of {e}")
