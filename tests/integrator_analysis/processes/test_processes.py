"""Perturbation kernels against the differential equations that define them, and against closed forms near t = 0."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import integrator_analysis as ia
from torch_backend.source import load_kernel

PSLD = [(0.01, 4.01), (0.02, 4.02), (0.5, 3.0), (3.0, 1.0), (0.0, 4.0)]


@pytest.mark.parametrize(("big_gamma", "nu"), PSLD)
@pytest.mark.parametrize("time", [0.01, 0.3, 1.0])
def test_psld_solves_its_mean_and_lyapunov_equations(big_gamma: float, nu: float, time: float) -> None:
    process = ia.process("psld", Gamma=big_gamma, nu=nu)
    beta, mass = 8.0, 4 / (big_gamma - nu) ** 2
    f = beta / 2 * np.array([[-big_gamma, 1 / mass], [-1, -nu]])
    d = beta * np.diag([big_gamma, mass * nu])

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        sigma = flat.reshape(2, 2)
        return (f @ sigma + sigma @ f.T + d).ravel()

    start = np.diag([0.0, 0.04 * mass]).ravel()
    solution = solve_ivp(slope, (0, time), start, method="DOP853", rtol=1e-12, atol=1e-15).y[:, -1].reshape(2, 2)
    assert process.covariance(time) == pytest.approx(solution, rel=1e-9, abs=1e-12)
    assert process.mean(time) == pytest.approx(expm(f * time), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("time", [0.001, 0.5, 1.0])
def test_vp_has_the_textbook_kernel(time: float) -> None:
    process = ia.process("vp")
    b = 0.1 * time + 19.9 * time**2 / 2
    assert process.mean(time)[0, 0] == pytest.approx(math.exp(-b / 2), rel=1e-14)
    assert process.covariance(time)[0, 0] == pytest.approx(-math.expm1(-b), rel=1e-14)


def psld_position_variance(time: float) -> mpmath.mpf:
    """e^{-x} [phi(x) + Gamma b + Gamma nu b^2/2 + b^2 s_mm/(4 M^2)]; phi = e^x - 1 - x - x^2/2, x = (Gamma+nu) b/2."""
    with mpmath.workdps(60):
        g, nu, b = mpmath.mpf("0.01"), mpmath.mpf("4.01"), 8 * mpmath.mpf(time)
        c, mass = (g + nu) / 2, mpmath.mpf("0.25")
        x, s_mm = c * b, mpmath.mpf("0.04") * mass
        phi = mpmath.exp(x) - 1 - x - x**2 / 2
        return mpmath.exp(-x) * (phi + g * b + g * nu * b**2 / 2 + b**2 * s_mm / (4 * mass**2))


@pytest.mark.parametrize("time", [1e-10, 1e-8, 1e-5, 1e-3, 0.02, 0.3, 1.0])
def test_position_variance_does_not_cancel_near_data(time: float) -> None:
    expected = float(psld_position_variance(time))
    assert ia.process("psld").covariance(time)[0, 0] == pytest.approx(expected, rel=1e-13)
    generated = load_kernel("psld").covariance(torch.tensor([time], dtype=torch.float64))[0]
    assert generated.item() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", ["vp", "psld"])
def test_generated_kernel_equals_the_process(name: str) -> None:
    process, kernel = ia.process(name), load_kernel(name)
    times = torch.tensor([1e-6, 1e-3, 0.2, 0.9], dtype=torch.float64)
    k = len(process.blocks)
    lower = [(i, j) for i in range(k) for j in range(i + 1)]
    for n, time in enumerate(times.tolist()):
        sigma = process.covariance(time)
        factor = np.linalg.cholesky(sigma)
        assert [m[n].item() for m in kernel.mean(times)] == pytest.approx(process.mean(time)[:, 0], rel=1e-13)
        assert [c[n].item() for c in kernel.covariance(times)] == pytest.approx([sigma[p] for p in lower], rel=1e-12)
        assert [c[n].item() for c in kernel.cholesky(times)] == pytest.approx([factor[p] for p in lower], rel=1e-9)


def test_symbolic_face() -> None:
    process = ia.process("psld", Gamma=0.02, nu=4.02)
    assert process.drift.shape == process.diffusion.shape == process.symbolic_covariance.shape == (2, 2)
    assert set(ia.processes()) >= {"vp", "psld"}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("psdl", {}, "did you mean psld"),
        ("psld", {"gama": 1.0}, "no parameter 'gama'; accepted: Gamma, nu"),
        ("psld", {"Gamma": float("nan")}, "not a finite number"),
        ("psld", {"Gamma": "1"}, "not a finite number"),
        ("psld", {"Gamma": 4.01}, "Gamma != nu"),
        ("psld", {"nu": -1.0}, "nu > 0"),
        ("psld", {"t_min": 0.0}, "0 < t_min"),
        ("vp", {"beta_min": 30.0}, "beta_min <= beta_max"),
        ("vp", {"t_min": -1e-3}, "0 < t_min"),
        ("vp", {"beta_min": None}, "not a finite number"),
        ("vp", {"beta_min": (0.1, 0.2)}, "not a finite number"),
        ("subvp", {"beta_max": 0.01}, "beta_min <= beta_max"),
        ("ve", {"sigma_min": 60.0}, "sigma_min < sigma_max"),
        ("ve", {"sigma_max": math.inf}, "not a finite number"),
        ("vp", {"beta_max": 10**400}, "beta_max is beyond the largest float; pass a smaller number"),
        ("ddpm", {"betas": (0.1, -(10**5000))}, r"betas\[1\] is beyond the largest float"),
        ("edm", {"t_min": 90.0}, "t_min < t_max"),
        ("flow", {"t_max": 1.5}, "t_max <= 1"),
        ("vp_cosine", {"t_max": 1.0}, "t_max < 1"),
        ("vp_cosine", {"offset": -0.1}, "offset >= 0"),
        ("psld", {"M": 0.0}, "M > 0"),
        ("psld", {"M": math.nan}, "not a finite number"),
        ("cld", {"Gamma": 0.0}, "Gamma > 0"),
        ("cld", {"M": -1.0}, "M > 0"),
        ("ddpm", {"betas": (0.1, 1.0)}, r"every beta in \(0, 1\), got betas\[1\]=1.0"),
        ("ddpm", {"betas": (0.1, 0.0)}, r"betas\[1\]"),
        ("ddpm", {"betas": (0.1, math.nan)}, r"betas\[1\] = nan is not a finite number"),
        ("ddpm", {"betas": ()}, "betas is empty"),
        ("ddpm", {"betas": 0.1}, "not a sequence"),
        ("ddpm", {"betas": "0.1"}, "not a sequence"),
        ("ddpm", {"betas": (0.1, 0.2), "steps": 2}, "either betas or steps"),
        ("ddpm", {"steps": 10.5}, "an integer"),
        ("ddpm", {"steps": 1}, "an integer"),
        ("ddpm", {"beta_end": 1.5}, "every beta"),
    ],
)
def test_bad_parameters_are_one_clear_error(name: str, parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ia.InputError, match=message):
        ia.process(name, **parameters)


def test_a_process_too_stiff_for_its_quadrature_is_refused() -> None:
    with pytest.raises(ia.InputError, match="int beta times damping"):
        ia.process("psld", beta=1000.0, M=0.5).covariance(0.5)
    with pytest.raises(ia.InputError, match="times frequency"):
        ia.process("psld", M=1e-3).covariance(0.5)


@pytest.mark.parametrize("time", [-0.1, 1.5])
def test_time_outside_the_process_is_refused(time: float) -> None:
    with pytest.raises(ia.InputError, match="outside"):
        ia.process("vp").covariance(time)
