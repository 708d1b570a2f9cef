"""The exact networks of the digits: eps or the velocity, as the process's networks return it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.report.digits import BANDWIDTH, exact_network, sample_digits
from torch_backend.scores import GaussianScore, digits
from torch_backend.source import load_kernel


@pytest.mark.parametrize("time", [0.02, 0.5, 1.0])
def test_the_velocity_of_gaussian_data_on_rectified_flow(time: float) -> None:
    """v = (z - E[x_0 | z]) / t, the posterior mean by Gaussian conditioning; at t = 1 it is z less the data's mean."""
    mean, variance = torch.tensor([0.4, -0.7], dtype=torch.float64), torch.tensor([0.3, 0.05], dtype=torch.float64)
    network = exact_network(GaussianScore(load_kernel("flow"), mean, variance), ia.process("flow"))
    z = torch.tensor([[0.3, -1.2], [2.0, 0.1]], dtype=torch.float64)
    gain = variance * (1 - time) / ((1 - time) ** 2 * variance + time**2)
    expected = (z - mean - gain * (z - (1 - time) * mean)) / time
    found = network(z, torch.full((2,), time, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # at 1 it is that of 1 - 1e-6


@pytest.mark.parametrize("spec", ["flow/Euler", "flow/Heun", "edm/DPM-Solver++2M"])
def test_samples_are_digits(spec: str) -> None:
    """Each is an image of the data set with noise of deviation BANDWIDTH: 64 draws of it, to four standard errors."""
    images = sample_digits(ia.derive(spec), n=3, steps=24, grid=None, seed=0)
    known = digits()[:, 0].numpy()
    nearest = [np.sqrt(np.mean((known - image) ** 2, axis=(1, 2))).min() for image in images]
    assert max(nearest) < BANDWIDTH * (1 + 4 / math.sqrt(2 * 64)), nearest
