"""Transient growth, second moments, the oscillator and Gaussian data along a grid, against closed forms and scipy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm, sqrtm

import integrator_analysis as ia
from integrator_analysis.analysis.stability.along_grid import smallest_stable
from integrator_analysis.analysis.stability.frozen import FrozenProblems
from integrator_analysis.analysis.stability.growth import (
    growth,
    henrici,
    kreiss,
    norm,
    numerical_radius,
    peak,
)

BIG_GAMMA, NU, MASS, BETA = 0.01, 4.01, 0.25, 8.0

derive = cache(ia.derive)


# --- matrices --------------------------------------------------------------------------------------------------------


def test_growth_of_a_triangular_matrix_in_closed_form() -> None:
    """R = [[a, b], [0, a]]: R^j = [[a^j, j a^(j-1) b], [0, a^j]], numerical range a disc of radius b/2 about a."""
    a, b = 0.9, 3.0
    matrix = np.array([[a, b], [0, a]])
    found = growth(matrix, np.eye(2), 1000)
    powers = [np.linalg.norm(np.array([[a**j, j * a ** (j - 1) * b], [0, a**j]]), 2) for j in range(200)]
    assert (found.peak, found.at) == (pytest.approx(max(powers)), int(np.argmax(powers)))
    assert found.radius == pytest.approx(a, abs=1e-7)
    assert found.numerical_radius == pytest.approx(a + b / 2)
    assert found.henrici == pytest.approx(b, rel=1e-6)
    assert found.kreiss <= found.peak <= np.e * 2 * 1.1 * found.kreiss  # 1.1: the bound is that of the supremum
    assert found.peak > 10


def test_normal_matrices_do_not_grow() -> None:
    turn = 0.99 * np.array([[np.cos(1), np.sin(1)], [-np.sin(1), np.cos(1)]])
    found = growth(turn, np.eye(2), 1000)
    assert (found.peak, found.at) == (1, 0)
    assert found.henrici == pytest.approx(0, abs=1e-7)
    assert found.numerical_radius == pytest.approx(0.99, rel=2e-4)  # what its directions resolve
    assert found.kreiss <= 1


def test_norms_and_unstable_matrices_in_stacks() -> None:
    rng = np.random.default_rng(0)
    for shape in ((5, 1, 1), (4, 2, 2), (3, 2, 4), (3, 3, 3)):
        stack = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        np.testing.assert_allclose(norm(stack), [np.linalg.norm(m, 2) for m in stack], rtol=1e-12)
    largest, _ = peak(np.array([[[0.5, 1], [0, 0.5]], [[1.1, 0], [0, 0.1]]]), np.eye(2), 100)
    assert largest[0] == pytest.approx(np.linalg.norm([[0.5, 1], [0, 0.5]], 2))
    assert np.isinf(largest[1])
    shear = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert (henrici(shear), numerical_radius(shear)) == (pytest.approx(1), pytest.approx(0.5))
    assert kreiss(np.zeros((2, 2))) < 1


def test_a_stable_scheme_whose_states_grow() -> None:
    """Verlet at h omega = 1.99: both eigenvalues on the circle, states up to 1/sqrt(1 - (h omega / 2)^2) larger.

    Invariant of kick-drift-kick: q^2 (1 - h^2/4) + p^2, whose axes have this ratio (Hairer, Lubich, Wanner, I.1.4).
    """
    h = 1.99 / 8
    found = derive("psld/RVV").stability.growth(h, -1.0)
    assert found.radius == pytest.approx(1, abs=1e-10)
    assert found.peak == pytest.approx(1 / np.sqrt(1 - (1.99 / 2) ** 2), rel=1e-3)
    assert found.norm < found.peak


def test_peaks_of_a_multistep_scheme_are_those_of_its_state() -> None:
    """DEIS-tAB1 with the frozen score, iterated by hand from a past at rest: z' = c z + w_0 n + w_1 n_1, n = K z."""
    stability = derive("vp/DEIS-tAB1").stability
    h, t, value = 0.02, 0.5, -3.0
    matrix = stability._amplify_frozen_score(h, value, t)
    k = stability.score_jacobian(value, t)[0, 0]
    z, past, sizes = 1.0, k, [1.0]
    for _ in range(300):
        z, past = matrix[0, 0] * z + matrix[0, 1] * past, k * z
        sizes.append(abs(z))
    assert stability.peaks([h], [value], t)[0, 0] == pytest.approx(max(sizes), rel=1e-12)


