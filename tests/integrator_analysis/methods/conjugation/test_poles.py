"""Weights by quadrature on processes whose schedule has a pole at the end of the interval, or just behind it."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.analysis.coefficients import CoefficientTable

LONG = pytest.mark.parametrize(("spec", "start"), [("flow/DEIS-tAB1", 0.999), ("vp_cosine/DEIS-tAB1", 0.9946)])


@LONG
@pytest.mark.parametrize("share", [0.9, 0.6, 0.2])
def test_the_first_step_is_exact_for_constant_eps(spec: str, start: float, share: float) -> None:
    """With x_0 = 0 the state sigma(t) eps becomes sigma(s) eps, of which decay = alpha_s/alpha_t leaves the weight."""
    integrator, end = ia.derive(spec), start * share
    module = integrator.to_torch().module
    row = module.coefficients(*torch.tensor([start, end], dtype=torch.float64), ())
    found = dict(zip(module.COEFFICIENTS, row.tolist(), strict=True))
    alpha, sigma = (
        [f(time)[0, 0] for time in (start, end)] for f in (integrator.process.mean, integrator.process.covariance)
    )
    decay = alpha[1] / alpha[0]
    assert found["decay_x"] == pytest.approx(decay, rel=1e-12)
    assert found["weight_xx_0"] == pytest.approx(np.sqrt(sigma[1]) - decay * np.sqrt(sigma[0]), rel=1e-9)


def test_lambda_has_the_weight_of_a_rule_of_another_kind() -> None:
    """mpmath integrates by tanh-sinh, with nodes that crowd at the pole."""
    program = ia.derive("flow/lambda-DDIM-I").network_program
    found = CoefficientTable(program)(0.999, 0.6)
    with mpmath.workdps(25):
        exact = CoefficientTable(program, "mpmath")(mpmath.mpf("0.999"), mpmath.mpf("0.6"))
    np.testing.assert_allclose(found, np.array(exact, dtype=float), rtol=1e-11)
