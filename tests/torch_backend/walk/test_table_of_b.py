"""B = table: a matrix for every step. Walks against numpy loops with scipy's exponentials, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

import integrator_analysis as ia
from integrator_analysis.catalogue import _SCHEMES
from integrator_analysis.processes import _FAMILIES
from torch_backend import Sampler, load
from torch_backend.source import module_from_source

TIMES = [0.9, 0.8, 0.55, 0.5, 0.3, 0.12]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
DRIFT, DIFFUSION = 4 * np.array([[-0.01, 4], [-1, -4.01]]), 8 * np.diag([0.01, 4.01 / 4])
LIMIT = np.diag([1, 0.25])


def table(k: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(len(TIMES) - 1, k, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start(k: int) -> torch.Tensor:
    return torch.randn(5, k, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def waves(z: np.ndarray, t: float) -> np.ndarray:
    return np.sin(2 * z + t) + z[:, ::-1] / 3


def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(waves(z.numpy(), t[0].item()))


def sampler_of(spec: str) -> Sampler:
    return ia.derive(spec).to_torch(dtype=torch.float64)


def psld_weight(b: np.ndarray, t: float, s: float) -> np.ndarray:
    """-int E(s, u) eta(u) du, eta = G G^T Lchol^{-T} / 2, in sqrt(u)."""
    total = np.zeros((2, 2))
    low, high = np.sqrt(s), np.sqrt(t)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        root = (low + high) / 2 + (high - low) / 2 * node
        e = expm(root**2 * DRIFT)
        factor = np.linalg.cholesky(LIMIT + e @ (np.diag([0, 0.01]) - LIMIT) @ e.T)
        eta = DIFFUSION @ np.linalg.inv(factor).T / 2
        total -= (high - low) / 2 * weight * 2 * root * expm((root**2 - s) * (b - DRIFT)) @ eta
    return total


def test_a_walk_on_phase_space_by_hand() -> None:
    """Conjugate Euler: z <- E (I - h B) z + psi eps with E = exp(h (B - F)) and the B of each step."""
    b, z = table(2).numpy(), start(2)
    expected = z.numpy()
    for (t, s), now in zip(pairwise(TIMES), b, strict=True):
        e = expm((t - s) * (now - DRIFT))
        linear = e @ (np.eye(2) - (t - s) * now)
        expected = expected @ linear.T + waves(expected, t) @ psld_weight(now, t, s).T
    found = sampler_of("psld/conjugate(B=table)").sample(network, z, times=TIMES, B=b)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_a_table_that_does_not_commute_with_the_drift() -> None:
    """On a growing schedule E is an ordered exponential: dE/dt = E (B - F) by scipy."""
    kept = dict(_FAMILIES), dict(_SCHEMES)
    try:
        ia.load_text(Path(__file__).parents[3] / "examples" / "my_langevin.toml")
        sampler = sampler_of("my_langevin/conjugate(B=table)")
    finally:
        for known, before in zip((_FAMILIES, _SCHEMES), kept, strict=True):
            known.clear()
            known.update(before)
    b, expected = table(2).numpy(), np.eye(2)
    drift = np.array([[0.0, 4.0], [-1.0, -4.0]])
    for (t, s), now in zip(pairwise(TIMES), b, strict=True):

        def slope(time: float, e: np.ndarray, now: np.ndarray = now) -> np.ndarray:
            return (e.reshape(2, 2) @ (now - 3 * (1 + time) * drift)).ravel()

        e = solve_ivp(slope, (s, t), np.eye(2).ravel(), "DOP853", rtol=1e-13, atol=1e-15).y[:, -1].reshape(2, 2)
        expected = e @ (np.eye(2) - (t - s) * now) @ expected
    found = sampler.sample(lambda z, t: 0 * z, torch.eye(2, dtype=torch.float64), times=TIMES, B=b).numpy()
    np.testing.assert_allclose(found.T, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("spec", "k"), [("vp/lambda-DDIM-I", 1), ("psld/lambda-DDIM-I", 2), ("psld/lambda-DDIM-II", 2)]
)
def test_the_same_matrix_at_every_step_is_the_scheme_with_that_b(spec: str, k: int) -> None:
    process, name = spec.split("/")
    b = 0.5 * (torch.eye(k) if name.endswith("-I") else torch.ones(k, k)).expand(len(TIMES) - 1, k, k)
    found = sampler_of(f"{process}/conjugate(B=table)").sample(network, start(k), times=TIMES, B=b)
    torch.testing.assert_close(found, load(spec).sample(network, start(k), times=TIMES), rtol=1e-12, atol=1e-12)


def test_a_b_of_its_own_makes_every_step_exact_on_gaussian_data() -> None:
    """arXiv 2310.07894 tunes one lambda; the B of a step can be solved for, one scalar equation a step."""
    sampler, one = sampler_of("vp/conjugate(B=table)"), torch.ones(1, 1, dtype=torch.float64)

    def variances(t: float) -> tuple[float, float]:
        """Of the noise and of the state, for data of variance 1/4."""
        noise = -np.expm1(-0.1 * t - 9.95 * t**2)
        return noise, noise + (1 - noise) / 4

    def data(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        noise, state = variances(t[0].item())
        return np.sqrt(noise) * z / state

    def spread(t: float) -> float:
        return float(np.sqrt(variances(t)[1]))

    def residual(b: float, t: float, s: float) -> float:
        return float(sampler.sample(data, one, times=[t, s], B=[[[b]]])) - spread(s) / spread(t)

    times = [0.8, 0.7, 0.6, 0.5]
    b = [[[brentq(residual, -2.5, 0, args=pair, xtol=1e-14)]] for pair in pairwise(times)]
    found, expected = sampler.sample(data, one, times=times, B=b), spread(0.5) / spread(0.8)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    plain = sampler.sample(data, one, times=times, B=np.zeros((3, 1, 1)))
    assert abs(float(plain) - expected) > 1e-3


@pytest.mark.parametrize("spec", ["vp/conjugate(B=table, base=midpoint)", "psld/conjugate(B=table, base=Heun)"])
def test_schemes_with_a_table_are_verified(spec: str) -> None:
    certificate = ia.verify(spec)
    assert certificate.passed
    assert certificate.claim("order[x]").derived == 2


def test_an_exported_file_takes_the_table(tmp_path: Path) -> None:
    spec = "vp/conjugate(B=table)"
    path = ia.derive(spec).export(tmp_path / "exported.py")
    exported = module_from_source(path.read_text(encoding="utf-8"), "exported_table", str(path))
    b, z = table(1), start(1)
    expected = sampler_of(spec).sample(network, z, times=TIMES, B=b)
    assert torch.equal(exported.sample(network, z, times=TIMES, B=b), expected)


@pytest.mark.parametrize(
    ("spec", "b", "message"),
    [
        ("psld/conjugate(B=table)", None, r"takes a B for every step; pass B of shape \(5, 2, 2\)"),
        (
            "psld/conjugate(B=table)",
            np.zeros((4, 2, 2)),
            r"B has shape \(4, 2, 2\); finite numbers of shape \(5, 2, 2\)",
        ),
        ("psld/conjugate(B=table)", np.full((5, 2, 2), np.nan), "finite numbers of shape"),
        ("psld/conjugate(B=lambda*ones, lambda=0.5)", np.zeros((5, 2, 2)), "takes no B; leave it out"),
    ],
)
def test_unusable_tables(spec: str, b: np.ndarray | None, message: str) -> None:
    sampler = sampler_of(spec)
    with pytest.raises(ValueError, match=message):
        sampler.sample(network, start(2), times=TIMES, B=b)
    with pytest.raises(ValueError, match=message):
        sampler.table(TIMES, B=b)
