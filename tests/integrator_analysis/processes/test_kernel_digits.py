"""Kernels near the data, entry by entry in float64, against the stationary form in 60 digits: 1e-13 of each entry."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source
from torch_backend.source import module_from_source

NEAR_DATA = [1e-8, 1e-5, 1e-3, 0.05, 0.3]
PSLD = [("0.01", "4.01"), ("0.02", "4.02"), ("0.5", "3"), ("3", "1"), ("0.25", "0.3")]
LOWER = {1: [(0, 0)], 2: [(0, 0), (1, 0), (1, 1)]}


def relative(measured: object, exact: mpmath.mpf) -> float:
    return float(abs(mpmath.mpf(float(measured)) - exact) / abs(exact))


@pytest.mark.parametrize("time", NEAR_DATA)
@pytest.mark.parametrize(("big_gamma", "nu"), PSLD)
def test_psld_kernel_keeps_its_digits(on_paper: Callable, big_gamma: str, nu: str, time: float) -> None:
    process = ia.process("psld", Gamma=float(big_gamma), nu=float(nu))
    with mpmath.workdps(60):
        paper = on_paper("psld", big_gamma, nu)
        sigma, psi = paper.covariance(mpmath.mpf(time)), paper.exponential(paper.clock(mpmath.mpf(time)))
        covariance, mean = process.covariance(time), process.mean(time)
        errors = [relative(covariance[i, j], sigma[i, j]) for i in range(2) for j in range(2)]
        errors += [relative(mean[i, j], psi[i, j]) for i in range(2) for j in range(2)]
    assert max(errors) < 1e-13


@pytest.mark.parametrize("time", [*NEAR_DATA, 1.0])
def test_vp_kernel_keeps_its_digits(on_paper: Callable, time: float) -> None:
    process = ia.process("vp")
    with mpmath.workdps(60):
        paper = on_paper("vp")
        assert relative(process.covariance(time)[0, 0], paper.covariance(mpmath.mpf(time))[0, 0]) < 1e-14
        assert relative(process.mean(time)[0, 0], paper.exponential(paper.clock(mpmath.mpf(time)))[0, 0]) < 1e-14


@pytest.mark.parametrize(("name", "parameters"), [("vp", ()), ("psld", ("0.01", "4.01")), ("psld", ("0.02", "4.02"))])
def test_generated_kernel_and_its_factor_keep_their_digits(
    on_paper: Callable, name: str, parameters: tuple[str, ...]
) -> None:
    chosen = dict(zip(("Gamma", "nu"), map(float, parameters), strict=False))
    kernel = module_from_source(kernel_source(ia.process(name, **chosen)), f"kernel_digits_{name}_{len(parameters)}")
    times = torch.tensor(NEAR_DATA, dtype=torch.float64)
    mean, covariance, factor = kernel.mean(times), kernel.covariance(times), kernel.cholesky(times)
    with mpmath.workdps(60):
        paper = on_paper(name, *parameters)
        for n, time in enumerate(map(mpmath.mpf, NEAR_DATA)):
            psi, sigma = paper.exponential(paper.clock(time)), paper.covariance(time)
            lower = mpmath.cholesky(sigma)
            assert max(relative(value[n], psi[i, 0]) for i, value in enumerate(mean)) < 1e-13
            for p, (i, j) in enumerate(LOWER[len(paper.names)]):
                assert relative(covariance[p][n], sigma[i, j]) < 1e-13
                assert relative(factor[p][n], lower[i, j]) < 1e-13


def test_kernel_at_the_data_itself() -> None:
    """t = 0: the mean is the identity and the covariance is Sigma(0) = diag(0, gamma M), with no division by zero."""
    process = ia.process("psld", Gamma=0.02, nu=4.02, gamma=0.09)
    np.testing.assert_array_equal(process.mean(0.0), np.eye(2))
    np.testing.assert_allclose(process.covariance(0.0), np.diag([0.0, 0.09 * 0.25]), rtol=1e-15)
