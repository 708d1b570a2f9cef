"""Splitting integrators: orders, constants and evaluation counts of the named schemes, and what a word may be."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import sympy
import torch
from scipy.linalg import expm

import integrator_analysis as ia
from integrator_analysis.inputs import InputError
from integrator_analysis.methods.splitting.splitting import Splitting
from torch_backend.measuring.maps import affine_map


def names_of(spec: str) -> tuple[dict[str, sympy.Expr], dict[str, sympy.Symbol]]:
    leading = ia.derive(spec).local_error.leading
    return dict(leading), {s.name: s for e in leading.values() for s in e.free_symbols}


@pytest.mark.parametrize(
    ("spec", "evaluations", "stochastic"),
    [
        ("psld/NSE", 2, False),
        ("psld/RSE", 1, False),
        ("psld/NVV", 3, False),
        ("psld/RVV", 2, False),
        ("psld/NOBA", 2, True),
        ("psld/ROBA", 1, True),
        ("psld/OBAB(reduced)", 2, True),
        ("psld/BAOAB(reduced)", 2, True),
    ],
)
def test_order_one_at_the_stated_cost(spec: str, evaluations: int, stochastic: bool) -> None:
    i = ia.derive(spec)
    assert (i.order, i.nfe_per_step, i.stochastic) == (1, evaluations, stochastic)


def test_rvv_has_the_published_momentum_constant_and_a_position_constant_proportional_to_gamma() -> None:
    leading, n = names_of("psld/RVV")
    beta, nu, mass, s_m, m, x, slope = (n[k] for k in ("beta", "nu", "M", "s_m", "m", "x", "d_m s_m"))
    published = -(beta**2) * nu / 16 * (mass * slope + 1) * (mass * nu * s_m + nu * m + x)
    assert sympy.expand(leading["m"] - published) == 0
    assert sympy.expand(leading["x"].subs(n["Gamma"], 0)) == 0
    assert sympy.expand(leading["x"]) != 0


def dynamics(n: dict[str, sympy.Symbol]) -> tuple[sympy.Expr, sympy.Expr, dict[str, dict[str, sympy.Expr]]]:
    """F and G of x' = F, m' = G in reverse time, and their partial derivatives, from the definition of PSLD."""
    get = lambda name: n.get(name, sympy.Symbol(name))  # noqa: E731
    g, nu, mass, beta = (get(k) for k in ("Gamma", "nu", "M", "beta"))
    f = beta / 2 * (g * get("x") - get("m") / mass + g * get("s_x"))
    k = beta / 2 * (get("x") + nu * get("m") + mass * nu * get("s_m"))
    d = {
        "F": {
            "x": beta / 2 * g * (1 + get("d_x s_x")),
            "m": beta / 2 * (-1 / mass + g * get("d_m s_x")),
            "t": -beta / 2 * g * get("d_t s_x"),  # reverse time runs against t
        },
        "G": {
            "x": beta / 2 * (1 + mass * nu * get("d_x s_m")),
            "m": beta / 2 * nu * (1 + mass * get("d_m s_m")),
            "t": -beta / 2 * mass * nu * get("d_t s_m"),
        },
    }
    return f, k, d


def test_naive_symplectic_euler_has_the_general_constants_of_ba() -> None:
    """With the score frozen in time but not in space: x: (F_m G - F F_x - F_t)/2, m: -(F G_x + G G_m + G_t)/2."""
    leading, n = names_of("psld/NSE")
    f, g, d = dynamics(n)
    x = (d["F"]["m"] * g - f * d["F"]["x"] - d["F"]["t"]) / 2
    m = -(f * d["G"]["x"] + g * d["G"]["m"] + d["G"]["t"]) / 2
    assert sympy.expand(leading["x"] - x) == 0
    assert sympy.expand(leading["m"] - m) == 0


def test_euler_has_the_second_derivative_as_its_constant() -> None:
    leading, n = names_of("psld/Euler")
    f, g, d = dynamics(n)
    for block, row in (("x", "F"), ("m", "G")):
        expected = -(d[row]["x"] * f + d[row]["m"] * g + d[row]["t"]) / 2
        assert sympy.expand(leading[block] - expected) == 0


@pytest.mark.parametrize("word", ["", "A", "BOB", "AA", "BAAB", "ABC", "OOBA", "ab", "BAB" * 9, "SA", "L", "BOS"])
def test_unusable_words_are_one_clear_error(word: str) -> None:
    with pytest.raises(InputError, match="splitting word"):
        Splitting(word)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("psld/O(-1/2) B A O(3/2)", "O over -1/2 of the step; noise takes a positive time"),
        ("psld/O(0) B A O(1)", "O over 0 of the step"),
        ("psld/B[2,-1] A", "uses 2 evaluations; there are 1"),
        ("psld/B A[2,-1](reduced)", "uses 2 evaluations; there are 1"),
        ("psld/B@0 A[3,-3,1]", "uses 3 evaluations; there are 1"),
        ("flow/S S@1/2[2,-1] L", "networks of flow return velocity, so write @0"),
    ],
)
def test_noise_of_no_time_and_evaluations_that_do_not_exist_are_refused(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        ia.derive(spec)


def test_unknown_policy_and_process_without_momentum_are_refused() -> None:
    with pytest.raises(InputError, match="known: naive, reduced"):
        Splitting("BA", "lazy")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs a phase-space process"):
        ia.derive("vp/RVV")


def test_second_order_splittings_are_their_loops_written_by_hand() -> None:
    """SPS-2S and SPS-2M on PSLD, F, G G^T and Sigma typed in: half A, half B, half B, half A with frozen residuals."""
    gamma, nu, mass, beta = 0.01, 4.01, 0.25, 8.0
    drift, limit = beta / 2 * np.array([[-gamma, 1 / mass], [-1, -nu]]), np.diag([1.0, mass])

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        x, m = z.chunk(2, dim=1)
        return torch.cat((torch.sin(1.3 * x - 0.4 * m + t[:, None]), torch.cos(0.7 * m + 0.5 * x)), dim=1)

    def residual(x: float, m: float, t: float) -> np.ndarray:
        e = expm(drift * t)
        covariance = limit + e @ (np.diag([0, 0.04 * mass]) - limit) @ e.T
        eps = network(torch.tensor([[x, m]], dtype=torch.float64), torch.tensor([t], dtype=torch.float64))
        score = -np.linalg.solve(np.linalg.cholesky(covariance).T, eps.numpy()[0])
        return score + np.linalg.solve(limit, [x, m])

    times = [1.0, 0.93, 0.85, 0.8]
    for name, fresh in (("SPS-2S", True), ("SPS-2M", False)):
        x, m = 0.4, -0.3
        start = residual(x, m, times[0])
        for t, s in itertools.pairwise(times):
            half = (t - s) / 2 * beta / 2
            r = residual(x, m, t) if fresh else start
            x += half * (-m / mass + gamma * r[0])
            m += half * (x + mass * nu * r[1])
            start = residual(x, m, t - (t - s) / 2)
            r = 2 * start - r
            m += half * (x + mass * nu * r[1])
            x += half * (-m / mass + gamma * r[0])
        sampler = ia.derive(f"psld/{name}").to_torch(dtype=torch.float64)
        found = sampler.sample(network, torch.tensor([[0.4, -0.3]], dtype=torch.float64), times=times)
        np.testing.assert_allclose(found.numpy()[0], [x, m], rtol=1e-11)


def test_exact_sub_flows_lose_what_the_residual_keeps() -> None:
    """RVV's momentum constant has the factor 1 + M d_m s_m, 0 in equilibrium; with exact sub-flows it is M d_m s_m."""
    euler, n = names_of("psld/BAB(reduced)")
    exact, k = names_of("psld/BAB(reduced, exact)")
    assert sympy.expand(euler["m"].subs(n["d_m s_m"], -1 / n["M"])) == 0
    assert sympy.expand(exact["m"].subs(k["d_m s_m"], -1 / k["M"])) != 0
    residual, j = names_of("psld/BAB(reduced, residual)")
    assert sympy.expand(residual["m"].subs(j["d_m residual_m"], 0)) == 0  # the score of equilibrium has none


