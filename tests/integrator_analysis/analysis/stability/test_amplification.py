"""Amplification matrices multiplied out by hand from the sub-flows, for frozen Jacobians of eps and of the score."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import integrator_analysis as ia

BIG_GAMMA, NU, MASS, BETA = 0.01, 4.01, 0.25, 8.0


def a_flow(h: float, score: np.ndarray, double: int = 1) -> np.ndarray:
    """x <- x + h (beta/2) (d Gamma x - m/M + d Gamma s_x), d = 1 for the ODE and 2 for the SDE; s_x = score[0] z."""
    row = np.array([1 + h * BETA / 2 * double * BIG_GAMMA, -h * BETA / 2 / MASS])
    return np.array([row + h * BETA / 2 * double * BIG_GAMMA * score[0], [0, 1]])


def b_flow(h: float, score: np.ndarray, double: int = 1) -> np.ndarray:
    row = np.array([h * BETA / 2, 1 + h * BETA / 2 * double * NU])
    return np.array([[1, 0], row + h * BETA / 2 * double * MASS * NU * score[1]])


def o_flow(h: float) -> np.ndarray:
    return np.diag(np.exp(-h * BETA / 2 * np.array([BIG_GAMMA, NU])))


def factor(t: float) -> np.ndarray:
    """The Cholesky factor of the kernel at critical damping, from its stationary form."""
    b, d = BETA * t, (NU - BIG_GAMMA) / 4
    e = np.exp(-(BIG_GAMMA + NU) * b / 4) * np.array([[1 + b * d, b / (2 * MASS)], [-b / 2, 1 - b * d]])
    prior = np.diag([1, MASS])
    return np.linalg.cholesky(prior + e @ (np.diag([0, 0.04 * MASS]) - prior) @ e.T)


@pytest.mark.parametrize("curvature", [-1.0, -30.0, 5.0])
def test_radius_of_naive_and_reduced_splittings(curvature: float) -> None:
    """The score is diag(curvature, -1/M) z at every time, so both policies multiply the same two flows for BA.

    BAB differs from itself reduced only through the state at which A's score is taken: none of it is momentum here,
    but position is changed by no B, so they agree too; with a score that mixes blocks they do not (next test).
    """
    h, t, score = 0.07, 0.6, np.diag([curvature, -1 / MASS])

    def radius(matrix: np.ndarray) -> float:
        return np.abs(np.linalg.eigvals(matrix)).max()

    symplectic = a_flow(h, score) @ b_flow(h, score)
    verlet = b_flow(h / 2, score) @ a_flow(h, score) @ b_flow(h / 2, score)
    stochastic = a_flow(h, score, 2) @ b_flow(h, score, 2) @ o_flow(h)
    for spec, matrix in [
        ("NSE", symplectic),
        ("RSE", symplectic),
        ("NVV", verlet),
        ("RVV", verlet),
        ("ROBA", stochastic),
    ]:
        assert ia.derive(f"psld/{spec}").stability.radius(h, curvature, t) == pytest.approx(radius(matrix), rel=1e-11)


def test_amplification_of_verlet_with_a_full_complex_jacobian() -> None:
    """eps = K z frozen in time, so the score -L^{-T} K z changes along the step; reduced: A keeps B's evaluation."""
    h, t = 0.05, 0.5
    jacobian = np.array([[0.4 + 0.3j, -0.2], [0.7, 1.1 - 0.5j]])
    start, end = (-np.linalg.inv(factor(time).T) @ jacobian for time in (t, t - h))
    first = b_flow(h / 2, start)
    naive = b_flow(h / 2, start) @ a_flow(h, start) @ first
    held = np.array([[1 + h * BETA / 2 * BIG_GAMMA, -h * BETA / 2 / MASS], [0, 1]]) @ first
    held[0] += h * BETA / 2 * BIG_GAMMA * start[0]  # evaluated at z_t, before B
    reduced = b_flow(h / 2, end) @ held
    for spec, expected in [("NVV", naive), ("RVV", reduced)]:
        measured = ia.derive(f"psld/{spec}").stability.amplification(h, jacobian, t)
        np.testing.assert_allclose(measured, expected, rtol=1e-11)


