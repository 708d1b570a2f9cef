"""Relative accuracy of differences and special functions where the textbook formula cancels; errors are formed here.

pytest.approx with rel alone still allows an absolute error of 1e-12, which is more than these values.
"""

from __future__ import annotations

import math

import mpmath
import pytest
import sympy
from sympy.codegen.cfunctions import expm1

from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.matrices import exponential
from integrator_analysis.algebra.special import NUMPY, cosh_sqrt, exp_moment, phi, sinhc_sqrt

U, T, S = sympy.symbols("u t s", positive=True)
CLOCK = sympy.Function("clock")


def relative(measured: object, exact: mpmath.mpf) -> float:
    return float(abs(mpmath.mpf(float(measured)) - exact) / abs(exact))


def exact_difference(f: sympy.Expr, t: float, s: float) -> mpmath.mpf:
    """By sympy in 80 digits, at the floats given: no rule of the package takes part."""
    at = [sympy.N(f.subs(U, sympy.Rational(v)), 80) for v in (t, s)]
    with mpmath.workdps(80):
        return (at[0] - at[1])._to_mpmath(270)


RULES = {
    "symbol": U,
    "polynomial": 3 * U**4 - U**2 + 5,
    "product": (1 + U**2) * sympy.exp(U) * sympy.sqrt(U),
    "exponential": sympy.exp(-3 * U**2),
    "exponential minus one": expm1(2 * U),
    "square root": sympy.sqrt(1 + U**3),
    "power": (1 + sympy.exp(U)) ** 4,
    "reciprocal": 1 / (1 + U) ** 2,
    "reciprocal root": 1 / sympy.sqrt(2 + U),
    "constant factor": sympy.Rational(7, 3) * sympy.exp(U) + 11,
}


@pytest.mark.parametrize("f", RULES.values(), ids=RULES)
@pytest.mark.parametrize(("t", "s"), [(0.5, 0.5 - 1e-9), (0.7, 0.7 - 1e-14), (1e-3, 1e-3 - 1e-12), (0.9, 0.1)])
def test_each_rule_keeps_its_digits(f: sympy.Expr, t: float, s: float) -> None:
    difference = sympy.lambdify([T, S], stable_difference(f, U, T, S), modules=[NUMPY, "numpy"])
    with mpmath.workdps(40):
        assert relative(difference(t, s), exact_difference(f, t, s)) < 2e-15


def test_a_known_difference_is_used_for_a_named_function() -> None:
    """sqrt(1 + clock(u)) with clock(u) = u^2 given through its difference (t - s)(t + s)."""
    known = {CLOCK: lambda a, b: (a - b) * (a + b)}
    f = sympy.sqrt(1 + CLOCK(U)) * sympy.exp(-CLOCK(U))
    stable = stable_difference(f, U, T, S, known).replace(CLOCK, lambda a: a**2)
    t, s = 0.8, 0.8 - 1e-10
    with mpmath.workdps(40):
        measured = sympy.lambdify([T, S], stable, modules=[NUMPY, "numpy"])(t, s)
        assert relative(measured, exact_difference(f.replace(CLOCK, lambda a: a**2), t, s)) < 5e-15


@pytest.mark.parametrize("f", [sympy.tan(U), sympy.atan(U), CLOCK(U), U**U, CLOCK(2 * U)])
def test_without_a_rule_there_is_no_silent_subtraction(f: sympy.Expr) -> None:
    with pytest.raises(NotImplementedError, match="no rule for the stable difference"):
        stable_difference(f, U, T, S, {sympy.Function("other"): lambda a, b: a - b})


@pytest.mark.parametrize("power", [sympy.Rational(3, 2), sympy.Rational(-3, 2)])
def test_half_integer_powers(power: sympy.Rational) -> None:
    assert stable_difference(U**power, U, T, S).subs({T: 4, S: 1}) == 4**power - 1


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("z", [-40.0, -1.0000001, -0.9999999, 1e-3, 1.0000001, 30.0])
def test_phi_is_the_tail_of_the_exponential_series(k: int, z: float) -> None:
    """phi_k(z) = sum_j z^j/(j + k)!, in numpy, in sympy's evaluation, and phi_k' = phi_k - k phi_{k+1}."""
    with mpmath.workdps(60):
        exact = mpmath.nsum(lambda j: mpmath.mpf(z) ** int(j) / mpmath.factorial(int(j) + k), [0, 250])
        assert relative(NUMPY["phi"](k, z), exact) < 5e-15
        symbolic = sympy.N(phi(k, sympy.Rational(z)), 40)._to_mpmath(150)
        assert abs(symbolic / exact - 1) < 1e-35
        # d/dz term by term
        slope = mpmath.nsum(
            lambda j: (int(j) + 1) * mpmath.mpf(z) ** int(j) / mpmath.factorial(int(j) + k + 1), [0, 250]
        )
    x = sympy.Symbol("x")
    derivative = sympy.lambdify([x], sympy.diff(phi(k, x), x), modules=[NUMPY, "numpy"])(z)
    # The identity subtracts numbers of size phi: for z = -40 that costs two digits.
    assert derivative == pytest.approx(float(slope), rel=1e-12, abs=0)


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("b", [1e-12, 1e-9, 1e-4, 0.5, 8.0])
def test_moments_of_a_short_interval_keep_their_digits(k: int, b: float) -> None:
    """int_0^b r^k e^{-a r} dr = b^{k+1} sum_j (-a b)^j / (j! (j + k + 1))."""
    rate = sympy.Rational(201, 100)
    measured = sympy.lambdify([U], exp_moment(k, rate, U), modules=[NUMPY, "numpy"])(b)
    with mpmath.workdps(60):
        x = -mpmath.mpf("2.01") * mpmath.mpf(b)
        terms = mpmath.nsum(lambda j: x ** int(j) / (mpmath.factorial(int(j)) * (int(j) + k + 1)), [0, 200])
        assert relative(measured, mpmath.mpf(b) ** (k + 1) * terms) < 1e-14


