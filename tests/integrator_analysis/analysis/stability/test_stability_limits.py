"""Limits, regions and order stars against stability polynomials written down by hand, and the boundary locus."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

import integrator_analysis as ia
from integrator_analysis.analysis.stability.limits import bounding_box, first_unstable

derive = cache(ia.derive)

Radius = Callable[[np.ndarray], np.ndarray]


def taylor(order: int) -> Radius:
    """|1 + mu + ... + mu^p / p!|: every explicit Runge-Kutta method of p stages and order p."""
    factors = np.cumprod([1.0, *(1 / k for k in range(1, order + 1))])
    return lambda mu: np.abs(np.polyval(factors[::-1], mu))


ADAMS = {
    "AB2": ([3, -1], 2),
    "AB3": ([23, -16, 5], 12),
    "AB4": ([55, -59, 37, -9], 24),
}
"""Weights of past slopes, newest first: Hairer, Norsett, Wanner, Solving ODEs I, III.1."""


def adams_radius(name: str, mu: complex) -> float:
    """The largest root of zeta^q - zeta^(q-1) - mu (b_1 zeta^(q-1) + ... + b_q)."""
    weights, scale = ADAMS[name]
    polynomial = np.zeros(len(weights) + 1, dtype=complex)
    polynomial[:2] = 1, -1
    polynomial[1:] -= mu * np.array(weights) / scale
    return float(np.abs(np.roots(polynomial)).max())


def plain(base: str):
    return derive(f"flow/conjugate(base={base}, predict=velocity)").stability


MU = np.array([-0.3, -1.7, 0.4j, -0.6 + 1.3j, 0.2 - 2.1j])


@pytest.mark.parametrize(("base", "order"), [("Euler", 1), ("Heun", 2), ("midpoint", 2), ("RK3", 3), ("RK4", 4)])
def test_runge_kutta_has_its_stability_polynomial_at_any_step(base: str, order: int) -> None:
    stability = plain(base)
    for h, t in ((None, None), (0.2, 0.5), (0.3, 0.7)):
        np.testing.assert_allclose(stability.at(MU, h, t), taylor(order)(MU), rtol=1e-10)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(stability.at(MU), taylor(order + 1)(MU), rtol=1e-3)


@pytest.mark.parametrize("base", ADAMS)
def test_adams_methods_have_the_roots_of_their_characteristic_polynomial(base: str) -> None:
    expected = [adams_radius(base, mu) for mu in MU]
    np.testing.assert_allclose(plain(base).at(MU), expected, rtol=1e-9)
    np.testing.assert_allclose(plain(base).at(MU, 0.02, 0.5), expected, rtol=1e-9)


@pytest.mark.parametrize("base", ["AB3", "AB4"])
def test_the_imaginary_limit_of_adams_methods_is_on_the_boundary_locus(base: str) -> None:
    """mu(theta) = (1 - e^-i theta) / sum b_j e^-i j theta: its first return to the imaginary axis."""
    weights, scale = ADAMS[base]
    angle = np.linspace(0.05, np.pi, 400001)  # nearer to 0 the locus hugs the axis to rounding
    back = np.exp(-1j * angle)
    locus = (1 - back) * scale / sum(b * back ** (j + 1) for j, b in enumerate(weights))
    changes = np.flatnonzero(np.sign(locus.real[1:]) != np.sign(locus.real[:-1]))

    assert plain(base).imaginary_limit == pytest.approx(locus[changes[0]].imag, abs=2e-5)


@pytest.mark.parametrize(
    ("spec", "same"),
    [("vp/DDIM", "Euler"), ("vp/DPM-Solver-2", "midpoint"), ("vp/DEIS-tAB2", "AB3"), ("edm/DDIM", "Euler")],
)
def test_exponential_integrators_are_their_base_method_in_the_limit_of_short_steps(spec: str, same: str) -> None:
    stability = derive(spec).stability
    np.testing.assert_allclose(stability.at(MU), plain(same).at(MU), rtol=1e-7)
    long = stability.at(MU, 0.4 * stability.program.process.t_max, 0.5 * stability.program.process.t_max)
    if spec != "edm/DDIM":  # with L = 0 and eta constant DDIM is Euler at every step
        assert np.abs(long / plain(same).at(MU) - 1).max() > 0.05


def test_stability_polynomials() -> None:
    """DPM-Solver-3 is, in the limit of short steps, a three-stage method of order three: the Taylor polynomial."""
    np.testing.assert_allclose(derive("vp/DPM-Solver-3").stability.polynomial(), [1, 1, 1 / 2, 1 / 6], atol=1e-7)
    long = derive("vp/DPM-Solver-3").stability.polynomial(0.3, 0.6)
    mu = np.array([0.4 - 0.7j])
    assert np.polyval(long[::-1], mu) == pytest.approx(
        derive("vp/DPM-Solver-3").stability.frozen_field(mu, 0.3, 0.6)[:, 0, 0]
    )


def test_ddim_at_a_long_step_by_hand() -> None:
    """R = alpha_s/alpha_t + (sigma_s - alpha_s sigma_t / alpha_t) K with K = (lambda - L) / eta at the step's start."""
    t, h, mu = 0.6, 0.25, -0.8 + 0.3j
    clock = np.array([0.1 * v + 19.9 * v**2 / 2 for v in (t, t - h)])
    alpha, sigma = np.exp(-clock / 2), np.sqrt(-np.expm1(-clock))
    beta = 0.1 + 19.9 * t
    jacobian = (-mu / h + beta / 2) / (beta / (2 * sigma[0]))
    ratio = alpha[1] / alpha[0]
    expected = ratio + (sigma[1] - ratio * sigma[0]) * jacobian
    found = derive("vp/DDIM").stability.frozen_field(mu, h, t)
    assert found[0, 0] == pytest.approx(expected, rel=1e-11)


