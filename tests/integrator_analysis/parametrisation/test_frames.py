"""Frames on phase space: gDDIM's factor and the propagator of x_0 prediction, against the equations they solve.

The oracle is the process on paper: mpmath for covariances, scipy for the differential equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import mpmath
import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import quad_vec, solve_ivp
from scipy.linalg import expm

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.parametrisation.registry import parametrisation

Array = np.ndarray
NAMES = ("psld", "cld")
STEPS = [(1.0, 0.4), (0.4, 0.05), (0.05, 0.005)]
DIGITS = 40


@dataclass(frozen=True)
class Paper:
    """F and G G^T, both constant in time, and the covariance at time 0 and its limit; in mpmath."""

    drift: mpmath.matrix
    diffusion: mpmath.matrix
    start: mpmath.matrix
    limit: mpmath.matrix

    def psi(self, time: float) -> mpmath.matrix:
        return mpmath.expm(self.drift * mpmath.mpf(time))[:, 0]

    def covariance(self, time: float) -> mpmath.matrix:
        e = mpmath.expm(self.drift * mpmath.mpf(time))
        return self.limit + e * (self.start - self.limit) * e.T

    def linear(self, time: float) -> mpmath.matrix:
        """F + G G^T Sigma^{-1} / 2, the matrix of the probability-flow ODE for data at the origin."""
        return self.drift + self.diffusion * self.covariance(time) ** -1 / 2


@cache
def paper(name: str) -> Paper:
    """PSLD (arXiv 2303.01748) and CLD (arXiv 2112.07068) with their published numbers."""
    with mpmath.workdps(DIGITS):
        if name == "psld":
            friction, nu, mass, beta = mpmath.mpf("0.01"), mpmath.mpf("4.01"), mpmath.mpf("0.25"), 8
            drift = beta * mpmath.matrix([[-friction, 1 / mass], [-1, -nu]]) / 2
            diffusion = beta * mpmath.diag([friction, mass * nu])
        else:
            friction, mass, beta = mpmath.mpf(1), mpmath.mpf("0.25"), 4
            drift = beta * mpmath.matrix([[0, 1 / mass], [-1, -friction / mass]])
            diffusion = beta * mpmath.diag([0, 2 * friction])
        return Paper(drift, diffusion, mpmath.diag([0, mpmath.mpf("0.04") * mass]), mpmath.diag([1, mass]))


def numbers(matrix: mpmath.matrix) -> Array:
    return np.array(matrix.tolist(), dtype=float)


def linear(name: str, time: float) -> Array:
    with mpmath.workdps(DIGITS):
        return numbers(paper(name).linear(time))


@cache
def propagator(name: str, t: float, s: float) -> Array:
    """E with z_s = E z_t on the ODE z' = L z, L = F + G G^T Sigma^{-1} / 2: dE/dt = -E L, and Sigma beside it."""
    drift, diffusion = numbers(paper(name).drift), numbers(paper(name).diffusion)
    with mpmath.workdps(DIGITS):
        start = numbers(paper(name).covariance(s))

    def right(_: float, both: Array) -> Array:
        e, sigma = both.reshape(2, 2, 2)
        slope = drift @ sigma
        return np.stack([-e @ (drift + diffusion @ np.linalg.inv(sigma) / 2), slope + slope.T + diffusion]).ravel()

    solved = solve_ivp(right, (s, t), np.stack([np.eye(2), start]).ravel(), "DOP853", rtol=1e-13, atol=1e-16)
    return solved.y[:4, -1].reshape(2, 2)


def one_step_error(spec: str, t: float, s: float) -> tuple[float, float]:
    """The largest error of one step on data at a point, and the largest entry of the states it starts from."""
    name, x_0 = spec.split("/")[0], 0.7
    with mpmath.workdps(DIGITS):
        factor = numbers(mpmath.cholesky(paper(name).covariance(t)))
        means = [numbers(paper(name).psi(time))[:, 0] * x_0 for time in (t, s)]
    z = np.random.default_rng(0).standard_normal((5, 2))

    def network(y: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.linalg.solve(factor, (y.numpy() - means[0]).T).T.copy())

    exact = means[1] + (z - means[0]) @ propagator(name, t, s).T
    made = ia.derive(spec).to_torch(dtype=torch.float64).sample(network, torch.from_numpy(z), times=[t, s]).numpy()
    return float(np.abs(made - exact).max()), float(np.abs(z).max())