def test_even_and_odd_parts_on_both_sides_of_zero() -> None:
    """cosh(sqrt(x)) and sinh(sqrt(x))/sqrt(x) as power series in x, and their derivatives."""
    for x in (-9.0, -1e-12, 1e-30, 1e-6, 4.0):
        with mpmath.workdps(50):
            even = mpmath.nsum(lambda j, x=x: mpmath.mpf(x) ** int(j) / mpmath.factorial(2 * int(j)), [0, 60])
            odd = mpmath.nsum(lambda j, x=x: mpmath.mpf(x) ** int(j) / mpmath.factorial(2 * int(j) + 1), [0, 60])
            assert relative(NUMPY["cosh_sqrt"](x), even) < 1e-15
            assert relative(NUMPY["sinhc_sqrt"](x), odd) < 1e-14
    y = sympy.Symbol("y")
    assert sympy.diff(cosh_sqrt(y), y) == sinhc_sqrt(y) / 2
    assert (cosh_sqrt(0), sinhc_sqrt(0)) == (1, 1)


@pytest.mark.parametrize(
    "entries",
    [
        (-0.02, 4.0, -1.0, -4.02),  # critically damped: 4 = (4.02 - 0.02)^2 / 4, a double eigenvalue
        (-0.02, 4.0 + 1e-10, -1.0, -4.02),
        (-0.02, 4.0 - 1e-10, -1.0, -4.02),
        (0.3, 5.0, -7.0, -0.2),  # oscillating
        (1.5, 2.0, 0.5, -3.0),  # two real eigenvalues
        (0.0, 0.0, 0.0, 0.0),
    ],
)
def test_two_by_two_exponentials_entry_by_entry(entries: tuple[float, ...]) -> None:
    symbols = sympy.symbols("a b c d")
    closed = sympy.lambdify(symbols, list(exponential(sympy.Matrix(2, 2, symbols))), modules=[NUMPY, "numpy"])
    with mpmath.workdps(50):
        matrix = mpmath.matrix(2, 2)
        for n, e in enumerate(entries):
            matrix[n // 2, n % 2] = mpmath.mpf(e)
        power, total = mpmath.eye(2), mpmath.eye(2)
        for n in range(1, 120):
            power = power * matrix / n
            total = total + power
        size = max(abs(v) for v in total)
        for measured, exact in zip(closed(*entries), total, strict=True):
            assert float(abs(mpmath.mpf(float(measured)) - exact) / size) < 5e-15


def test_symbolic_double_eigenvalue_needs_no_hyperbolic_functions() -> None:
    """With the relation of critical damping the exponential is e^tau (I + nilpotent), which the entries alone hide."""
    g, n, mass, b = sympy.symbols("Gamma nu M b", positive=True)
    drift = sympy.Matrix([[-g, 1 / mass], [-1, -n]]) * b / 2
    critical = exponential(drift, {mass: 4 / (g - n) ** 2})
    assert not critical.has(cosh_sqrt, sinhc_sqrt)
    values = {g: sympy.Rational(1, 50), n: sympy.Rational(201, 50), mass: sympy.Rational(1, 4)}
    slope = critical.diff(b) - (drift / b) * critical
    assert (slope.subs(values)).applyfunc(sympy.simplify) == sympy.zeros(2, 2)
    assert exponential(drift).has(cosh_sqrt)


def test_three_by_three_is_refused_and_one_by_one_is_scalar() -> None:
    with pytest.raises(NotImplementedError, match="3 x 3"):
        exponential(sympy.eye(3))
    assert exponential(sympy.Matrix([[sympy.Integer(2)]]))[0, 0] == sympy.exp(2)
    assert math.isclose(float(exponential(sympy.Matrix([[sympy.Integer(2)]]))[0, 0]), math.exp(2))
