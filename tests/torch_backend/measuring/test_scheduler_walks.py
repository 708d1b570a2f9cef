"""The mixture's exact prediction against the score of torch_backend.scores, its flow against a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from torch_backend.measuring.scheduler_walks import OUTPUTS, Mixture, rmse, solve_to_no_noise, walk_scheduler
from torch_backend.scores import MixtureScore

MEANS = torch.tensor([[1.0, -0.5], [-0.7, 0.2], [0.1, 1.3]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
Z = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Straight:
    """The kernel of z = (1 - t) x_0 + t eps."""

    def mean(self, t):
        return (1 - t,)

    def cholesky(self, t):
        return (t,)


@pytest.mark.parametrize("t", [0.02, 0.5, 0.98])
def test_predictions_are_those_of_the_score(t: float) -> None:
    x_0, eps = Mixture(MEANS, WEIGHTS, 0.09).predict(Z, 1 - t, t)
    expected = MixtureScore(Straight(), MEANS, 0.09, WEIGHTS)(Z, torch.full((6,), t, dtype=torch.float64))
    assert torch.allclose(eps, expected, rtol=1e-10)
    assert torch.allclose((1 - t) * x_0 + t * eps, Z, rtol=1e-12)


def test_pure_noise_predicts_the_mean_and_no_noise_the_state() -> None:
    law = Mixture(MEANS, WEIGHTS, 0.09)
    x_0, eps = law.predict(Z, 0.0, 1.0)
    assert torch.allclose(x_0, (WEIGHTS @ MEANS).expand(6, 2))
    assert torch.allclose(eps, Z)
    assert torch.allclose(law.predict(Z, 1.0, 0.0)[0], Z)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.0, 1.0), (0.0683, math.sqrt(1 - 0.0683**2)), (0.4, 0.6)])
def test_one_gaussian_flows_to_its_closed_form(alpha: float, sigma: float) -> None:
    """The flow keeps the place in units of the standard deviation, sqrt(alpha^2 v + sigma^2)."""
    law = Mixture(MEANS[:1], WEIGHTS[:1] / WEIGHTS[0], 0.09)
    exact = MEANS[0] + 0.3 / math.hypot(0.3 * alpha, sigma) * (Z - alpha * MEANS[0])
    assert rmse(solve_to_no_noise(law, Z, alpha, sigma), exact) < 1e-8


def test_fine_walks_of_euler_approach_the_solution_at_order_one() -> None:
    law = Mixture(MEANS, WEIGHTS, 0.09)
    exact = solve_to_no_noise(law, Z, 0.0, 1.0)

    def network(z: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        sigma = float(timestep) / 1000
        return OUTPUTS["flow_prediction"](*law.predict(z, 1 - sigma, sigma), 1 - sigma, sigma)

    errors = []
    for steps in (100, 200):
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
        errors.append(rmse(walk_scheduler(scheduler, network, Z), exact))
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)


def test_options_go_to_every_step() -> None:
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(4)
    walks = [
        walk_scheduler(scheduler, lambda z, t: z / 2, Z, eta=eta, generator=torch.Generator().manual_seed(0))
        for eta in (0.0, 1.0)
    ]
    assert not torch.allclose(*walks)