def test_lambda_conjugation_has_the_papers_amplification() -> None:
    """arXiv 2310.07894: with B = lambda I the step is e^{int (lambda - L)} (1 - h lambda) + psi K on one block."""
    h, t, strength, k = 0.1, 0.7, 1.3, 0.6 - 0.2j
    integral = (0.1 * t + 19.9 * t**2 / 2) - (0.1 * (t - h) + 19.9 * (t - h) ** 2 / 2)
    x, w = np.polynomial.legendre.leggauss(60)
    u = t - h / 2 + h / 2 * x
    clock = 0.1 * u + 19.9 * u**2 / 2
    elapsed = clock - (0.1 * (t - h) + 19.9 * (t - h) ** 2 / 2)
    eta = (0.1 + 19.9 * u) / (2 * np.sqrt(1 - np.exp(-clock)))
    psi = -np.sum(h / 2 * w * np.exp(strength * (u - t + h) + elapsed / 2) * eta)
    expected = np.exp(strength * h + integral / 2) * (1 - h * strength) + psi * k
    measured = ia.derive("vp/lambda-DDIM-I", lambda_=strength).stability.amplification(h, k, t)
    assert measured[0, 0] == pytest.approx(expected, rel=1e-12)


def test_jacobian_of_eps_for_unit_gaussian_data_on_one_block() -> None:
    """Unit data stay unit: score -x, eps = sigma x."""
    stability = ia.derive("vp/DDIM").stability
    t = 0.4
    sigma = np.sqrt(1 - np.exp(-(0.1 * t + 19.9 * t**2 / 2)))
    np.testing.assert_allclose(stability.score_jacobian(-1.0, t), [[sigma]], rtol=1e-13)


def test_jacobian_of_eps_in_phase_space() -> None:
    measured = ia.derive("psld/RVV").stability.score_jacobian(-7.0, 0.3)
    np.testing.assert_allclose(measured, -factor(0.3).T @ np.diag([-7.0, -4.0]), rtol=1e-12)


def test_region_is_the_radius_at_every_pair() -> None:
    stability = ia.derive("vp/Euler").stability
    steps, values = [0.02, 0.2], [-0.5, -3.0, -40.0]
    expected = [[abs(1 + h * (0.1 + 19.9 * 0.5) / 2 * (1 + v)) for h in steps] for v in values]
    np.testing.assert_allclose(stability.region(steps, values, 0.5), expected, rtol=1e-12)


def test_time_defaults_to_the_prior() -> None:
    stability = ia.derive("vp/Euler").stability
    assert stability.radius(0.1, -2.0) == pytest.approx(abs(1 - 0.1 * 20 / 2), rel=1e-13)


def test_a_stack_of_jacobians_gives_a_stack() -> None:
    stability, stack = ia.derive("psld/RVV").stability, np.random.default_rng(0).normal(size=(3, 2, 2))
    found = stability.amplification(0.1, stack, 0.7)
    np.testing.assert_allclose(found, [stability.amplification(0.1, one, 0.7) for one in stack], rtol=1e-12)
    with pytest.raises(ia.InputError, match="2 x 2"):
        stability.amplification(0.1, np.zeros((3, 2, 1)), 0.7)


@pytest.mark.parametrize(("given", "start"), [({}, 1.0), ({"t": 0.5}, 0.5)])
def test_the_drawing_covers_steps_up_to_the_start(given: dict[str, float], start: float) -> None:
    ax = ia.derive("vp/Euler").stability.plot(Figure().subplots(), points=4, **given)
    assert ax.get_xlim() == pytest.approx((1e-3, 0.99 * start))