# --- second moments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "variances"),
    [
        ("BAOAB", lambda h: (1, 1 - h**2 / 4)),
        ("ABOBA", lambda h: (1, 1 / (1 - h**2 / 4))),
        ("OBABO", lambda h: (1 / (1 - h**2 / 4), 1)),
    ],
)
def test_mean_square_gives_the_published_stationary_variances(word: str, variances) -> None:
    """Leimkuhler and Matthews 2013, doi 10.1093/amrx/abs010; omega = 4 / sqrt(M), noise in the momentum alone."""
    mass, omega = 0.6, 4 / 0.6**0.5
    stability = derive(f"psld(Gamma=0, nu=3, M=0.6)/{word}(naive)").stability
    for h in (0.2, 1.0, 1.8):
        found = stability.mean_square(h / omega, -1.0)
        q, p = variances(h)
        np.testing.assert_allclose(found.covariance, np.diag([q, mass * p]), rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.exact, np.diag([1, mass]), rtol=0, atol=1e-12)
        assert found.radius < 1
    unstable = stability.mean_square(2.05 / omega, -1.0)
    assert unstable.radius > 1
    assert unstable.covariance is None


def test_the_frozen_reverse_process_of_vp() -> None:
    """dX = (beta/2 + beta S) X dtau + sqrt(beta) dw: the variance 1/(-2 S - 1), none where S >= -1/2."""
    stability = derive("vp/EM").stability
    assert stability.mean_square(0.01, -3.0, 0.5).exact[0, 0] == pytest.approx(1 / 5, rel=1e-12)
    assert stability.mean_square(0.01, -0.4, 0.5).exact is None


# --- the oscillator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["psld/RVV", "psld/NVV", "cld/BAB(naive)", "psld/RSE"])
def test_verlet_turns_too_far_and_damps_nothing(spec: str) -> None:
    """2 arcsin(theta/2) = theta + theta^3/24 + ...; symplectic Euler is conjugate to Verlet and turns alike."""
    theta = np.array([0.05, 0.5, 1.5, 1.9])
    found = derive(spec).stability.oscillation(theta)
    np.testing.assert_allclose(found.phase_error, 2 * np.arcsin(theta / 2) - theta, rtol=1e-8)
    assert found.phase_error[0] == pytest.approx(0.05**3 / 24, rel=1e-3)
    assert np.abs(found.amplitude_error).max() < 1e-12


def test_runge_kutta_4_on_the_oscillator() -> None:
    """R(i theta) e^(-i theta) = 1 - i theta^5/120 - theta^6/144 + ...: it lags and it damps."""
    found = derive("vp/RK4").stability.oscillation(np.array([0.1, 0.2]))
    np.testing.assert_allclose(found.phase_error, -(found.theta**5) / 120, rtol=0.02)
    np.testing.assert_allclose(found.amplitude_error, -(found.theta**6) / 144, rtol=0.02)
    euler = derive("psld/Euler").stability.oscillation(np.array([0.1, 1.0]))
    np.testing.assert_allclose(euler.amplitude_error, np.sqrt(1 + euler.theta**2) - 1, rtol=1e-9)


# --- exact flows and Gaussian data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 0.6])
@pytest.mark.parametrize("name", ["vp", "subvp", "flow", "psld", "cld"])
def test_the_frozen_scores_exact_flow(name: str, kappa: float) -> None:
    process = ia.process(name)
    k, start, end = len(process.blocks), 0.6 * process.t_max, 0.25 * process.t_max
    score = np.diag([-2.5, -3.0][:k])
    beta = {
        "vp": lambda t: 0.1 + 19.9 * t,
        "subvp": lambda t: 0.1 + 19.9 * t,
        "flow": lambda t: 1 / (1 - t),
        "psld": lambda t: 8.0,
        "cld": lambda t: 4.0,
    }[name]

    def field(t: float) -> np.ndarray:
        drift = {"psld": [[-0.005, 2.0], [-0.5, -2.005]], "cld": [[0, 4.0], [-1, -4.0]], "flow": [[-1.0]]}
        noise = {"psld": np.diag([0.01, 0.25 * 4.01]), "cld": np.diag([0.0, 2.0]), "flow": np.array([[2 * t]])}
        clock = 0.1 * t + 19.9 * t**2 / 2
        other = np.array([[1.0 if name == "vp" else -np.expm1(-2 * clock)]])
        return beta(t) * (np.array(drift.get(name, [[-0.5]])) - noise.get(name, other) @ score * (1 + kappa**2) / 2)

    out = solve_ivp(
        lambda t, z: (field(t) @ z.reshape(k, k)).ravel(), (start, end), np.eye(k).ravel(), rtol=1e-11, atol=1e-13
    )
    found = FrozenProblems(process).exact(score, start, end, kappa)
    np.testing.assert_allclose(found, out.y[:, -1].reshape(k, k), rtol=1e-8, atol=1e-10)


