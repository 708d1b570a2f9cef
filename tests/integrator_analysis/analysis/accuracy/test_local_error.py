"""Derived constants against one-step errors in high precision, for a score that is a small random network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath
import numpy as np
import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import s as end
from integrator_analysis.algebra.symbols import t as start
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.program.statements import Block, Evaluate, Noise, Output

Vector = list[mpmath.mpf]


def tanh_network(k: int, seed: int) -> Callable[[Sequence[mpmath.mpf], mpmath.mpf], Vector]:
    """k outputs of a two-layer network of (z, t): smooth, every mixed derivative non-zero."""
    rng = np.random.default_rng(seed)
    first, bias, second = rng.normal(size=(4, k + 1)), rng.normal(size=4), rng.normal(size=(k, 4))

    def field(z: Sequence[mpmath.mpf], time: mpmath.mpf) -> Vector:
        hidden = [
            mpmath.tanh(sum(mpmath.mpf(w) * v for w, v in zip(row, [*z, time], strict=True)) + mpmath.mpf(b))
            for row, b in zip(first, bias, strict=True)
        ]
        return [sum(mpmath.mpf(w) * v for w, v in zip(row, hidden, strict=True)) for row in second]

    return field


def run_step(
    i: ia.Integrator, table: CoefficientTable, field: Callable, z: Vector, t: mpmath.mpf, s: mpmath.mpf
) -> Vector:
    """One step of the program in mpmath, with eps = -L^T score where the unknown field is the score."""
    executed = table.program
    values = dict(zip(table.names, table(t, s), strict=True))
    state = dict(zip(i.program.blocks, z, strict=True))
    outputs: dict[tuple[str, str], mpmath.mpf] = {}
    for statement in executed.statements:
        if isinstance(statement, Evaluate):
            time = {start: t, end: s}[statement.time]
            out = field([state[b] for b in i.program.blocks], time)
            outputs |= {(statement.name, b): v for b, v in zip(i.program.blocks, out, strict=True)}
            continue
        before = dict(state)
        for block, terms in statement.updates:
            total = mpmath.mpf(0)
            for term in terms:
                factor = values.get(str(term.coefficient), mpmath.mpf(1))
                match term.operand:
                    case Block(name):
                        total += factor * before[name]
                    case Output(evaluation, component):
                        total += factor * outputs[evaluation, component]
                    case Noise(_):
                        raise AssertionError("deterministic schemes only")
            state[block] = total
    return [state[b] for b in i.program.blocks]


def kernel_factor(i: ia.Integrator) -> Callable[[mpmath.mpf], mpmath.matrix]:
    """The lower Cholesky factor by the stationary form of Sigma, which is exact at these times in 50 digits."""
    if i.process.name == "vp":

        def vp(t: mpmath.mpf) -> mpmath.matrix:
            b = mpmath.mpf("0.1") * t + mpmath.mpf("19.9") * t**2 / 2
            return mpmath.matrix([[mpmath.sqrt(1 - mpmath.exp(-b))]])

        return vp

    def psld(t: mpmath.mpf) -> mpmath.matrix:
        g, nu, mass, b = mpmath.mpf("0.01"), mpmath.mpf("4.01"), mpmath.mpf("0.25"), 8 * t
        d = (nu - g) / 4
        e = mpmath.exp(-(g + nu) * b / 4) * mpmath.matrix([[1 + b * d, b / (2 * mass)], [-b / 2, 1 - b * d]])
        sigma = (
            mpmath.diag([1, mass]) + e * (mpmath.diag([0, mpmath.mpf("0.04") * mass]) - mpmath.diag([1, mass])) * e.T
        )
        return mpmath.cholesky(sigma)

    return psld


def exact_flow(i: ia.Integrator, score: Callable, z: Vector, t: mpmath.mpf, h: mpmath.mpf) -> Vector:
    """The probability flow from t to t - h by mpmath's Taylor-series solver, from F, G G^T and the score alone."""
    if i.process.name == "vp":

        def slope(tau: mpmath.mpf, y: Vector) -> Vector:
            beta = mpmath.mpf("0.1") + mpmath.mpf("19.9") * (t - tau)
            return [beta / 2 * (y[0] + score(y, t - tau)[0])]
    else:
        g, nu, mass = mpmath.mpf("0.01"), mpmath.mpf("4.01"), mpmath.mpf("0.25")

        def slope(tau: mpmath.mpf, y: Vector) -> Vector:
            s_x, s_m = score(y, t - tau)
            return [4 * (g * y[0] - y[1] / mass + g * s_x), 4 * (y[0] + nu * y[1] + mass * nu * s_m)]

    # Classical Runge-Kutta with 16 sub-steps: error about (h/16)^4 h, against a local error of h^2.
    n = 16
    d = h / n
    y, tau = list(z), mpmath.mpf(0)
    for _ in range(n):
        k1 = slope(tau, y)
        k2 = slope(tau + d / 2, [a + d / 2 * b for a, b in zip(y, k1, strict=True)])
        k3 = slope(tau + d / 2, [a + d / 2 * b for a, b in zip(y, k2, strict=True)])
        k4 = slope(tau + d, [a + d * b for a, b in zip(y, k3, strict=True)])
        y = [a + d / 6 * (p + 2 * q + 2 * r + v) for a, p, q, r, v in zip(y, k1, k2, k3, k4, strict=True)]
        tau += d
    return y