@pytest.mark.parametrize("s", [0.3, 0.001])
@pytest.mark.parametrize("name", NAMES)
def test_gddim_is_exact_in_one_step_for_point_data(name: str, s: float) -> None:
    error, size = one_step_error(f"{name}/gDDIM", 1.0, s)
    assert error < 1e-8 * size


@pytest.mark.parametrize("name", NAMES)
def test_ddim_in_the_cholesky_frame_is_not_exact_for_point_data(name: str) -> None:
    error, _ = one_step_error(f"{name}/DDIM", 1.0, 0.001)
    assert error > 1


@pytest.mark.parametrize("name", NAMES)
def test_rotated_frame_factors_the_covariance_and_solves_its_equation(name: str) -> None:
    """R R^T = Sigma and R' = (F + G G^T Sigma^{-1} / 2) R, in many digits."""
    process = ia.process(name)
    frame = parametrisation("eps-rotated", process)
    table, values = process.definitions.with_(frame.definitions), {**process.parameters, **frame.parameters}
    entries = list(sympy.Matrix(frame.constant))
    with mpmath.workdps(30):
        at = function(entries, (t,), table, values, "mpmath")

        def factor(time: mpmath.mpf) -> mpmath.matrix:
            values_at = at(time)
            return mpmath.matrix([values_at[:2], values_at[2:]])

        for time in (mpmath.mpf("0.9"), mpmath.mpf("0.3"), mpmath.mpf("0.01")):
            r, sigma = factor(time), paper(name).covariance(time)
            assert mpmath.norm(r * r.T - sigma) < mpmath.mpf(10) ** -20 * mpmath.norm(sigma)
            slope = mpmath.matrix(2, 2)
            for i, j in product((0, 1), repeat=2):
                slope[i, j] = mpmath.diff(lambda u, i=i, j=j: factor(u)[i, j], time)
            right = paper(name).linear(time) * r
            assert mpmath.norm(slope - right) < mpmath.mpf(10) ** -10 * mpmath.norm(right)


@pytest.mark.parametrize("name", NAMES)
def test_rotated_frame_in_float64_is_scipys_solution(name: str) -> None:
    """R_s R_t^{-1} is the propagator of the ODE it solves."""
    process = ia.process(name)
    frame = parametrisation("eps-rotated", process)
    table, values = process.definitions.with_(frame.definitions), {**process.parameters, **frame.parameters}
    at = function(list(sympy.Matrix(frame.constant)), (t,), table, values)
    for start, end in STEPS:
        r_t, r_s = (np.array(at(time), dtype=float).reshape(2, 2) for time in (start, end))
        expected = propagator(name, start, end)
        np.testing.assert_allclose(r_s @ np.linalg.inv(r_t), expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_x0_propagator_solves_its_equation_and_is_not_the_exponential_of_the_integral(name: str) -> None:
    """dE/dt = E (B - L), B = 0; L(t) and L(u) do not commute, so arXiv 2310.07894's exp(int_s^t (B - L)) is not E."""
    program = ia.derive(f"{name}/DPM-Solver++2M").program
    entries = [entry.func(t, s) for entry in program.flows[0].entries]
    at = function(entries, (t, s), program.definitions, program.parameters)
    for start, end in STEPS:
        a, b = linear(name, start), linear(name, end)
        commutator = a @ b - b @ a
        assert np.abs(commutator).max() > 1e-3 * np.abs(a).max() * np.abs(b).max()
        expected = propagator(name, start, end)
        found = np.array(at(start, end), dtype=float).reshape(2, 2)
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
        integral, _ = quad_vec(lambda time: linear(name, time), end, start, epsrel=1e-8)
        assert np.abs(expm(-integral) - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(("t_max", "scheme"), [(1.5, "gDDIM"), (0.5, "anchored-DDIM")])
def test_the_angle_is_measured_from_a_t_max_that_is_no_integer(t_max: float, scheme: str) -> None:
    """log(t / (3 / 2)) was printed as log(t / 3 / 2)."""
    assert ia.verify(f"psld(t_max={t_max})/{scheme}").passed
