"""Jet rings with a concrete function in place of the unknown one, against sympy's and by-hand Taylor expansions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import sympy
from sympy import QQ
from sympy.polys.rings import PolyElement, ring

from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.expansion.calculus import differentiate, expectation, observable_at
from integrator_analysis.analysis.expansion.jets import JetRing, multi_indices

T, S, H = sympy.symbols("t s h", positive=True)
X, M, A = sympy.symbols("x m a", positive=True)
POINT = {X: sympy.Rational(2, 5), M: sympy.Rational(-3, 7), T: sympy.Rational(1, 3), A: sympy.Rational(5, 2)}


def jets(order: int, **more: object) -> JetRing:
    settings: dict = {
        "blocks": ("x", "m"), "order": order, "time": T, "end": S, "step": H, "parameters": (A,),
        "functions": {"f": False, "c": True}, "unknown": ("s_x", "s_m"), "observable": "", "noises": (),
    }  # fmt: skip
    return JetRing(**(settings | more))


FIELD = {"s_x": sympy.sin(X + 2 * M) * sympy.exp(T), "s_m": X**2 * M + sympy.cos(T * X) / (1 + M**2)}
OBSERVABLE = sympy.exp(X / 2) * sympy.cos(M + X)
FUNCTIONS = {"f": sympy.exp(2 * T) / (1 + T), "c": sympy.Rational(7, 3)}


def number(kind: str, label: object) -> sympy.Expr:
    """The value at POINT of a jet generator, with the concrete functions in place of the unknown ones."""
    symbols = {"x": X, "m": M}
    if kind == "time":
        return POINT[T]
    if kind == "state":
        return POINT[symbols[label]]
    if kind in ("parameter", "reciprocal"):
        return POINT[label] if kind == "parameter" else 1 / POINT[label]
    if kind == "function":
        name, order = label
        return sympy.diff(FUNCTIONS[name], T, order).subs(POINT)
    if kind == "unknown":
        component, index = label
        return derivative(FIELD[component], index, (X, M, T)).subs(POINT)
    if kind == "observable":
        return derivative(OBSERVABLE, label, (X, M)).subs(POINT)
    raise KeyError(kind)


def derivative(expression: sympy.Expr, index: tuple[int, ...], variables: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    for variable, times in zip(variables, index, strict=True):
        expression = sympy.diff(expression, variable, times)
    return expression


def value(jet_ring: JetRing, element: PolyElement) -> float:
    """An element of the ring at POINT; only the generators that occur are evaluated."""
    total = 0.0
    for exponents, coefficient in element.terms():
        term = float(coefficient)
        for n, power in enumerate(exponents):
            if power:
                term *= float(number(*jet_ring.keys[n])) ** power
        total += term
    return total


def taylor(expression: sympy.Expr, order: int) -> list[float]:
    """Taylor coefficients in h at 0 of an expression in h, by differentiation."""
    return [float(sympy.N(sympy.diff(expression, H, n).subs(H, 0), 25)) / math.factorial(n) for n in range(order + 1)]


# expansion
@pytest.mark.parametrize("component", ["s_x", "s_m"])
def test_an_unknown_field_at_a_moved_point_is_its_taylor_series(component: str) -> None:
    """x, m and t all move with h, so every mixed derivative to third order enters."""
    r = jets(3)
    h = r.h
    state = {
        "x": r.series(r["state", "x"]) + h.scale(r.ring(2)) + h * h,
        "m": r.series(r["state", "m"]) - h.scale(r["state", "x"]),
    }
    series = r.unknown_at(state, -h)[component]
    moved = {X: POINT[X] + 2 * H + H**2, M: POINT[M] - POINT[X] * H, T: POINT[T] - H}
    expected = taylor(FIELD[component].subs(moved, simultaneous=True), 3)
    assert [value(r, c) for c in series.coefficients] == pytest.approx(expected, rel=1e-13, abs=0)


def test_an_observable_is_expanded_in_the_state_alone() -> None:
    r = jets(3, observable="obs")
    state = {"x": r.series(r["state", "x"]) + r.h, "m": r.series(r["state", "m"]) - r.h * r.h}
    expected = taylor(OBSERVABLE.subs({X: POINT[X] + H, M: POINT[M] - H**2}, simultaneous=True), 3)
    measured = [value(r, c) for c in observable_at(r, state).coefficients]
    assert measured == pytest.approx(expected, rel=1e-13, abs=0)


F, C = sympy.Function("f"), sympy.Function("c")


@pytest.mark.parametrize(
    "expression",
    [
        F(T) * F(S),
        H**2 * F(S) ** 3 / A,
        sympy.exp(-A * H * F(S)) * (T + S),
        C(T) * C(S) * S**2 + sympy.Rational(1, 7),
        F((T + S) / 2),
        (F(S) - F(T)) / A**3,
    ],
    ids=str,
)
def test_coefficients_at_both_ends_expand_as_sympy_does(expression: sympy.Expr) -> None:
    r = jets(4)
    concrete = expression.replace(F, lambda a: FUNCTIONS["f"].subs(T, a)).replace(C, lambda _: FUNCTIONS["c"])
    expected = taylor(concrete.subs(S, T - H).subs(POINT), 4)
    measured = [value(r, c) for c in r.expand(expression).coefficients]
    assert measured == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("expression", [sympy.sqrt(H), 1 / F(T), sympy.sin(T), sympy.Float(0.5), sympy.Symbol("other")])
def test_what_has_no_rule_is_refused(expression: sympy.Expr) -> None:
    with pytest.raises(NotImplementedError, match="no series in h"):
        jets(2).expand(expression)


# calculus
@pytest.mark.parametrize("variable", ["x", "m", None])
def test_differentiation_in_the_ring_is_differentiation(variable: str | None) -> None:
    r = jets(3, observable="obs")
    key = ("unknown", ("s_m", (1, 0, 0)))
    element = (
        r["unknown", ("s_x", (0, 1, 0))] * r[key] ** 2 * r["state", "x"]
        + r["function", ("f", 1)] * r["time", "t"] * r["function", ("c", 0)]
        + r["observable", (1, 1)] * r["parameter", A]
        + r["state", "m"] ** 3
    )
    concrete = (
        sympy.diff(FIELD["s_x"], M) * sympy.diff(FIELD["s_m"], X) ** 2 * X
        + sympy.diff(FUNCTIONS["f"], T) * T * FUNCTIONS["c"]
        + sympy.diff(OBSERVABLE, X, M) * A
        + M**3
    )
    expected = sympy.diff(concrete, {"x": X, "m": M, None: T}[variable]).subs(POINT)
    assert value(r, differentiate(r, element, variable)) == pytest.approx(float(expected), rel=1e-13, abs=0)


def test_expectations_are_gaussian_moments() -> None:
    """With h = g^2, E exp(a w) for w ~ N(0, v h) has the Taylor coefficients of exp(a^2 v h / 2)."""
    r = jets(2, noises=("w", "v"), unknown=())
    w = r.series(r["noise", "w"]).shift(1)
    series = (w.scale(r.ring(3))).compose_exp()
    variances = {"w": r.constant(QQ(5, 2)), "v": r.constant(1)}
    expected = taylor(sympy.exp(sympy.Rational(9 * 5, 4) * H), 2)
    measured = [value(r, c) for c in expectation(r, series, variances).coefficients[::2]]
    assert measured == pytest.approx(expected, rel=1e-14)
    independent = w * w * (r.series(r["noise", "v"]).shift(1) ** 2)
    assert value(r, expectation(r, independent, variances).coefficients[4]) == pytest.approx(2.5)
    assert not any(expectation(r, w, variances).coefficients)


def test_reduction_finds_hidden_zeros_and_only_those() -> None:
    r = jets(1)
    a, inverse, x = r["parameter", A], r["reciprocal", A], r["state", "x"]
    assert not r.reduce(a * inverse * x - x)
    assert not r.reduce(a**3 * inverse**2 - a)
    assert r.reduce(a * inverse + 1) == 2
    assert r.reduce(a - inverse) != 0


def test_multi_indices_are_all_and_in_order() -> None:
    found = multi_indices(3, 4)
    assert len(found) == len(set(found)) == math.comb(3 + 4, 4)
    assert [sum(i) for i in found] == sorted(sum(i) for i in found)


# series
@pytest.fixture
def p() -> Callable[..., Series]:
    base, _ = ring("q", QQ)
    return lambda *c: Series.of([base(v) for v in c], 4)


def listed(series: Series) -> list:
    return [sympy.Rational(str(c.coeff(1))) for c in series.coefficients]


def test_series_arithmetic_is_that_of_polynomials_cut(p: Callable[..., Series]) -> None:
    a, b = p(1, 2, 0, -3), p(0, 1, QQ(1, 2), 4, 5)
    g = sympy.Symbol("g")
    pa, pb = (sum(c * g**n for n, c in enumerate(listed(v))) for v in (a, b))
    for ours, theirs in [
        (a * b, pa * pb), (a - b, pa - pb), (-a, -pa), (a**3, pa**3), (a**0, 1), (b.shift(2), pb * g**2),
        (b.compose_exp(), sympy.series(sympy.exp(pb), g, 0, 5).removeO()),
    ]:  # fmt: skip
        polynomial = sympy.Poly(sympy.expand(theirs), g)
        assert listed(ours) == [polynomial.coeff_monomial(g**n) for n in range(5)]


def test_series_divide_and_exponential_refuse_a_constant_term(p: Callable[..., Series]) -> None:
    assert listed(p(0, 0, 3, 1).divide(2)) == [3, 1, 0]
    with pytest.raises(ArithmeticError, match="does not vanish"):
        p(0, 1).divide(2)
    with pytest.raises(ArithmeticError, match="vanishes at 0"):
        p(1, 1).compose_exp()
