"""One scheme in every form that it is exported to: the same image from the same noise, to float32 rounding."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.torch_backend.exporting import exported_text
from torch_backend import load
from torch_backend.export.torch_program import SamplingLoop, export_loop
from torch_backend.source import module_from_source

STEPS = [950, 801, 650, 444, 250, 120, 40, 5]


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """Of vp with beta from 0.1 to 20."""
    b = 0.1 * t + 9.95 * t**2
    return torch.exp(-b / 2), torch.sqrt(-torch.expm1(-b))


def time_of(ratio: Tensor) -> Tensor:
    """The time at which sigma/alpha is ``ratio``."""
    b = torch.log1p(ratio**2)
    return 2 * b / (0.1 + torch.sqrt(0.01 + 39.8 * b))


class Network(nn.Module):
    """eps of Gaussian data of deviation one half, and something that is not linear."""

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (entry.reshape(-1, 1, 1, 1) for entry in alpha_sigma(t))
        return sigma * z / (0.25 * alpha**2 + sigma**2) + 0.1 * torch.sin(3 * z)


@pytest.fixture(scope="module")
def case() -> Any:
    """Start, times with the step to no noise at their end, and where the sampler ends."""
    network, x = Network(), torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    times = [*time_of(torch.sqrt(1 / bars[STEPS] - 1)).tolist(), 0.0]
    end = load("vp/DPM-Solver++2M").sample(network, x, times=times)
    return SimpleNamespace(network=network, x=x, times=times, end=end)


def close(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).abs().max()) < 2e-6 * float(expected.abs().max())


def test_the_module(case: Any) -> None:
    module = module_from_source(exported_text("vp/DPM-Solver++2M", "module"), "everywhere_module")
    assert torch.equal(module.sample(case.network, case.x, times=case.times), case.end)


def test_the_scheduler(case: Any) -> None:
    module = module_from_source(exported_text("vp/DPM-Solver++2M", "diffusers"), "everywhere_scheduler")
    scheduler, x, at = module.VPDPMSolverPP2MScheduler(), case.x, iter(case.times)
    scheduler.set_timesteps(timesteps=STEPS)
    for t in scheduler.timesteps:
        x = scheduler.step(case.network(x, torch.full((2,), next(at))), t, x).prev_sample
    assert close(x, case.end)


def test_the_function_on_sigmas(case: Any) -> None:
    """In variance-exploding coordinates: x divided by alpha."""
    module = module_from_source(exported_text("edm/DPM-Solver++2M", "k-diffusion"), "everywhere_sigmas")

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        wide = sigma.reshape(-1, 1, 1, 1)
        return x - wide * case.network(x / torch.sqrt(1 + wide**2), time_of(sigma))

    sigmas = [math.sqrt(math.expm1(0.1 * t + 9.95 * t**2)) for t in case.times[:-1]]
    start = case.x * math.sqrt(1 + sigmas[0] ** 2)
    assert close(module.sample_edm_dpm_solver_pp_2m(model, start, [*sigmas, 0.0]), case.end)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_the_exported_loop(case: Any) -> None:
    loop = SamplingLoop(load("vp/DPM-Solver++2M").module, case.network, case.times)
    assert close(export_loop(loop, case.x).module()(case.x), case.end)


def test_another_scheme_is_another_image(case: Any) -> None:
    other = load("vp/DDIM").sample(case.network, case.x, times=case.times)
    assert not close(other, case.end)
