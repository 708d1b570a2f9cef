"""Kernels and schemes written by hand from closed forms, so that no test here depends on generated files.

Knows the textbook formulas; knows nothing of how the project derives them.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import expm

# The tensors here are small: one thread is fastest, and on a busy machine two that wait for each other are 50 times
# slower.
torch.set_num_threads(1)

FRICTION, MASS_INVERSE, NU, BETA, GAMMA_0 = 0.01, 4.0, 4.01, 8.0, 0.04


def _vp_kernel():
    """x' = -beta x / 2 + sqrt(beta) w', beta = 0.1 + 19.9 t; b is its integral."""

    def b(t):
        return 0.1 * t + 9.95 * t**2

    return SimpleNamespace(
        PROCESS="vp", BLOCKS=("x",), T_MAX=1.0, T_MIN=1e-3, PRIOR_STD=(1.0,),
        mean=lambda t: (torch.exp(-b(t) / 2),),
        covariance=lambda t: (-torch.expm1(-b(t)),),
        cholesky=lambda t: (torch.sqrt(-torch.expm1(-b(t))),),
        drift=lambda z, t, score: -(0.1 + 19.9 * t) / 2 * (z + score),
    )  # fmt: skip


def _phase_kernel():
    """Two blocks with constant drift matrix F: mean and covariance by van Loan's matrix exponential."""
    mass = 1 / MASS_INVERSE
    F = BETA / 2 * np.array([[-FRICTION, MASS_INVERSE], [-1.0, -NU]])
    GG = BETA * np.diag([FRICTION, mass * NU])
    initial = np.diag([0.0, GAMMA_0 * mass])

    def at(t):
        block = expm(t * np.block([[-F, GG], [np.zeros((2, 2)), F.T]]))
        propagator = block[2:, 2:].T
        return propagator[:, 0], propagator @ (block[:2, 2:] + initial @ propagator.T)

    def on_times(pick):
        def function(t):
            times, where = np.unique(t.detach().cpu().numpy(), return_inverse=True)
            table = np.array([pick(*at(time)) for time in times])[where]
            return tuple(torch.from_numpy(table).to(t.device).unbind(1))

        return function

    def triangle(matrix):
        return matrix[0, 0], matrix[1, 0], matrix[1, 1]

    def drift(z, t, score):
        x, m = z.chunk(2, 1)
        sx, sm = score.chunk(2, 1)
        dx = F[0, 0] * x + F[0, 1] * m - GG[0, 0] / 2 * sx
        dm = F[1, 0] * x + F[1, 1] * m - GG[1, 1] / 2 * sm
        return torch.cat([dx, dm], 1)

    return SimpleNamespace(
        PROCESS="phase", BLOCKS=("x", "m"), T_MAX=1.0, T_MIN=1e-2, PRIOR_STD=(1.0, 0.5),
        mean=on_times(lambda psi, cov: psi),
        covariance=on_times(lambda psi, cov: triangle(cov)),
        cholesky=on_times(lambda psi, cov: triangle(np.linalg.cholesky(cov))),
        drift=drift,
    )  # fmt: skip


@pytest.fixture(scope="session")
def vp():
    return _vp_kernel()


@pytest.fixture(scope="session")
def phase():
    return _phase_kernel()


@pytest.fixture(scope="session", params=["vp", "phase"])
def kernel(request):
    return request.getfixturevalue(request.param)


def _alpha_sigma(t):
    b = 0.1 * t + 9.95 * t**2
    return torch.exp(-b / 2), torch.sqrt(-torch.expm1(-b))


def _scheme(kernel, **names):
    common = {"SPEC": "test/scheme", "ORDER": 1, "STOCHASTIC": False, "NFE_PER_STEP": 1, "HISTORY": 0, "NOISES": 0}
    shared = {name: getattr(kernel, name) for name in ("PROCESS", "BLOCKS", "T_MAX", "T_MIN", "PRIOR_STD")}
    return SimpleNamespace(**{**common, **shared, "data_weights": _data_weights, **names})


def _data_weights(t):
    """x_0 = z / alpha - (sigma / alpha) eps, of VP."""
    alpha, sigma = _alpha_sigma(t)
    return torch.stack([1 / alpha, -sigma / alpha], -1)


@pytest.fixture(scope="session")
def ddim(vp):
    """DDIM: x <- (alpha_s / alpha_t) x + (sigma_s - (alpha_s / alpha_t) sigma_t) eps; exact for point data."""

    def coefficients(t, s):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = _alpha_sigma(t), _alpha_sigma(s)
        return torch.stack([alpha_s / alpha_t, sigma_s - alpha_s / alpha_t * sigma_t], -1)

    return _scheme(
        vp, SPEC="vp/DDIM", COEFFICIENTS=("decay", "weight"), coefficients=coefficients,
        step=lambda z, t, s, c, network, noise: c[0] * z + c[1] * network(z, t),
    )  # fmt: skip


@pytest.fixture(scope="session")
def heun(vp):
    """Heun's method on the probability-flow ODE in t: two evaluations per step, the second at (predicted z, s)."""

    def coefficients(t, s):
        rate = [-(0.1 + 19.9 * time) / 2 for time in (t, s)]
        weights = [-rate[0] / _alpha_sigma(t)[1], -rate[1] / _alpha_sigma(s)[1]]
        return torch.stack([t - s, rate[0], weights[0], rate[1], weights[1]], -1)

    def step(z, t, s, c, network, noise):
        h, decay_t, weight_t, decay_s, weight_s = c
        slope = decay_t * z + weight_t * network(z, t)
        predicted = z - h * slope
        return z - h / 2 * (slope + decay_s * predicted + weight_s * network(predicted, s))

    return _scheme(
        vp, SPEC="vp/Heun", ORDER=2, NFE_PER_STEP=2, COEFFICIENTS=("h", "decay_t", "weight_t", "decay_s", "weight_s"),
        coefficients=coefficients, step=step,
    )  # fmt: skip


@pytest.fixture(scope="session")
def euler_maruyama(vp):
    """Euler-Maruyama on the reverse SDE."""

    def coefficients(t, s):
        step = (t - s) * (0.1 + 19.9 * t)
        return torch.stack([1 + step / 2, -step / _alpha_sigma(t)[1], torch.sqrt(step)], -1)

    return _scheme(
        vp, SPEC="vp/EM", STOCHASTIC=True, NOISES=1, COEFFICIENTS=("decay", "weight", "noise_x"),
        coefficients=coefficients,
        step=lambda z, t, s, c, network, noise: c[0] * z + c[1] * network(z, t) + c[2] * noise[0],
    )  # fmt: skip


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"))])  # fmt: skip
def device(request):
    return request.param