def test_rse_with_exact_sub_flows_is_its_formula_and_with_a_frozen_residual_it_is_rse() -> None:
    """On PSLD, typed in: x' = g (x + s_x) - m g / M and m' = g (x + nu m + M nu s_m) with own growth exponential."""
    gamma, nu, mass, g = 0.01, 4.01, 0.25, 4.0
    drift, limit = g * np.array([[-gamma, 1 / mass], [-1, -nu]]), np.diag([1.0, mass])
    t, s, x, m = 0.6, 0.55, 0.4, -0.3

    def network(z: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        x, m = z.chunk(2, dim=1)
        return torch.cat((torch.sin(1.3 * x - 0.4 * m + time[:, None]), torch.cos(0.7 * m + 0.5 * x)), dim=1)

    def score(x: float, m: float, time: float) -> np.ndarray:
        e = expm(drift * time)
        covariance = limit + e @ (np.diag([0, 0.04 * mass]) - limit) @ e.T
        eps = network(torch.tensor([[x, m]], dtype=torch.float64), torch.tensor([time], dtype=torch.float64))
        return -np.linalg.solve(np.linalg.cholesky(covariance).T, eps.numpy()[0])

    def grown(value: float, rate: float, push: float, time: float) -> float:
        return value * np.exp(rate * time) + push * np.expm1(rate * time) / rate

    def step(name: str) -> np.ndarray:
        z = torch.tensor([[x, m]], dtype=torch.float64)
        return ia.derive(f"psld/{name}").to_torch(dtype=torch.float64).sample(network, z, times=[t, s]).numpy()[0]

    first = score(x, m, t)
    q = grown(m, g * nu, g * (x + mass * nu * first[1]), t - s)
    y = grown(x, g * gamma, g * (gamma * first[0] - q / mass), t - s)
    np.testing.assert_allclose(step("RSE-exact"), [y, q], rtol=1e-11)
    np.testing.assert_allclose(step("BA(reduced, residual)"), step("RSE"), rtol=1e-12)
    np.testing.assert_allclose(step("BAB(reduced, residual)"), step("RVV"), rtol=1e-12)
    assert np.abs(step("RSE-exact") - step("RSE")).max() > 1e-3
    assert np.abs(step("BABAB(reduced, residual)") - step("BABAB(reduced)")).max() > 1e-3


def test_an_evaluation_that_nothing_reads_is_no_statement() -> None:
    module = ia.derive("flow/S(1/3)@0 S(2/3)@1[0,1] L(1)").to_torch(dtype=torch.float64).module
    once, twice = (affine_map(module, lambda z, t, a=a: a * z + t[:, None], 0.6, 0.5)[0] for a in (1.0, 2.0))
    assert once[0, 0] != twice[0, 0]


@pytest.mark.parametrize("spec", ["vp/SL(residual)", "vp/LSL(residual)", "psld/SL(residual)"])
def test_beside_l_the_frozen_residual_leaves_the_whole_drift_to_it(spec: str) -> None:
    """S and L sum to the ODE whether the score is frozen or the residual: a short step goes the way of its slope."""
    step = ia.derive(spec).to_torch(dtype=torch.float64).module
    plain = ia.derive(spec.replace("(residual)", "")).to_torch(dtype=torch.float64).module
    k, h = len(step.BLOCKS), 1e-6 * step.T_MAX
    matrix = np.array([[-1.3, 0.4], [0.2, -0.7]])[:k, :k]

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return z @ torch.from_numpy(matrix.T.copy()) + 0.3

    moves = []
    for module in (step, plain):
        linear, offset, _ = affine_map(module, network, 0.5 * step.T_MAX, 0.5 * step.T_MAX - h)
        moves.append(np.column_stack([(linear - np.eye(k)) / h, offset / h]))
    np.testing.assert_allclose(moves[0], moves[1], rtol=1e-3, atol=1e-4 * np.abs(moves[1]).max())
    assert ia.derive(spec).order == 1
