"""Differences f(t) - f(s) written so that nothing cancels when s is close to t.

Knows sums, products, integer and half-integer powers, exp, expm1, log, log1p, cos, sin, the decay along a table and
functions with a stated difference; knows nothing of samplers. A difference that it has no rule for raises: a silent
subtraction is what it exists to prevent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
    known, length = known or {}, t - s if step is None else step

    def at(e: sympy.Expr, value: sympy.Symbol) -> sympy.Expr:
        return e.xreplace({u: value})

    def delta(e: sympy.Expr) -> sympy.Expr:
        if not e.has(u):
            return sympy.S.Zero
        if e == u:
            return length
        if e.is_polynomial(u):
            quotient, remainder = sympy.div(at(e, t) - at(e, s), t - s, t)
            if remainder != 0:
                raise ArithmeticError(f"{e} is a polynomial, so t - s divides its difference")
            return length * quotient
        if e.is_Add:
            return sympy.Add(*map(delta, e.args))
        if e.is_Mul:
            head, tail = e.args[0], sympy.Mul(*e.args[1:])
            return delta(head) * at(tail, t) + at(head, s) * delta(tail)
        if isinstance(e, sympy.exp):
            return sympy.exp(at(e.args[0], s)) * expm1(delta(e.args[0]))
        if isinstance(e, expm1):
            return sympy.exp(at(e.args[0], s)) * expm1(delta(e.args[0]))
        if isinstance(e, sympy.log):
            return log1p(delta(e.args[0]) / at(e.args[0], s))
        if isinstance(e, log1p):
            return log1p(delta(e.args[0]) / (1 + at(e.args[0], s)))
        if isinstance(e, (sympy.cos, sympy.sin)):
            other, sign = (sympy.sin, -1) if isinstance(e, sympy.cos) else (sympy.cos, 1)
            middle = (at(e.args[0], t) + at(e.args[0], s)) / 2
            return 2 * sign * other(sympy.expand(middle)) * sympy.sin(delta(e.args[0]) / 2)
        if isinstance(e, decay) and not e.args[1].has(u):
            return decay(at(e.args[0], t), at(e.args[0], s), e.args[2])
        if e.is_Pow and e.exp == sympy.Rational(1, 2):
            return delta(e.base) / (at(e, t) + at(e, s))
        if e.is_Pow and (2 * e.exp).is_Integer and not e.exp.is_Integer and e.exp > 0:
            root, rest = sympy.sqrt(e.base), e.base ** (e.exp - sympy.Rational(1, 2))
            return delta(root) * at(rest, t) + at(root, s) * delta(rest)
        if e.is_Pow and e.exp.is_Integer and e.exp > 0:
            power = sympy.Add(*[at(e.base, t) ** i * at(e.base, s) ** (e.exp - 1 - i) for i in range(e.exp)])
            return delta(e.base) * power
        if e.is_Pow and (-e.exp).is_positive:
            return -delta(1 / e) / (at(1 / e, t) * at(1 / e, s))
        if isinstance(e, AppliedUndef) and e.args == (u,) and e.func in known:
            return known[e.func](t, s)
        raise NotImplementedError(f"no rule for the stable difference of {e}")

    return delta(f)
