"""Functions of two times in powers of h: linear flows, integrals, nodes, against closed forms and series by hand."""

from __future__ import annotations

from functools import partial

import pytest
import sympy

from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.expansion.jets import JetRing
from integrator_analysis.analysis.expansion.two_times import (
    FlowSeries,
    advance_between,
    find_node,
    integral,
    lagrange_rows,
    position_between,
)

T, S, H = sympy.symbols("t s h", positive=True)
F, G = sympy.Function("f"), sympy.Function("g")
ORDER = 4


def ring(*flows: LinearFlow, order: int = ORDER) -> JetRing:
    jets = JetRing(
        blocks=("x",), order=order, time=T, end=S, step=H, parameters=(),
        functions={"f": False, "g": False}, unknown=("e",), slopes=("f",),
    )  # fmt: skip
    for flow in flows:
        jets.rules |= FlowSeries(jets, flow).rules()
    return jets


def coefficients(jets: JetRing, series: Series, f: sympy.Expr, g: sympy.Expr) -> list[sympy.Expr]:
    """The coefficients of a series as functions of t, with ``f`` and ``g`` in the place of the ring's functions."""

    def put(kind: str, label: object) -> sympy.Expr:
        if kind == "function":
            name, order = label
            return sympy.diff({"f": f, "g": g}[name], T, order)
        if kind == "reciprocal slope":
            return 1 / sympy.diff(f, T)
        return T if kind == "time" else sympy.Symbol("unused")

    return [element.as_expr(*jets.symbols(put)) for element in series.coefficients]


def same(found: list[sympy.Expr], exact: sympy.Expr) -> bool:
    """Whether these are the Taylor coefficients in h of an expression in t and h."""
    wanted = sympy.series(exact, H, 0, len(found)).removeO()
    return all(sympy.simplify(c - wanted.coeff(H, n)) == 0 for n, c in enumerate(found))


def test_a_linear_flow_expands_as_the_solution_of_its_equation() -> None:
    """X' = f X - g in h at t - h, with f = 1 and g = t: X has a closed form to compare with."""
    flow = LinearFlow.named(("x",), sympy.Matrix([[F(T)]]), sympy.Matrix([[G(T)]]), 1)
    jets = ring(flow)
    found = coefficients(jets, jets.expand(flow.moments[0][0].func(T, S)), sympy.S.One, T)
    x = sympy.Function("x")
    assert same(found, sympy.dsolve(x(H).diff(H) - x(H) + (T - H), x(H), ics={x(0): 0}).rhs)


def test_a_matrix_flow_is_the_picard_series_of_its_equation() -> None:
    """dX/dh(t, t - h) = G(t - h) X - Q(t - h), X(t, t) = I: the first three coefficients by hand, non-commuting G."""
    g = sympy.Matrix([[F(T), 3], [1, T]])
    q = sympy.Matrix([[T**2, 0], [F(T), 1]])
    flow = LinearFlow.named(("x", "m"), g, q, 1)
    jets = ring(flow, order=2)
    gc, qc = (m.applyfunc(lambda v: v.replace(F, lambda a: sympy.exp(2 * a) / (1 + a))) for m in (g, q))
    first = gc - qc
    second = (gc * first - gc.diff(T) + qc.diff(T)) / 2
    for i in range(2):
        for j in range(2):
            entry = flow.entries[i, j].func(T, S) + flow.moments[0][i, j].func(T, S)
            found = coefficients(jets, jets.expand(entry), sympy.exp(2 * T) / (1 + T), sympy.S.One)
            expected = [sympy.Integer(i == j), first[i, j], second[i, j]]
            assert all(sympy.simplify(a - b) == 0 for a, b in zip(found, expected, strict=True))


def test_a_propagator_between_two_later_times_is_that_of_the_way_between_them() -> None:
    """z' = -f z with f = 1 / t: E(b, a) = a / b."""
    flow = LinearFlow.named(("x",), sympy.Matrix([[F(T)]]), sympy.Matrix([[G(T)]]), 0)
    jets = ring(flow)
    middle = (T + S) / 2
    found = jets.expand(flow.entries[0].func(middle, S))
    assert same(coefficients(jets, jets.normal(found), 1 / T, T), (T - H / 2) / (T - H))


def test_an_integral_and_an_advance_have_the_rules_that_they_are_given() -> None:
    jets = ring()
    area, advance = sympy.Function("area"), sympy.Function("advance")
    with pytest.raises(NotImplementedError, match="no series in h"):
        jets.expand(area(T, S))
    jets.rules |= {"area": partial(integral, jets, "g"), "advance": partial(advance_between, jets, F(T))}
    f, g = sympy.exp(T), sympy.cos(T)
    assert same(coefficients(jets, jets.expand(area(T, S)), f, g), sympy.sin(T) - sympy.sin(T - H))
    assert same(coefficients(jets, jets.expand(advance(T, S)), f, g), sympy.exp(T - H) - sympy.exp(T))


def test_a_node_lies_at_its_share_of_the_way_in_the_variable() -> None:
    """In the variable exp(t) the middle is log((exp(t) + exp(t - h)) / 2), and its position is 1/2."""
    jets = ring()
    offset = find_node(jets, F(T), sympy.Rational(1, 2), jets.constant(0), -jets.h)
    exact = sympy.log((1 + sympy.exp(-H)) / 2)
    assert same(coefficients(jets, offset, sympy.exp(T), T), exact)
    position = position_between(jets, F(T), offset, jets.constant(0), -jets.h)
    found = [sympy.simplify(c) for c in coefficients(jets, position, sympy.exp(T), T)]
    assert found[:ORDER] == [sympy.Rational(1, 2), *[0] * (ORDER - 1)]  # a quotient loses the last power


def test_lagrange_polynomials_are_one_at_their_own_position_and_zero_at_the_others() -> None:
    jets = ring()
    positions = [jets.constant(0), jets.constant(sympy.QQ(1, 2)) + jets.h, jets.constant(1)]
    for j, row in enumerate(lagrange_rows(jets, positions)):
        for m, x in enumerate(positions):
            total = sum((c * x**n for n, c in enumerate(row)), jets.constant(0))
            assert jets.normal(total) == jets.constant(int(j == m))


def test_the_spread_of_noise_that_reaches_position_through_momentum_has_its_closed_form() -> None:
    """z' = -[[0, -1], [0, 0]] z with unit noise in m: C = [[h^3/3, h^2/2], [h^2/2, h]], so h/2 and h^3/12 are left."""
    flow = LinearFlow.named(("x", "m"), sympy.Matrix([[0, -1], [0, 0]]), sympy.zeros(2, 2), 0)
    jets = ring(flow.with_spread(("x", "m"), sympy.diag(0, 1)))
    first, slope, second = (call.func(T, S) for call in flow.with_spread(("x", "m"), sympy.diag(0, 1)).spread)
    for call, exact in ((second, H), (first, H**3 / 12)):
        assert same(coefficients(jets, jets.expand(call), T, T), exact)
    assert abs(coefficients(jets, jets.expand(slope), T, T)[1]) == sympy.Rational(1, 2)
