"""Special functions, stable differences, 2 x 2 exponentials and jets against mpmath and sympy's own series."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.matrices import commutes_with_integral, exponential
from integrator_analysis.algebra.special import MPMATH, NUMPY, exp_moment, phi

U, T, S = sympy.symbols("u t s", positive=True)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("z", [-30.0, -1.0, -0.999, -1e-8, 0.0, 1e-300, 1e-8, 0.999, 1.0, 5.0])
def test_phi_is_its_defining_integral(k: int, z: float) -> None:
    with mpmath.workdps(40):
        exact = mpmath.quad(lambda u: mpmath.exp((1 - u) * z) * u ** (k - 1) / mpmath.factorial(k - 1), [0, 1])
    assert float(NUMPY["phi"](k, np.array(z))) == pytest.approx(float(exact), rel=2e-14)
    assert float(MPMATH["phi"](k, mpmath.mpf(z))) == pytest.approx(float(exact), rel=1e-15)


def test_phi_derivative() -> None:
    z = sympy.Symbol("z")
    for k in (1, 2, 3):
        value = sympy.N(sympy.diff(phi(k, z), z).subs(z, sympy.Rational(7, 5)), 30)
        with mpmath.workdps(40):
            expected = mpmath.diff(lambda v, k=k: MPMATH["phi"](k, v), mpmath.mpf("1.4"))
        assert float(value) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("b", [1e-9, 0.3, 20.0])
def test_exponential_moments(k: int, b: float) -> None:
    expression = sympy.lambdify([U], exp_moment(k, sympy.Rational(3, 2), U), modules=[NUMPY, "numpy"])
    with mpmath.workdps(40):
        points = [0, b] if b < 1 else [0, 1, b / 2, b]
        exact = mpmath.quad(lambda r: r**k * mpmath.exp(-mpmath.mpf("1.5") * r), points)
    assert float(expression(b)) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize(
    "f",
    [
        U**3 - 2 * U,
        sympy.exp(-(U**2)),
        sympy.sqrt(1 + U),
        1 / (1 + U),
        (1 + U) ** sympy.Rational(-1, 2),
        sympy.exp(U) * sympy.sqrt(U),
        (1 + sympy.exp(U)) ** 2,
    ],
    ids=str,
)
def test_stable_difference_keeps_its_digits(f: sympy.Expr) -> None:
    difference = sympy.lambdify([T, S], stable_difference(f, U, T, S), modules=[NUMPY, "numpy"])
    exact = sympy.lambdify([U], f, modules=[MPMATH, "mpmath"])
    for t, s in [(0.7, 0.2), (0.7, 0.7 - 2.0**-30), (0.5, 0.5 - 2.0**-45)]:
        with mpmath.workdps(50):
            expected = exact(mpmath.mpf(t)) - exact(mpmath.mpf(s))
        assert float(difference(t, s)) == pytest.approx(float(expected), rel=1e-14)


def test_stable_difference_refuses_what_it_does_not_know() -> None:
    with pytest.raises(NotImplementedError, match="no rule"):
        stable_difference(sympy.gamma(U), U, T, S)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_exponential_of_any_two_by_two(entries: list[float]) -> None:
    symbols = sympy.symbols("a b c d")
    table = sympy.lambdify(symbols, list(exponential(sympy.Matrix(2, 2, symbols))), modules=[NUMPY, "numpy"])
    with mpmath.workdps(40):
        exact = np.array(mpmath.expm(mpmath.matrix(2, 2) + mpmath.matrix([entries[:2], entries[2:]])).tolist()).astype(
            float
        )
    assert np.array(table(*entries), dtype=float).reshape(2, 2) == pytest.approx(exact, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("gap", [0.0, 1e-20, -1e-20, 1e-9, -1e-9, 1e-3, -1e-3])
def test_exponential_at_and_near_a_double_eigenvalue(gap: float) -> None:
    symbols = sympy.symbols("a b c d")
    table = sympy.lambdify(symbols, list(exponential(sympy.Matrix(2, 2, symbols))), modules=[NUMPY, "numpy"])
    entries = [-1.0, 1.0, gap, -1.0]
    with mpmath.workdps(60):
        root = mpmath.sqrt(mpmath.mpf(gap))
        even = mpmath.re(mpmath.cosh(root))
        odd = mpmath.mpf(1) if gap == 0 else mpmath.re(mpmath.sinh(root) / root)
        exact = [float(mpmath.exp(-1) * v) for v in (even, odd, gap * odd, even)]
    assert [float(v) for v in table(*entries)] == pytest.approx(exact, rel=1e-15)


def test_commuting_families_are_told_apart() -> None:
    f = sympy.Function("f")(T)
    n = sympy.Matrix([[1, 2], [3, 4]])
    assert commutes_with_integral(f * n, T)
    assert commutes_with_integral(f * n + sympy.eye(2) * T, T)
    assert not commutes_with_integral(f * n + sympy.ones(2, 2), T)
