"""The part of Sigma(t) that the noise makes: int_0^b E(b-r) D(r) E(b-r)^T dr, b = clock(t), without cancellation.

Knows three integrands: polynomials times exponentials (scalar and critically damped drifts), products of
cosh(sqrt(x) r) and sinh(sqrt(x) r)/sqrt(x) (two distinct eigenvalues), and on one block a D that is a sum of
exponentials of the clock. Knows no schedule: everything is a function of the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import sympy
from sympy.codegen.cfunctions import expm1

from integrator_analysis.algebra.matrices import is_zero
from integrator_analysis.algebra.special import cosh_sqrt, damped_moment, exp_moment
from integrator_analysis.algebra.symbols import t
from integrator_analysis.processes.equation import Equation, clock

__all__ = ["integrated_noise"]

Moments = dict[sympy.Function, sympy.Expr]
"""Named functions of t and what each stands for, in clock(t)."""


def integrated_noise(
    equation: Equation, propagator: sympy.Matrix, r: sympy.Symbol
) -> tuple[sympy.Matrix, Mapping[sympy.Function, sympy.Expr]]:
    """The integral for ``propagator`` = exp(N r) in named moments, and the moments.

    Raises NotImplementedError for an integrand of none of the three kinds.
    """
    moments: Moments = {}
    if equation.diffusion_per_unit.has(clock):
        return sympy.Matrix([[_integral_of_exponentials(equation)]]), moments
    if propagator.has(cosh_sqrt):
        return _damped_integral(equation, moments), moments
    integrand = propagator * equation.diffusion_per_unit * propagator.T
    return integrand.applyfunc(lambda entry: _sum_of_moments(entry, r, moments)), moments


def _name_moment(body: sympy.Expr, moments: Moments) -> sympy.Expr:
    """The call of the moment that stands for ``body``, a new one if none does."""
    for name, known in moments.items():
        if known == body:
            return name(t)
    name = sympy.Function(f"moment_{len(moments)}")
    moments[name] = body
    return name(t)


def _sum_of_moments(entry: sympy.Expr, r: sympy.Symbol, moments: Moments) -> sympy.Expr:
    """int_0^clock(t) of a sum of (polynomial in r) * exp(-a r) dr, in named moments int r^k e^{-a r} dr."""
    collected: dict[tuple[sympy.Expr, int], sympy.Expr] = {}
    for term in sympy.Add.make_args(sympy.expand(sympy.powsimp(sympy.expand(entry)))):
        constant, rest = term.as_independent(r)
        exponent = sum((f.args[0] for f in sympy.Mul.make_args(rest) if isinstance(f, sympy.exp)), sympy.S.Zero)
        polynomial = sympy.expand(rest * sympy.exp(-exponent))
        power = sympy.degree(polynomial, r) if polynomial.has(r) else 0
        rate = sympy.factor_terms(sympy.cancel(-exponent / r))
        if rate.has(r) or polynomial != r**power:
            raise NotImplementedError(f"{term} is not a polynomial times an exponential")
        collected[rate, int(power)] = collected.get((rate, int(power)), sympy.S.Zero) + constant
    fading = _fading_sum(collected)
    if fading is not None:
        return fading
    total = sympy.S.Zero
    # A fixed order: the names of the moments, and with them the generated source, depend on it.
    for (rate, power), constant in sorted(collected.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        total += sympy.factor(constant) * _name_moment(exp_moment(power, rate, clock(t)), moments)
    return total


def _fading_sum(collected: Mapping[tuple[sympy.Expr, int], sympy.Expr]) -> sympy.Expr | None:
    """The sum of constant * int_0^b r^k e^{-a r} dr, b = clock(t), where it tends to 0 for b -> infinity; else None.

    The antiderivative is -Q(b) e^{-a b} with a polynomial Q; the limit is Q(0). Moments, which tend to constants, would
    cancel where b is large.
    """
    rates = {rate for rate, _ in collected}
    if len(rates) != 1 or 0 in rates:
        return None
    (a,), b = rates, clock(t)
    powers, constants = range(1 + max(power for _, power in collected)), collected.items()
    q = [sum(c * sympy.ff(k, k - j) / a ** (k - j + 1) for (_, k), c in constants if k >= j) for j in powers]
    if not is_zero(q[0]):
        return None
    return -sympy.Add(*[sympy.factor(q[j]) * b**j for j in powers]) * sympy.exp(-a * b)


def _damped_integral(equation: Equation, moments: Moments) -> sympy.Matrix:
    """Off critical damping, N = tau I + R with R^2 = x I, so E(r) = e^{tau r} (cosh(sqrt(x) r) I + sinh(.)/sqrt(x) R).

    E D E^T = e^{-c r} [D + (R D + D R^T) g_1 + (2 R D R^T + 2 x D) g_2], c = -2 tau, with g_1 and g_2 those of
    damped_moment at 4 x: the double angle formulas, and cosh^2 = 1 + sinh^2.
    """
    n, d, b = equation.drift_per_unit, equation.diffusion_per_unit, clock(t)
    tau = n.trace() / 2
    rest = n - tau * sympy.eye(2)
    x = rest[0, 0] ** 2 + rest[0, 1] * rest[1, 0]
    c, four_x = sympy.factor_terms(-2 * tau), sympy.expand(4 * x)
    plain = _name_moment(exp_moment(0, c, b), moments)
    odd, even = (_name_moment(damped_moment(k, c, four_x, b), moments) for k in (1, 2))
    first, second = rest * d + d * rest.T, 2 * rest * d * rest.T + 2 * x * d
    return plain * d + odd * first.applyfunc(sympy.factor) + even * second.applyfunc(sympy.factor)


def _integral_of_exponentials(equation: Equation) -> sympy.Expr:
    """One block, D a sum of exponentials: the integral is a polynomial in Y = e^{-g b}; its factors 1 - Y are expm1."""
    b = sympy.Symbol("b", positive=True)
    if len(equation.blocks) != 1:
        raise NotImplementedError(
            f"process {equation.name}: a diffusion that depends on the clock needs a single block"
        )
    fade = -2 * equation.drift_per_unit[0, 0]
    exponents, total = {fade}, sympy.S.Zero
    diffusion = equation.diffusion_per_unit[0, 0].replace(expm1, lambda z: sympy.exp(z) - 1).xreplace({clock(t): b})
    for term in sympy.Add.make_args(sympy.expand(diffusion)):
        constant, rest = term.as_independent(b)
        a = sympy.S.Zero if rest == 1 else sympy.cancel(-sympy.log(rest) / b)
        if a == fade or not a.is_Rational:
            raise NotImplementedError(f"{term} is not an exponential of the clock, or one at the rate of the drift")
        exponents.add(a)
        total += constant * (sympy.exp(-a * b) - sympy.exp(-fade * b)) / (fade - a)
    # In Y = e^{-unit b} the integral is a polynomial. Its factor 1 - Y would cancel near b = 0; as expm1 it does not.
    unit = reduce(sympy.gcd, exponents)
    y = sympy.Dummy("Y")
    in_y = sympy.expand(total).replace(sympy.exp, lambda exponent: y ** sympy.cancel(-exponent / (b * unit)))
    constant, factors = sympy.factor_list(in_y, y)
    power = -unit * clock(t)
    for factor, multiplicity in factors:
        value = expm1(power) if factor == y - 1 else factor.subs(y, sympy.exp(power))
        constant *= value**multiplicity
    return constant
