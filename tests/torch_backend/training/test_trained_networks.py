"""The trained networks of benchmarks/trained_weights, in every form of export and in real pipelines."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.torch_backend.exporting import exported_schedulers, exported_text
from torch_backend import load
from torch_backend.export.diffusers import class_name
from torch_backend.export.torch_program import SamplingLoop, export_loop
from torch_backend.measuring.distances import sliced_wasserstein
from torch_backend.scores import digits
from torch_backend.source import load_kernel, module_from_source
from torch_backend.training import PROBLEMS, load_network, loss

NETWORKS = Path(__file__).parents[3] / "benchmarks" / "trained_weights"
STEPS = [950, 801, 650, 444, 250, 120, 40, 5]
LOG_BARS = torch.cumsum(torch.log1p(-torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)), 0)
TABLE = {"clip_sample": False, "timestep_spacing": "trailing"}


@cache
def trained(problem: str) -> Any:
    return load_network(problem, NETWORKS / problem)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with exported_schedulers(tmp_path_factory.mktemp("trained"), "trained") as build:
        yield build


def close(found: Tensor, expected: Tensor, tolerance: float = 2e-5) -> bool:
    return float((found - expected).abs().max()) < tolerance * float(expected.abs().max())


# --- what was committed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_committed_weights_have_the_loss_that_is_written_beside_them(problem: str) -> None:
    facts = json.loads((NETWORKS / problem / "training.json").read_text(encoding="utf-8"))
    network = trained(problem)
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["weights"]
    assert (NETWORKS / problem / "diffusion_pytorch_model.safetensors").stat().st_size < 1e6
    data, seed = digits().float()[::2], torch.Generator().manual_seed(0)
    kernel = load_kernel(PROBLEMS[problem].process)
    found = [float(loss(network, kernel, part, seed)) for part in data.split(90)]
    # the average of the weights is a little better than the weights of the last batches
    assert sum(found) / len(found) < 1.15 * facts["final_loss"]


# --- the same samples everywhere -------------------------------------------------------------------------------------


class OnVp(nn.Module):
    """The network of the table at the time of vp, beta from 0.1 to 20, that has the same log-SNR."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = trained("vp").unet
        self.register_buffer("falling", -LOG_BARS)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        at = 0.1 * t.double() + 9.95 * t.double() ** 2
        above = torch.searchsorted(self.falling, at).clamp(1, 999)
        low, high = self.falling[above - 1], self.falling[above]
        return self.unet(z, (above - 1 + (at - low) / (high - low)).to(z.dtype), return_dict=False)[0]


def time_of(log_bar: Tensor) -> Tensor:
    return 2 * -log_bar / (0.1 + torch.sqrt(0.01 - 39.8 * log_bar))


@pytest.fixture(scope="module")
def case() -> Any:
    """(network on vp, start, times with the step to no noise at their end, where the sampler ends)."""
    network, x = OnVp(), torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    times = [*time_of(LOG_BARS[STEPS]).tolist(), 0.0]
    return network, x, times, load("vp/DPM-Solver++2M").sample(network, x, times=times)


def test_module_scheduler_and_loop_are_the_sampler(case: Any, exported: Any) -> None:
    network, x, times, end = case
    module = module_from_source(exported_text("vp/DPM-Solver++2M", "module"), "trained_module")
    assert torch.equal(module.sample(network, x, times=times), end)

    scheduler, z = exported("vp/DPM-Solver++2M").VPDPMSolverPP2MScheduler(), x
    scheduler.set_timesteps(timesteps=STEPS)
    with torch.no_grad():
        for k in scheduler.timesteps:
            z = scheduler.step(network.unet(z, k).sample, k, z).prev_sample
    assert close(z, end)
    other = load("vp/DDIM").sample(network, x, times=times)
    assert not close(other, end, 1e-2)


@torch.no_grad()
def test_the_function_on_sigmas_is_the_sampler(case: Any) -> None:
    network, x, _, end = case
    module = module_from_source(exported_text("edm/DPM-Solver++2M", "k-diffusion"), "trained_sigmas")

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        wide = sigma.reshape(-1, 1, 1, 1)
        return x - wide * network(x / torch.sqrt(1 + wide**2), time_of(-torch.log1p(sigma.double() ** 2)))

    sigmas = torch.sqrt(torch.expm1(-LOG_BARS[STEPS])).tolist()
    start = x * math.sqrt(1 + sigmas[0] ** 2)
    assert close(module.sample_edm_dpm_solver_pp_2m(model, start, [*sigmas, 0.0]), end)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_the_exported_loop_is_the_sampler(case: Any) -> None:
    network, x, times, _ = case
    scheme = load("vp/DPM-Solver++2M")
    program = export_loop(SamplingLoop(scheme.module, network, times[-4:]), x, largest=63)
    end = scheme.sample(network, x, times=times[-4:])
    assert close(program.module()(x), end)
    assert close(program.module()(x[:1]), end[:1])


def test_phase_space_module_and_pipeline_are_the_sampler(exported: Any) -> None:
    network, sampler = trained("psld"), load("psld/RVV")
    draws = torch.Generator().manual_seed(2)
    z = torch.cat([std * torch.randn(2, 1, 8, 8, generator=draws) for std in sampler.prior_std], dim=1)
    end = sampler.sample(network, z, steps=4)
    module = module_from_source(exported_text("psld/RVV", "module"), "trained_phase_module")
    assert torch.equal(module.sample(network, z, steps=4), end)
    pipe = phase_pipeline(exported)
    seed = torch.Generator().manual_seed(2)
    assert close(pipe(2, seed, num_inference_steps=4, output_type="latent").images, end)