def damped_verlet(mu: complex) -> np.ndarray:
    """Kick, drift, kick for q'' = -q - 2 g q' with Euler's friction, steps h = |mu|, mu = h (-g + i sqrt(1 - g^2))."""
    h = abs(mu)
    friction = 2 * mu.real / h  # p' = -q + friction p
    kick = np.array([[1, 0], [-h / 2, 1 + h / 2 * friction]])
    return kick @ np.array([[1, h], [0, 1]]) @ kick


def test_velocity_verlet_is_the_damped_oscillators_kick_drift_kick() -> None:
    stability = derive("psld/BAB(naive)").stability
    for mu in (0.7j, 1.99j, -0.3 + 0.9j, -1.1 + 0.2j, 0.2 + 2.4j):
        expected = np.abs(np.linalg.eigvals(damped_verlet(mu))).max()
        assert stability.at(mu) == pytest.approx(expected, rel=1e-9)
    assert stability.imaginary_limit == pytest.approx(2, abs=1e-6)
    assert not np.isfinite(stability.at(8.1j))  # a step of more than t_max


@pytest.mark.parametrize("name", ["psld", "cld"])
def test_the_damped_oscillators_exact_factors(name: str) -> None:
    """The frozen score's exact flow over h = |mu| / omega has the eigenvalues e^mu and e^conj(mu)."""
    frozen = derive(f"{name}/BAB(naive)").stability.frozen
    for mu in (0.7j, -0.3 + 0.9j, 0.2 + 1.4j):
        h = abs(mu) / frozen.frequency(1.0)
        values = np.linalg.eigvals(frozen.exact(frozen.oscillator(np.array(mu), 1.0), 1.0, 1.0 - h))
        np.testing.assert_allclose(sorted(values, key=np.imag)[1], np.exp(mu), rtol=1e-10)


def test_a_first_crossing_is_told_from_growth_that_sets_in_slowly() -> None:
    assert first_unstable(taylor(2), 1j, 1e-12) == 0
    assert first_unstable(taylor(4), 1j, 1e-12) == pytest.approx(8**0.5, abs=1e-12)
    assert first_unstable(taylor(1), -2, 1e-12) == pytest.approx(1)  # in units of the direction
    assert first_unstable(lambda mu: np.exp(mu.real), -1, 1e-12) == np.inf
    assert first_unstable(lambda mu: np.where(np.abs(mu) > 2, 3.0, 1 + 1e-15 * np.abs(mu)), 1j, 1e-12) == pytest.approx(
        2
    )


def test_the_box_holds_the_region() -> None:
    left, right, bottom, top = bounding_box(taylor(1))
    assert left < -2 < 0 < right
    assert bottom < -1 < 1 < top
    assert (right - left) < 1.5 * 2
    assert plain("RK4").bounds()[0] < -2.785


@pytest.mark.parametrize(("base", "order"), [("Euler", 1), ("Heun", 2), ("RK3", 3), ("RK4", 4)])
def test_an_order_star_has_order_plus_one_sectors(base: str, order: int) -> None:
    circle = 0.05 * np.exp(1j * np.linspace(0, 2 * np.pi, 721)[:-1])
    signs = np.sign(plain(base).order_star(circle) - 1)
    assert np.count_nonzero(signs != np.roll(signs, 1)) == 2 * (order + 1)


def test_schemes_without_a_plane_are_refused() -> None:
    with pytest.raises(ia.InputError, match="stochastic"):
        derive("vp/EM").stability.at(1j)
    with pytest.raises(ia.InputError, match="one-step scheme on one block"):
        derive("vp/DEIS-tAB1").stability.polynomial()
    with pytest.raises(ia.InputError, match="needs no h"):
        derive("psld/RVV").stability.at(1j, 0.1)
    with pytest.raises(ia.InputError, match="step of more than t"):
        derive("psld/RVV").stability.oscillation(np.array([9.0]))
