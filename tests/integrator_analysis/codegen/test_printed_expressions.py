"""Printed source means what the expression means: random expressions, evaluated as Python and by sympy."""

from __future__ import annotations

import ast
import math
from collections.abc import Set
from functools import partial

import mpmath
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.codegen.cfunctions import expm1

import integrator_analysis as ia
from integrator_analysis.algebra.special import cosh_sqrt, phi, sinhc_sqrt
from integrator_analysis.codegen.lower.coefficients import special_functions
from integrator_analysis.codegen.printer import SourcePrinter
from torch_backend.source import module_from_source

A, B, C = sympy.symbols("a b c", positive=True)
VALUES = {A: 0.37, B: 1.9, C: 2.6}
RATIONALS = st.one_of(
    st.builds(sympy.Rational, st.integers(-9, 9), st.integers(1, 7)),
    # of the size of one, from decimals with many digits: a tensor takes no whole number beyond 64 bits
    st.builds(sympy.Rational, st.integers(-(10**32), 10**32), st.just(10**32)),
)
ATOMS = st.one_of(st.sampled_from([A, B, C]), RATIONALS)


def grow(children: st.SearchStrategy) -> st.SearchStrategy:
    positive = children.map(lambda e: e**2 + A)
    return st.one_of(
        st.tuples(children, children).map(lambda p: p[0] + p[1]),
        st.tuples(children, children).map(lambda p: p[0] - p[1]),
        st.tuples(children, children).map(lambda p: p[0] * p[1]),
        st.tuples(children, positive).map(lambda p: p[0] / p[1]),
        st.tuples(positive, st.sampled_from([-3, -2, -1, 2, 3])).map(lambda p: p[0] ** p[1]),
        positive.map(sympy.sqrt),
        positive.map(lambda e: -1 / sympy.sqrt(e)),
        children.map(lambda e: sympy.exp(-(e**2) - A)),
        children.map(lambda e: expm1(-(e**2) / 3 - A)),
    )


SHALLOW = st.one_of(ATOMS, grow(ATOMS))
EXPRESSIONS = grow(st.one_of(SHALLOW, grow(SHALLOW)))
"""At most four operations deep: sympy evaluates powers of rationals, and nested ones have very many digits."""


@settings(max_examples=300)
@given(EXPRESSIONS)
def test_source_of_numbers_has_the_value_of_the_expression(expression: sympy.Expr) -> None:
    if expression.has(sympy.nan, sympy.zoo):
        return
    text = SourcePrinter(expression.free_symbols).doprint(expression)
    measured = eval(text, {"math": math}, {str(k): v for k, v in VALUES.items()})  # printed by this package
    exact = sympy.N(expression.subs({k: sympy.Rational(v) for k, v in VALUES.items()}), 30)
    scale = max(1.0, *(abs(float(sympy.N(a.subs(VALUES)))) for a in sympy.preorder_traversal(expression)))
    assert abs(measured - float(exact)) <= 1e-12 * scale


@settings(max_examples=60)
@given(EXPRESSIONS)
def test_source_of_tensors_has_the_value_of_the_expression(expression: sympy.Expr) -> None:
    free = expression.free_symbols
    if expression.has(sympy.nan, sympy.zoo) or not free:
        return
    text = SourcePrinter().doprint(expression)
    tensors = {str(k): torch.full((3,), v, dtype=torch.float64) for k, v in VALUES.items()}
    measured = eval(text, {"math": math, "torch": torch}, tensors)
    exact = float(sympy.N(expression.subs({k: sympy.Rational(v) for k, v in VALUES.items()}), 30))
    scale = max(1.0, *(abs(float(sympy.N(a.subs(VALUES)))) for a in sympy.preorder_traversal(expression)))
    assert measured.shape == (3,)
    assert float((measured - exact).abs().max()) <= 1e-12 * scale


@pytest.mark.parametrize(
    "expression",
    [
        sympy.Abs(A - B),
        sympy.sign(A - B),
        sympy.Max(A, B),
        sympy.Piecewise((A, A > B), (B, True)),
        A ** sympy.Rational(4, 3),
        A**B,
        sympy.pi * A,
        sympy.I * A,
        sympy.tan(A),
        sympy.Derivative(sympy.Function("f")(A), A),
        sympy.Float("0.1"),
        sympy.sqrt(A + sympy.Float("0.5")),
        sympy.nan,
    ],
    ids=str,
)
@pytest.mark.parametrize("numbers", [frozenset(), {A, B}])
def test_anything_else_is_refused(expression: sympy.Expr, numbers: Set[sympy.Symbol]) -> None:
    with pytest.raises(ValueError, match=r"no source|float"):
        SourcePrinter(numbers).doprint(expression)


def test_special_functions_bring_their_helpers() -> None:
    assert special_functions([phi(2, A), sympy.exp(A)]) == ("_phi",)
    assert special_functions([cosh_sqrt(A), sinhc_sqrt(B)]) == ("_sqrt_functions",)
    assert special_functions([sympy.exp(A)]) == ()


def test_generated_helpers_are_the_entire_functions_they_name() -> None:
    """_phi, _cosh_sqrt, _sinhc_sqrt of generated modules by their power series, where they switch and at 0."""
    module = module_from_source(ia.derive("psld/lambda-DDIM-II").source, "helpers_under_test")
    double = partial(torch.tensor, dtype=torch.float64)
    with mpmath.workdps(60):
        for z in (-20.0, -1.0000001, -0.9999999, 0.0, 1e-9, 0.9999999, 1.0000001, 16.0):
            for k in (1, 2, 3):
                exact = mpmath.nsum(
                    lambda j, k=k, z=z: mpmath.mpf(z) ** int(j) / mpmath.factorial(int(j) + k), [0, 200]
                )
                assert abs(float(module._phi(k, double(z))) / exact - 1) < 5e-15
        for x in (-30.0, -1e-9, 0.0, 1e-300, 1e-9, 25.0):
            even = mpmath.nsum(lambda j, x=x: mpmath.mpf(x) ** int(j) / mpmath.factorial(2 * int(j)), [0, 80])
            odd = mpmath.nsum(lambda j, x=x: mpmath.mpf(x) ** int(j) / mpmath.factorial(2 * int(j) + 1), [0, 80])
            assert abs(float(module._cosh_sqrt(double(x))) / even - 1) < 1e-14
            assert abs(float(module._sinhc_sqrt(double(x))) / odd - 1) < 1e-14


@pytest.mark.parametrize("spec", ["psld/RVV", "psld/ROBA", "psld/lambda-DDIM-II", "vp/EM", "vp/DDIM"])
def test_nothing_is_computed_and_thrown_away(spec: str) -> None:
    """Every name that a generated function assigns is read again: no dead line to review."""
    for function in (n for n in ast.walk(ast.parse(ia.derive(spec).source)) if isinstance(n, ast.FunctionDef)):
        names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
        stored = {n.id for n in names if isinstance(n.ctx, ast.Store)} - {"_"}
        loaded = {n.id for n in names if isinstance(n.ctx, ast.Load)}
        assert stored <= loaded, function.name


def test_an_evaluation_between_t_and_s_is_made_at_a_tabulated_time() -> None:
    module = ia.derive("vp/RK4").to_torch(dtype=torch.float64).module
    row = module.coefficients(0.8, 0.4)
    seen: list[float] = []

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(float(t))
        return z

    start, end = torch.tensor(0.8, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    module.step(torch.ones(1, 1, dtype=torch.float64), start, end, row, network)
    assert seen == pytest.approx([0.8, 0.6, 0.6, 0.4], rel=1e-15)