def test_the_stationary_variance_where_the_diffusion_is_no_multiple_of_the_drift() -> None:
    """Sub-VP: dx = (beta/2 + D s) x dT + sqrt(D) dw, D = beta (1 - e^(-2 B)), has the variance -D / (beta + 2 D s)."""
    time, score = 0.3, -2.5
    beta, clock = 0.1 + 19.9 * time, 0.1 * time + 19.9 * time**2 / 2
    diffusion = -beta * np.expm1(-2 * clock)
    found = FrozenProblems(ia.process("subvp")).stationary(np.array([[score]]), time)
    assert found == pytest.approx(np.array([[-diffusion / (beta + 2 * diffusion * score)]]), rel=1e-12)


def test_along_a_grid_by_hand() -> None:
    """Euler on VP: the product of 1 + h beta/2 (1 - 1/S), over the ratio of standard deviations."""
    times, variances = np.array([1.0, 0.6, 0.3, 0.1]), np.array([0.01, 1.0, 3.0])
    clock = 0.1 * times + 19.9 * times**2 / 2
    marginal = variances * np.exp(-clock)[:, None] - np.expm1(-clock)[:, None]
    h, beta = -np.diff(times)[:, None], (0.1 + 19.9 * times[:-1])[:, None]
    steps = 1 + h * beta / 2 * (1 - 1 / marginal[:-1])
    product = np.vstack([np.ones(3), np.abs(np.cumprod(steps, axis=0))])
    expected = product * np.sqrt(marginal[0] / marginal)
    np.testing.assert_allclose(derive("vp/Euler").stability.along(times, variances), expected, rtol=1e-11)


def test_along_is_the_norm_of_the_whitened_product_of_steps() -> None:
    stability = derive("psld/RSE").stability
    times, variance = [0.9, 0.7, 0.5, 0.2], 0.04
    covariances = [stability.frozen.marginals(np.array([variance]), t)[0] for t in times]
    product, expected = np.eye(2), [1.0]
    for start, end, after in zip(times[:-1], times[1:], covariances[1:], strict=True):
        pull = {t: np.linalg.inv(stability.frozen.marginals(np.array([variance]), t)[0]) for t in (start, end)}
        b = np.eye(2) + (start - end) * BETA / 2 * (
            np.array([[0, 0], [1, NU]]) - MASS * NU * np.array([[0, 0], pull[start][1]])
        )
        a = np.eye(2) + (start - end) * BETA / 2 * np.array([[BIG_GAMMA, -1 / MASS], [0, 0]])
        step = a @ b
        step[0] -= (start - end) * BETA / 2 * BIG_GAMMA * pull[start][0]  # A takes the evaluation before B
        product = step @ product
        whitened = np.linalg.inv(sqrtm(after)) @ product @ sqrtm(covariances[0])
        expected.append(np.linalg.norm(whitened, 2))
    np.testing.assert_allclose(stability.along(times, [variance])[:, 0], expected, rtol=1e-9)


def test_along_a_grid_with_an_evaluation_that_is_kept() -> None:
    """SPS-2M begins with a step of no length; its covariances are those of ``gaussian_error``."""
    times, variance = [0.9, 0.7, 0.4], 0.3
    i = derive("psld/SPS-2M")
    error = i.gaussian_error(times, 0.0, variance)
    ratio = np.linalg.eigvals(np.linalg.solve(error.exact[0], error.exact[0] + error.covariance[0])).max()
    assert i.stability.along(times, [variance])[-1, 0] == pytest.approx(np.sqrt(ratio.real), rel=1e-9)


def test_exact_schemes_are_as_wide_as_the_data_on_any_grid() -> None:
    gddim = derive("psld/gDDIM").stability
    np.testing.assert_allclose(gddim.along([1.0, 0.4, 0.01], [0.0]), 1, rtol=1e-8)
    assert np.abs(gddim.along([1.0, 0.4, 0.01], [0.5]) - 1).max() > 0.01
    assert gddim.stable_steps([0.0], lambda n: np.linspace(1, 0.01, n + 1)) == 1