@pytest.mark.parametrize(
    "spec",
    [
        "vp/Euler",
        "vp/DDIM",
        "vp/lambda-DDIM-I",
        "psld/Euler",
        "psld/NSE",
        "psld/RSE",
        "psld/NVV",
        "psld/RVV",
        "psld/DDIM",
    ],
)
def test_constant_equals_the_one_step_error_for_a_network(spec: str) -> None:
    i = ia.derive(spec)
    k = len(i.program.blocks)
    net, factor = tanh_network(k, seed=3), kernel_factor(i)
    with mpmath.workdps(50):
        z, t = [mpmath.mpf("0.4"), mpmath.mpf("-0.3")][:k], mpmath.mpf("0.37")

        def whiten(y: Sequence[mpmath.mpf], time: mpmath.mpf, values: Vector) -> Vector:
            return list(-(factor(time).T * mpmath.matrix(values)))

        def eps(y: Sequence[mpmath.mpf], time: mpmath.mpf) -> Vector:
            return whiten(y, time, net(y, time)) if i.program.unknown == "score" else net(y, time)

        def score(y: Sequence[mpmath.mpf], time: mpmath.mpf) -> Vector:
            if i.program.unknown == "score":
                return net(y, time)
            return list(-((factor(time).T) ** -1 * mpmath.matrix(net(y, time))))

        table = CoefficientTable(i.network_program, "mpmath")
        errors = []
        for h in (mpmath.mpf("1e-7"), mpmath.mpf("5e-8")):
            numerical = run_step(i, table, eps, z, t, t - h)
            exact = exact_flow(i, score, z, t, h)
            errors.append([(a - b) / h**2 for a, b in zip(numerical, exact, strict=True)])
        measured = [2 * fine - coarse for coarse, fine in zip(*errors, strict=True)]
    derived = i.local_error.evaluate([float(v) for v in z], 0.37, net)
    for block, value in zip(i.program.blocks, measured, strict=True):
        assert derived[block] == pytest.approx(float(value), rel=1e-9, abs=1e-12)


def test_euler_maruyama_weak_constant_by_hand() -> None:
    """Weak Taylor terms of dx = a dh + sqrt(beta) dW, a = beta (x/2 + s), at order h^2, minus Euler-Maruyama's."""
    derived = ia.derive("vp/EM").local_error.leading["f"]
    n = {symbol.name: symbol for symbol in derived.free_symbols}
    beta, beta_t, x, s, s_x, s_xx, s_t = (
        n[k] for k in ("beta", "d_t beta", "x", "s_x", "d_x s_x", "d_xx s_x", "d_t s_x")
    )
    a = beta * (x / 2 + s)
    a_x, a_xx = beta * (sympy.Rational(1, 2) + s_x), beta * s_xx
    a_h = -(beta_t * (x / 2 + s) + beta * s_t)  # along reverse time t - h
    # Exact step: mean a h + (a_h + a a_x + beta a_xx/2) h^2/2, variance beta h + (2 beta a_x - beta_t) h^2/2.
    first = -(a_h + a * a_x + beta * a_xx / 2) / 2
    second = -(beta * a_x - beta_t / 2) / 2
    expected = first * n["d_x f"] + second * n["d_xx f"]
    assert sympy.expand(derived - expected) == 0


def test_text_and_latex_name_every_block() -> None:
    error = ia.derive("psld/RVV").local_error
    assert set(error.text()) == set(error.latex()) == set(error.exponents) == {"x", "m"}
    assert r"\partial_{m}s_{m}" in error.latex()["m"]
    assert error.exponents == {"x": 2, "m": 2}


def test_weak_error_needs_an_observable() -> None:
    with pytest.raises(ia.InputError, match="observable"):
        ia.derive("vp/EM").local_error.evaluate([0.1], 0.5, tanh_network(1, 0))


def test_an_expression_with_a_quotient_has_the_value_of_the_error() -> None:
    """An eps that is kept is converted by beta at its own time: beta stays in the denominator."""
    i = ia.derive("vp/S S@1/2[2,-1] L")
    field, z, time = tanh_network(1, 3), 0.4, 0.3
    beta, clock = 0.1 + 19.9 * time, 0.1 * time + 19.9 * time**2 / 2
    values = {
        "x": z,
        "beta": beta,
        "d_t beta": 19.9,
        "eta_xx": beta / 2 / np.sqrt(-np.expm1(-clock)),
        "eps_x": float(field([z], time)[0]),
        "d_x eps_x": float(mpmath.diff(lambda x: field([x], time)[0], z)),
    }
    expression = i.local_error.leading["x"]
    assert {str(symbol) for symbol in expression.free_symbols} == set(values)
    assert sympy.denom(expression).has(sympy.Symbol("beta"))
    found = float(expression.subs({sympy.Symbol(name): value for name, value in values.items()}))
    assert found == pytest.approx(i.local_error.evaluate([z], time, field)["x"], rel=1e-9)


def test_an_error_of_the_first_step_alone_does_not_lower_the_order() -> None:
    """SDE-DPM-Solver++(2M) has order two (Lu et al., arXiv 2211.01095), though its first step is one of order one."""
    error = ia.derive("vp/SDE-DPM-Solver++2M").local_error
    assert (error.steps, error.exponents["f"], error.startup, error.order) == (2, 2, True, 2)
