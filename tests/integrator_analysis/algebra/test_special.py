"""Derivative rules of the special functions, against central differences of their values in 60 digits."""

from __future__ import annotations

import pytest
import sympy

from integrator_analysis.algebra.special import cosh_sqrt, damped_moment, phi, sinhc_sqrt

x = sympy.Symbol("x")
CASES = {
    "phi": (phi(2, x), 0.7),
    "cosh_sqrt": (cosh_sqrt(x), -1.3),
    "sinhc_sqrt": (sinhc_sqrt(x), 1.3),
    "damped_moment, overdamped": (damped_moment(1, sympy.Rational(1, 3), sympy.Rational(1, 4), x), 0.7),
    "damped_moment, underdamped": (damped_moment(2, sympy.Rational(1, 3), sympy.Rational(-5, 4), x), 0.7),
}


@pytest.mark.parametrize("name", CASES)
def test_derivative_is_the_limit_of_differences(name: str) -> None:
    expression, at = CASES[name]
    point, step = sympy.Float(at, 60), sympy.Float("1e-20", 60)
    ends = [expression.subs(x, point + sign * step).evalf(60) for sign in (1, -1)]
    due = (ends[0] - ends[1]) / (2 * step)
    assert abs(expression.diff(x).subs(x, point).evalf(60) - due) < 1e-30
