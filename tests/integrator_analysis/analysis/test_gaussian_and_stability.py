"""Moments and amplification by hand: explicit formulas of single schemes, and the exact marginals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.analysis.gaussian import affine_step, gaussian_eps, marginal
from integrator_analysis.codegen import kernel_source
from torch_backend.scores import GaussianScore
from torch_backend.source import module_from_source


def vp_numbers(t: float) -> tuple[float, float, float]:
    b = 0.1 * t + 19.9 * t**2 / 2
    return 0.1 + 19.9 * t, math.exp(-b / 2), -math.expm1(-b)


def test_euler_maruyama_moments_on_vp_by_hand() -> None:
    mu, c, t, s = 0.3, 0.2, 0.5, 0.46
    beta, alpha, variance = vp_numbers(t)
    h, marginal = t - s, alpha**2 * c + variance
    i = ia.derive("vp/EM")
    step = affine_step(i.program, i.table, t, s, gaussian_eps(i.process, mu, c))
    slope = 1 + h * beta / 2 - h * beta / marginal
    assert step.matrix[0, 0] == pytest.approx(slope, rel=1e-13)
    assert step.offset[0] == pytest.approx(h * beta * alpha * mu / marginal, rel=1e-13)
    assert abs(step.noise[0, 0]) == pytest.approx(math.sqrt(beta * h), rel=1e-13)


def test_roba_moments_on_psld_by_hand() -> None:
    mu, c, t, s = -0.4, 0.5, 0.4, 0.37
    g, nu, mass, beta, h = 0.01, 4.01, 0.25, 8.0, t - s
    i = ia.derive("psld/ROBA")
    psi, sigma = i.process.mean(t)[:, 0], i.process.covariance(t)
    pull = np.linalg.inv(sigma + c * np.outer(psi, psi))
    # O, then the score at the new state, then B, then A.
    o = np.diag([math.exp(-h * beta * g / 2), math.exp(-h * beta * nu / 2)])
    noise = np.diag([math.sqrt(1 - math.exp(-h * beta * g)), math.sqrt(mass * (1 - math.exp(-h * beta * nu)))])
    b = np.array([[1, 0], [h * beta / 2, 1 + h * beta * nu]]) - h * beta * mass * nu * np.array([[0, 0], pull[1]])
    row = np.array([1 + h * beta * g, -h * beta / (2 * mass)])
    matrix = np.array([row @ np.array([[1, 0], b[1]]) - h * beta * g * pull[0], b[1]])
    step = affine_step(i.program, i.table, t, s, gaussian_eps(i.process, mu, c))
    assert step.matrix == pytest.approx(matrix @ o, rel=1e-11)
    assert step.noise @ step.noise.T == pytest.approx(matrix @ noise @ noise.T @ matrix.T, rel=1e-11)


@pytest.mark.parametrize("spec", ["vp/Euler", "vp/EM", "psld/RVV", "psld/ROBA"])
def test_gaussian_error_halves_with_the_step(spec: str) -> None:
    i = ia.derive(spec)
    coarse, fine = (
        i.gaussian_error(np.linspace(0.6, 0.3, n + 1), [0.2, -1.0], np.array([[0.5, 0.2], [0.2, 0.4]]))
        for n in (400, 800)
    )
    assert coarse.covariance.shape[0] == 2
    ratio = np.abs(coarse.covariance).max() / np.abs(fine.covariance).max()
    assert ratio == pytest.approx(2, abs=0.1)


def test_ddim_is_exact_for_point_data() -> None:
    error = ia.derive("vp/DDIM").gaussian_error([1.0, 0.4, 0.001], 0.7, 0.0)
    assert np.abs(error.mean).max() < 1e-14
    assert np.abs(error.covariance).max() < 1e-14
    other = ia.derive("psld/DDIM").gaussian_error([1.0, 0.4, 0.001], 0.7, 0.0)
    assert np.abs(other.covariance).max() > 1e-4  # the Cholesky frame rotates: not exact


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (-1.0, "not positive"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "not positive"),
        (np.ones((2, 3)), "symmetric matrix"),
    ],
)
def test_bad_covariances_are_refused(covariance: object, message: str) -> None:
    with pytest.raises(ia.InputError, match=message):
        ia.derive("vp/DDIM").gaussian_error([1.0, 0.5], 0.0, covariance)


@pytest.mark.parametrize("times", [[1.0], [0.5, 0.5], [0.2, 0.5], [0.5, 0.0], [0.5, -0.1], [1.0, float("nan")]])
def test_bad_grids_are_refused(times: list[float]) -> None:
    with pytest.raises(ia.InputError):
        ia.derive("vp/DDIM").coefficients(times)


@pytest.mark.parametrize("kappa", [0.2, 1.0, 7.0, 100.0])
def test_euler_radius_on_vp_by_hand(kappa: float) -> None:
    """x <- x + h (beta/2)(x - kappa x): the factor is 1 + h (beta/2)(1 - kappa)."""
    h, t = 0.05, 0.5
    beta = 0.1 + 19.9 * t
    radius = ia.derive("vp/Euler").stability.radius(h, -kappa, t)
    assert radius == pytest.approx(abs(1 + h * beta / 2 * (1 - kappa)), rel=1e-12)


def test_ddim_amplification_by_hand_with_a_complex_jacobian() -> None:
    h, t, jacobian = 0.1, 0.6, 0.3 + 0.8j
    (_, a_t, v_t), (_, a_s, v_s) = vp_numbers(t), vp_numbers(t - h)
    expected = a_s / a_t + (math.sqrt(v_s) - a_s * math.sqrt(v_t) / a_t) * jacobian
    amplification = ia.derive("vp/DDIM").stability.amplification(h, jacobian, t)
    assert amplification[0, 0] == pytest.approx(expected, rel=1e-12)


def test_region_shape_and_bad_input() -> None:
    stability = ia.derive("psld/RVV").stability
    assert stability.region([0.01, 0.1, 0.3], [-1.0, -50.0], 0.5).shape == (2, 3)
    for h, t in [(0.0, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.1, 1.5)]:
        with pytest.raises(ia.InputError, match="0 < h < t"):
            stability.radius(h, -1.0, t)
    with pytest.raises(ia.InputError, match="2 x 2"):
        stability.amplification(0.1, np.eye(3), 0.5)


def test_a_singular_covariance_of_any_size_is_accepted() -> None:
    """Rounding leaves an eigenvalue of -1e-16 of the largest, which is far below -1e-12 here."""
    direction = np.array([1.0, 3.0, -2.0, 0.7])
    covariance = 1e6 * np.outer(direction, direction)
    assert -1e-6 < np.linalg.eigvalsh(covariance)[0] < -1e-12
    error = ia.derive("vp/DDIM").gaussian_error([0.9, 0.5], 0.0, covariance)
    assert error.variances.max() == pytest.approx(1e6 * direction @ direction)


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("ending", [[], [0.0]])
@pytest.mark.parametrize("spec", ["vp/DEIS-tAB3", "vp/UniPC-2", "vp/UniPC-3"])
def test_three_steps_of_the_past_are_read_in_their_order(spec: str, ending: list[float], lowered: bool) -> None:
    """A deterministic scheme multiplies deviations from the mean: the generated sampler's, squared, is the variance."""
    times, mean, variance = [0.9, 0.72, 0.6, 0.45, 0.37, 0.2, *ending], 0.7, 0.3
    i = ia.derive(spec)
    data = torch.tensor([[mean], [variance]], dtype=torch.float64)
    network = GaussianScore(module_from_source(kernel_source(i.process), "kernel_vp"), data[0], data[1])
    (start, spread), (end, exact) = (marginal(i.process, time, mean, variance) for time in (times[0], times[-1]))
    state = torch.tensor(start + np.sqrt(spread[0]))[None]
    sampler = i.to_torch(dtype=torch.float64)
    found = sampler.sample(network, state, times=times, lower_order_final=lowered).numpy()[0] - end
    error = i.gaussian_error(times, mean, variance, lowered)
    assert abs(error.covariance[0, 0, 0]) > 1e-3 * exact[0, 0]
    assert error.covariance[0] == pytest.approx(found**2 - exact, rel=1e-9)


@pytest.mark.parametrize("process", ["vp", "psld"])
def test_one_step_from_noise_to_data_is_the_posterior_mean(process: str) -> None:
    """Of data N(mu, c) it is mu + c psi^T S^{-1} (z - psi mu), whose variance is c^2 psi^T S^{-1} psi."""
    i, mean, variance = ia.derive(f"{process}/DDIM"), 0.7, 0.3
    psi, sigma = i.process.mean(0.4)[:, 0], i.process.covariance(0.4)
    expected = variance**2 * psi @ np.linalg.solve(variance * np.outer(psi, psi) + sigma, psi)
    error = i.gaussian_error([0.4, 0.0], mean, variance)
    assert error.mean[0, 0] == pytest.approx(0, abs=1e-14)
    assert error.covariance[0, 0, 0] == pytest.approx(expected - variance, rel=1e-12)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("psld/SPS-2M", "reads an earlier step in every step"),
        ("vp/DDIM", "reads no earlier steps"),
    ],
)
def test_lower_final_orders_are_refused_where_there_are_none(spec: str, message: str) -> None:
    with pytest.raises(ia.InputError, match=message):
        ia.derive(spec).gaussian_error([0.9, 0.5, 0.0], 0.0, 1.0, lower_order_final=True)