# --- pipelines -------------------------------------------------------------------------------------------------------


def phase_pipeline(exported: Any) -> Any:
    module = exported("psld/RVV")
    scale = PROBLEMS["psld"].time_scale
    pipe = module.PhaseSpacePipeline(trained("psld").unet, module.PSLDRVVScheduler(timestep_scale=scale))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def vp_pipeline(exported: Any, kind: Any, spec: str, unet: Any = None) -> Any:
    pipe = kind(unet or trained("vp").unet, diffusers.DDPMScheduler(**TABLE))
    pipe.scheduler = getattr(exported(spec), class_name(spec)).from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe: Any, n: int, steps: int = 10) -> Tensor:
    """(n, 1, 8, 8) in [-1, 1]."""
    seed = torch.Generator().manual_seed(0)
    return pipe(batch_size=n, generator=seed, num_inference_steps=steps, output_type="pt").images * 2 - 1


@pytest.mark.parametrize("kind", [diffusers.DDPMPipeline, diffusers.DDIMPipeline])
def test_a_pipeline_with_its_scheduler_replaced_makes_digits(exported: Any, kind: Any) -> None:
    theirs = kind(trained("vp").unet, diffusers.DDPMScheduler(**TABLE))
    theirs.scheduler = diffusers.DDIMScheduler.from_config(theirs.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    ours = vp_pipeline(exported, kind, "vp/DDIM")
    torch.testing.assert_close(images(ours, 2, 4), images(theirs, 2, 4), rtol=0, atol=1e-4)
    made = images(vp_pipeline(exported, kind, "vp/DPM-Solver++2M"), 48)
    noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    near, far = (sliced_wasserstein(x, digits(), projections=100, seed=0) for x in (made, noise))
    assert near < 0.2 < far


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(exported: Any, dtype: torch.dtype) -> None:
    low = load_network("vp", NETWORKS / "vp").unet.to(dtype)
    pipe = vp_pipeline(exported, diffusers.DDPMPipeline, "vp/DPM-Solver++2M", low)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ends = []
    for unet, z in ((low, noise.to(dtype)), (trained("vp").unet, noise.to(dtype).float())):
        pipe.scheduler.set_timesteps(6)
        with torch.no_grad():
            for k in pipe.scheduler.timesteps:
                z = pipe.scheduler.step(unet(z, k).sample, k, z).prev_sample
        ends.append(z)
    assert ends[0].dtype == dtype
    assert (ends[0].float() - ends[1]).abs().mean() < 0.1
    assert images(pipe, 2, 3).shape == (2, 1, 8, 8)
    network = load_network("psld", NETWORKS / "psld").to(dtype)
    z = load("psld/RVV").prior(2, (1, 8, 8), seed=0).to(dtype)
    low, high = (
        load("psld/RVV").sample(n, s, times=[0.3, 0.2]) for n, s in ((network, z), (trained("psld"), z.float()))
    )
    assert low.dtype == dtype
    assert (low.float() - high).abs().mean() < 0.05


def test_the_result_does_not_depend_on_how_a_batch_is_split(exported: Any) -> None:
    """A list of generators, one for each image; the noise of a stochastic scheme too."""

    def seeds(which: range) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(k) for k in which]

    options = {"num_inference_steps": 3, "output_type": "np"}
    phase, table = phase_pipeline(exported), vp_pipeline(exported, diffusers.DDPMPipeline, "vp/DDIM-eta")
    for pipe in (phase, table):
        whole = pipe(batch_size=3, generator=seeds(range(3)), **options).images
        parts = [pipe(batch_size=len(r), generator=seeds(r), **options).images for r in (range(1), range(1, 3))]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-3)


# --- data of other shapes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 7), (3, 4, 6), (1, 3, 2, 4)])
def test_any_shape_of_data_alone_or_in_a_batch(shape: tuple[int, ...]) -> None:
    """Entries are sampled one by one by a network that looks at each alone, so shape and batch leave no trace."""
    function = module_from_source(exported_text("edm/EDM-Heun", "k-diffusion"), "shapes_sigmas").sample_edm_edm_heun
    phase = module_from_source(exported_text("psld/SPS-2M", "module"), "shapes_module")
    flat = torch.randn(3, 2 * math.prod(shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    position, z = flat[:, : math.prod(shape)], flat.reshape(3, 2 * shape[0], *shape[1:])

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(x / (1 + sigma.reshape(-1, *[1] * (x.dim() - 1))))

    def network(z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(z) * (0.5 + t.reshape(-1, *[1] * (z.dim() - 1)))

    for run, x, wide in [
        (lambda x: function(model, x, [9.0, 3.0, 1.0, 0.0]), position, position.reshape(3, *shape)),
        (lambda x: phase.sample(network, x, times=[0.9, 0.6, 0.4]), flat, z),
    ]:
        expected = run(x)
        torch.testing.assert_close(run(wide).reshape(3, -1), expected, rtol=1e-12, atol=1e-12)
        alone = torch.cat([run(part) for part in wide.split([1, 2])])
        torch.testing.assert_close(alone.reshape(3, -1), expected, rtol=1e-12, atol=1e-12)
