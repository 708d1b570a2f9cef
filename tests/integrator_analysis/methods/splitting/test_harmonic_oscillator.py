"""Words on stationary Gaussian data are the textbooks' integrators of the harmonic oscillator, friction and noise too.

With data N(0, 1) and momenta N(0, M) (gamma = 1) every z_t is N(0, diag(1, M)), and the score -(x, m / M) cancels the
damping in A and B exactly if it is evaluated just before (naive) and the sub-flows are Euler's. What is left in reverse
time is x' = -c m / M, m' = c x: in q = x, p = -m / sqrt(M) that is q' = w p, p' = -w q with w = c / sqrt(M), where c is
beta / 2 for PSLD and beta for CLD. Matrices below are for w = 1, the step being w h.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_discrete_lyapunov

import integrator_analysis as ia
from torch_backend.measuring.maps import affine_map

Array = np.ndarray

OSCILLATORS = {
    "psld(gamma=1)": ([[-0.005, 2.0], [-0.5, -2.005]], 8.0, 0.25, 8.0),
    "psld(Gamma=0, nu=3, M=0.6, gamma=1)": ([[0, 0.5 / 0.6], [-0.5, -1.5]], 8.0, 0.6, 4 / 0.6**0.5),
    "cld(gamma=1)": ([[0, 4.0], [-1.0, -4.0]], 4.0, 0.25, 8.0),
}
"""F / beta, beta, M and the frequency w."""


@cache
def module(spec: str) -> ModuleType:
    return ia.derive(spec).to_torch().module


def step_map(process: str, word: str, step: float) -> tuple[Array, Array]:
    """Matrix and noise covariance of one step of the generated code in (q, p), ``step`` / w long."""
    drift, beta, mass, frequency = OSCILLATORS[process]
    prior, scale = np.diag([1, mass]), np.diag([1, -(mass**0.5)])

    def eps(z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        e = expm(np.array(drift) * beta * float(times[0]))
        sigma = prior + e @ (np.diag([0, mass]) - prior) @ e.T  # of z_t given x_0
        return torch.from_numpy(z.numpy() @ np.linalg.inv(prior) @ np.linalg.cholesky(sigma))

    matrix, offset, noise = affine_map(module(f"{process}/{word}"), eps, 0.9, 0.9 - step / frequency)
    assert not offset.any()
    noise = np.linalg.inv(scale) @ noise
    return np.linalg.inv(scale) @ matrix @ scale, noise @ noise.T


def symplectic_euler(h: float) -> Array:
    """Kick, then drift: Hairer, Lubich, Wanner, Geometric Numerical Integration, section I.1.2."""
    return np.array([[1 - h**2, h], [-h, 1]])


def adjoint_euler(h: float) -> Array:
    """Drift, then kick."""
    return np.array([[1, h], [-h, 1 - h**2]])


def velocity_verlet(h: float) -> Array:
    """Kick, drift, kick, the Stoermer-Verlet scheme: Hairer, Lubich, Wanner, section I.1.4."""
    return np.array([[1 - h**2 / 2, h], [-h * (1 - h**2 / 4), 1 - h**2 / 2]])


def position_verlet(h: float) -> Array:
    """Drift, kick, drift."""
    return np.array([[1 - h**2 / 2, h * (1 - h**2 / 4)], [-h, 1 - h**2 / 2]])


TEXTBOOK: dict[str, Callable[[float], Array]] = {
    "BA": symplectic_euler,
    "AB": adjoint_euler,
    "BAB": velocity_verlet,
    "ABA": position_verlet,
}


@pytest.mark.parametrize("process", OSCILLATORS)
@pytest.mark.parametrize("word", TEXTBOOK)
def test_words_are_the_textbooks_integrators(process: str, word: str) -> None:
    """Area is preserved, the trace is 2 - h^2, and bounded motion ends at h = 2, where the trace is -2."""
    for h in (0.1, 0.8, 1.9):
        matrix, _ = step_map(process, f"{word}(naive)", h)
        np.testing.assert_allclose(matrix, TEXTBOOK[word](h), rtol=0, atol=1e-13)
        assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-13)
        assert np.trace(matrix) == pytest.approx(2 - h**2, abs=1e-13)
    for h, radius in ((1.999, 1.0), (2.1, ((2.1**2 - 2) + 2.1 * (2.1**2 - 4) ** 0.5) / 2)):
        matrix, _ = step_map(process, f"{word}(naive)", h)
        assert np.abs(np.linalg.eigvals(matrix)).max() == pytest.approx(radius, abs=1e-9)


FORTH, BACK = "1.351207192", "-1.702414384"
"""1 / (2 - 2^(1/3)) and 1 less twice that, to nine digits: Yoshida, Phys. Lett. A 150 (1990) 262; as a splitting of
seven parts, Forest and Ruth, Physica D 43 (1990) 105."""
FOREST_RUTH = (
    f"B(0.675603596) A({FORTH}) B(-0.175603596) A({BACK}) B(-0.175603596) A({FORTH}) B(0.675603596)"  # halves joined
)


def test_negative_weights_make_the_fourth_order_composition() -> None:
    """Three Verlet steps, the middle one backwards, follow the rotation to the fourth order; Verlet to the second."""
    assert float(FORTH) == pytest.approx(1 / (2 - 2 ** (1 / 3)), abs=1e-9)
    errors = {"BAB(naive)": [], FOREST_RUTH: []}
    for h in (0.4, 0.2, 0.1):
        rotation = np.array([[np.cos(h), np.sin(h)], [-np.sin(h), np.cos(h)]])
        matrices = {word: step_map("psld(gamma=1)", word, h)[0] for word in errors}
        forth, back = velocity_verlet(float(FORTH) * h), velocity_verlet(float(BACK) * h)
        np.testing.assert_allclose(matrices[FOREST_RUTH], forth @ back @ forth, rtol=0, atol=1e-13)
        for word, matrix in matrices.items():
            errors[word].append(np.abs(matrix - rotation).max())
    assert np.log2(np.divide(errors["BAB(naive)"][:-1], errors["BAB(naive)"][1:])) == pytest.approx([3, 3], abs=0.05)
    assert np.log2(np.divide(errors[FOREST_RUTH][:-1], errors[FOREST_RUTH][1:])) == pytest.approx([5, 5], abs=0.05)


STATIONARY: dict[str, Callable[[float], tuple[float, float]]] = {
    "BAOAB": lambda h: (1, 1 - h**2 / 4),
    "ABOBA": lambda h: (1, 1 / (1 - h**2 / 4)),
    "OBABO": lambda h: (1 / (1 - h**2 / 4), 1),
}
"""Variances of q and p that a step leaves alone, whatever the friction, for the harmonic oscillator at temperature 1:
Leimkuhler and Matthews 2013, doi 10.1093/amrx/abs010."""


@pytest.mark.parametrize("word", STATIONARY)
@pytest.mark.parametrize("process", [name for name in OSCILLATORS if name != "psld(gamma=1)"])
def test_noise_leaves_the_published_stationary_variances(process: str, word: str) -> None:
    """Where the noise is in the momentum alone, as in Langevin dynamics."""
    for h in (0.2, 1.0, 1.8):
        matrix, noise = step_map(process, f"{word}(naive)", h)
        found = solve_discrete_lyapunov(matrix, noise)
        np.testing.assert_allclose(found, np.diag(STATIONARY[word](h)), rtol=0, atol=1e-11)
