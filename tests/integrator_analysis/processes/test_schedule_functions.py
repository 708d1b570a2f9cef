"""The functions that schedules and off-critical kernels are made of: in sympy, numpy, mpmath and as printed source."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import sympy
import torch
from mpmath import mpf

import integrator_analysis as ia
from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.special import MPMATH, NUMPY, Table, damped_moment, decay, decay_rate, expm1, log1p
from integrator_analysis.algebra.symbols import s, t, u
from integrator_analysis.codegen.printer import HELPERS, SourcePrinter
from integrator_analysis.codegen.templates import render
from integrator_analysis.processes import kernel, noise
from integrator_analysis.processes.equation import clock
from torch_backend.source import module_from_source

BETAS = Table("BETAS", [sympy.Rational(1, 10), sympy.Rational(1, 4), sympy.Rational(1, 20), sympy.Rational(1, 2)])
MOMENTS = [
    (1, 2.0, 0.3, 1.5),
    (2, 2.0, 0.3, 1.5),
    (1, 2.0, -9.0, 8.0),
    (2, 2.0, -9.0, 8.0),
    (2, 1.0, 1e-9, 0.1),
    (1, 1.0, -1e-18, 1e-6),
    (1, 5.0, -90.0, 9.0),
    (2, 0.0, -9.0, 29.9),
    (2, 5.0, 24.0, 29.0),
    (2, 18.0, 300.0, 8.0),
    (1, 0.0, -4.0, 3.0),
]


@pytest.mark.parametrize(("k", "c", "x", "b"), MOMENTS)
def test_damped_moment_is_its_integral(k: int, c: float, x: float, b: float) -> None:
    def integrand(r: mpf) -> mpf:
        q = mpmath.sqrt(mpf(x))
        return mpmath.re(mpmath.exp(-c * r) * (mpmath.sinh(q * r) / q if k == 1 else (mpmath.cosh(q * r) - 1) / x))

    with mpmath.workdps(60):
        # the integrand is entire: Gauss-Legendre needs a sixth of what tanh-sinh takes for the same digits
        exact = mpmath.quad(integrand, mpmath.linspace(0, b, 41), method="gauss-legendre")
        assert abs(MPMATH["damped_moment"](k, mpf(c), mpf(x), mpf(b)) / exact - 1) < mpf(10) ** -40
    assert float(NUMPY["damped_moment"](k, c, x, b)) == pytest.approx(float(exact), rel=1e-13)
    assert float(sympy.N(damped_moment(k, *map(sympy.Rational, (c, x, b))), 20)) == pytest.approx(float(exact))


@pytest.mark.parametrize("k", [1, 2])
def test_damped_moment_at_the_double_eigenvalue(k: int) -> None:
    """x = 0: int_0^b e^{-c r} r^k / k! dr, and the values at b = 0."""
    exact = mpmath.quad(lambda r: mpmath.exp(-2 * r) * r**k / mpmath.factorial(k), [0, 1.5])
    assert float(sympy.N(damped_moment(k, 2, 0, sympy.Rational(3, 2)), 20)) == pytest.approx(float(exact), rel=1e-14)
    for values in (NUMPY, MPMATH):
        assert float(values["damped_moment"](k, 2.0, 0.0, 1.5)) == pytest.approx(float(exact), rel=1e-14)
        assert float(values["damped_moment"](k, 2.0, -1.0, 0.0)) == 0.0
    assert damped_moment(k, 2, -1, 0) == 0


@pytest.mark.parametrize(("end", "start"), [(4, 0), (2.5, 0.25), (0.75, 0.5), (3, 1), (1, 3), (2.0, 1.999999)])
def test_decay_counts_the_time_spent_on_each_beta(end: float, start: float) -> None:
    grid = np.array([0.1, 0.25, 0.05, 0.5])
    clocks = [np.sum(-np.log1p(-grid) * np.clip(time - np.arange(4), 0, 1)) for time in (end, start)]
    expected = pytest.approx(clocks[0] - clocks[1], rel=1e-9)
    for backend in ("numpy", "mpmath"):
        (value,) = function([decay(t, s, BETAS)], (t, s), Definitions(), {}, backend)(end, start)
        assert float(value) == expected
    assert float(sympy.N(decay(sympy.Rational(end), sympy.Rational(start), BETAS), 20)) == expected


def test_decay_as_an_atom() -> None:
    assert decay(t, 0, BETAS).diff(t) == decay_rate(t, BETAS)
    assert decay(t, s, BETAS).diff(s) == -decay_rate(s, BETAS)
    assert decay(t, t, BETAS) == 0
    assert decay_rate(t, BETAS) * decay_rate(s, BETAS) == decay_rate(s, BETAS) * decay_rate(t, BETAS)
    assert str(decay(t, 0, BETAS)) == "decay(t, 0, BETAS)"
    assert "BETAS" in sympy.latex(decay(t, 0, BETAS))
    assert pickle.loads(pickle.dumps(BETAS)) == copy.deepcopy(BETAS) == Table("BETAS", BETAS.values)
    assert Table("BETAS", BETAS.values[:2]) != BETAS
    assert decay_rate(t, BETAS).diff(t) == 0
    rates = function([decay_rate(t, BETAS)], (t,), Definitions(), {})
    for time, beta in ((0.0, 0.1), (0.5, 0.1), (1.0, 0.1), (1.01, 0.25), (4.0, 0.5)):
        assert float(rates(time)[0]) == pytest.approx(-np.log1p(-beta), rel=1e-15)


@pytest.mark.parametrize(
    "f",
    [
        sympy.log(1 + u**2),
        log1p(3 * u),
        sympy.cos(3 * u + 1),
        sympy.sin(u**2),
        sympy.log(sympy.cos(u / 4)),
        decay(u, 0, BETAS),
        sympy.exp(-decay(u, 0, BETAS)),
    ],
    ids=str,
)
def test_differences_do_not_cancel(f: sympy.Expr) -> None:
    """f(t) - f(s) for t - s = 1e-10 in float64 against 50 digits, inside a segment of the table and across its ends."""
    stated = function([stable_difference(f, u, t, s)], (t, s), Definitions(), {})
    for end, start in ((1.5 + 1e-10, 1.5), (2.0 + 5e-11, 2.0 - 5e-11)):
        with mpmath.workdps(50):
            at = function([f], (u,), Definitions(), {}, "mpmath")
            exact = at(mpf(end))[0] - at(mpf(start))[0]
        assert float(stated(end, start)[0]) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize(
    ("expression", "arguments"),
    [
        *((damped_moment(k, s, u, t), (c, x, b)) for k, c, x, b in MOMENTS),
        (decay(t, s, BETAS) + decay_rate(t, BETAS), (0.0, 0.0, 3.7)),
        (decay(t, s, BETAS) - decay_rate(t, BETAS), (1.5, 0.0, 2.0)),
        (decay_rate(t, BETAS), (0.0, 0.0, 4.0)),
        (sympy.log(t) * sympy.cos(t) - log1p(t) * sympy.sin(s), (0.3, 0.0, 2.0)),
    ],
    ids=str,
)
def test_printed_source_gives_the_same_numbers(expression: sympy.Expr, arguments: tuple[float, ...]) -> None:
    (exact,) = function([expression], (s, u, t), Definitions(), {}, "mpmath")(*map(mpf, arguments))
    templates = {HELPERS[type(a).__name__] for a in expression.atoms(sympy.Function) if type(a).__name__ in HELPERS}
    if "_damped_moment" in templates:
        templates.add("_sqrt_functions")
    process = SimpleNamespace(tables=(BETAS,))
    parts = [render(f"{name.removeprefix('_')}.py.j2", process=process) for name in templates]
    for numbers in (frozenset(), {s, u, t}):
        printed = SourcePrinter(numbers).doprint(expression)
        text = "\n\n".join(["import math\nimport torch", *parts, f"def f(s, u, t):\n    return {printed}\n"])
        module = module_from_source(text, f"printed_{len(numbers)}")
        tensors = [torch.tensor([value], dtype=torch.float64) for value in arguments]
        value = module.f(*arguments) if numbers else module.f(*tensors).item()
        assert value == pytest.approx(float(exact), rel=1e-13, abs=1e-15)


def test_torch_gradients_at_removable_singularities() -> None:
    """Both branches of a guard get a safe argument: no nan in the gradient at x = 0."""
    text = "import torch\n\n" + render("sqrt_functions.py.j2")
    module = module_from_source(text, "printed_sqrt_functions")
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    (module._cosh_sqrt(x) + module._sinhc_sqrt(x)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_wrong_derivation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_KERNELS", {})  # nothing is known from before
    flow = ia.process("flow")
    with pytest.raises(ArithmeticError, match="clock"):
        _ = replace(flow, integrated=-2 * sympy.log(1 - t)).kernel
    with pytest.raises(ArithmeticError, match="clock"):
        _ = replace(flow, schedule=1 / (2 - t), integrated=-sympy.log(2 - t)).kernel
    with pytest.raises(ArithmeticError, match="stationary"):
        _ = replace(flow, stationary_covariance=sympy.Matrix([[2]])).kernel

    def doubled(*arguments: object) -> tuple[sympy.Matrix, dict]:
        matrix, moments = noise.integrated_noise(*arguments)
        return 2 * matrix, moments

    monkeypatch.setattr(kernel, "integrated_noise", doubled)
    for name in ("subvp", "cld", "vp_cosine"):
        with pytest.raises(ArithmeticError, match="Lyapunov"):
            _ = ia.process(name).kernel


def test_an_unknown_integrand_is_refused() -> None:
    flow, psld = ia.process("flow"), ia.process("psld")
    with pytest.raises(NotImplementedError, match="rate of the drift"):
        _ = replace(flow, diffusion_per_unit=sympy.Matrix([[-expm1(-2 * clock(t))]])).kernel
    with pytest.raises(NotImplementedError, match="single block"):
        _ = replace(psld, diffusion_per_unit=psld.diffusion_per_unit * sympy.exp(-clock(t))).kernel