def test_the_smallest_stable_number_of_steps_is_the_smallest() -> None:
    stability = derive("psld/RVV").stability
    grid = lambda n: np.linspace(1.0, 0.03, n + 1) ** 2  # noqa: E731
    steps = stability.stable_steps([0.01, 1.0], grid)
    assert steps is not None
    assert (stability.along(grid(steps), [0.01, 1.0]) <= 2).all()
    assert (stability.along(grid(steps - 1), [0.01, 1.0]) > 2).any()
    each = stability.stable_evaluations([0.01, 1.0], grid)
    assert each == [2 * n for n in (stability.stable_steps([v], grid) for v in (0.01, 1.0)) if n is not None]
    assert max(n for n in each if n is not None) == 2 * steps
    assert stability.stable_steps([0.01], grid, most=2) is None
    found = smallest_stable(lambda n: n in (1, 2, 5) or n > 9, 100)  # a first stable number would be 1
    assert found == 10
    with pytest.raises(ia.InputError, match="not negative"):
        stability.along([1.0, 0.5], [-1.0])


def test_the_largest_step_of_verlet_on_unit_data() -> None:
    """omega = 8: h = 1/4, from any time, because unit data have the frozen score -diag(1, 1/M) once M is reached."""
    stability = derive("psld(gamma=1)/BAB(naive)").stability
    assert stability.largest_step([1.0], t=0.9) == pytest.approx(0.25, rel=1e-3)
    assert derive("psld(gamma=1)/Euler").stability.largest_step([1.0], t=0.9) == 0  # excites it at every step


# --- the paper's theorem ---------------------------------------------------------------------------------------------


def test_the_theorem_on_two_blocks() -> None:
    """E^{-1} R = I + h Lambda, Lambda = -lambda I - (1/h) int A_u eta(u) du K, with A_u = e^{(lambda - F)(u - t)}."""
    h, t, strength = 0.05, 0.6, 0.7
    jacobian = np.array([[0.4, -0.2], [0.7, 1.1]])
    drift = BETA / 2 * np.array([[-BIG_GAMMA, 1 / MASS], [-1, -NU]])
    noise = BETA * np.diag([BIG_GAMMA, MASS * NU])
    process = ia.process("psld")
    nodes, weights = np.polynomial.legendre.leggauss(30)
    integral = np.zeros((2, 2))
    for x, w in zip(nodes, weights, strict=True):
        u = t - h / 2 + h / 2 * x
        eta = noise / 2 @ np.linalg.inv(np.linalg.cholesky(process.covariance(u)).T)
        integral += h / 2 * w * expm((strength * np.eye(2) - drift) * (u - t)) @ eta
    expected = np.eye(2) - h * strength * np.eye(2) - integral @ jacobian
    stability = derive("psld/lambda-DDIM-I", lambda_=strength).stability
    found = stability.transformed(h, jacobian, t)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(AssertionError):  # the other sign of reverse time
        np.testing.assert_allclose(found, 2 * np.eye(2) - expected, rtol=1e-2)
    assert henrici(found) > 0.05  # not normal: its eigenvalues do not bound its norm


def test_eigenvalues_inside_the_theorems_disc_do_not_bound_the_state() -> None:
    """Every step has |1 + h lambda_tilde| <= 1 and the product of the steps grows all the same."""
    stability = derive("psld/lambda-DDIM-I", lambda_=0.5).stability
    h = 0.02
    steps = [stability.transformed(h, np.array([[0.0, 0.0], [-8.0, 3.0]]), t) for t in (0.9, 0.88, 0.86, 0.84, 0.82)]
    assert max(np.abs(np.linalg.eigvals(m)).max() for m in steps) <= 1
    assert np.linalg.norm(np.linalg.multi_dot(steps[::-1]), 2) > 1.02


def test_schemes_without_a_transformed_variable_are_refused() -> None:
    with pytest.raises(ia.InputError, match="no propagator"):
        derive("psld/RVV").stability.transformed(0.1, 1.0, 0.5)
    with pytest.raises(ia.InputError, match="multistep"):
        derive("vp/DEIS-tAB1").stability.transformed(0.1, 1.0, 0.5)
