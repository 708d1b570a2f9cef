"""Models of diffusers as networks: the digits' network, tiny UNets with random weights, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from torch_backend import load
from torch_backend.networks import DiffusersNetwork, adapt
from torch_backend.training import load_network

WEIGHTS = Path(__file__).parents[3] / "benchmarks" / "trained_weights" / "vp"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' network as a pipeline in a folder, as users have theirs."""
    path = tmp_path_factory.mktemp("pipeline")
    DDPMPipeline(load_network("vp", WEIGHTS).unet, DDPMScheduler(clip_sample=False)).save_pretrained(path)
    return path


def test_network_of_a_folder_is_that_of_its_table(folder: Path) -> None:
    """Index k of the scheduler's table is time k + 1 of the process ddpm: the same network by two ways."""
    ours = DiffusersNetwork.from_pretrained(folder).on("psld")
    other = adapt(load_network("vp", WEIGHTS), trained_on="ddpm", run_on="psld")
    z = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    # at noise of an entry of the table, where both interpolations meet
    for index in (900, 400):
        level = other.training_noise.ratio(torch.tensor(index + 1.0, dtype=torch.float64))
        t = torch.full((2,), phase_space_time(other, float(level)))
        assert ours.own_time(float(t[0])) == pytest.approx(index, abs=1e-3)
        assert torch.allclose(ours(z, t), other(z, t), rtol=0, atol=2e-4)


def phase_space_time(adapted: Any, ratio: float) -> float:
    """The time of the adapted process at which alpha / sigma of what it knows has this value, by bisection."""
    low, high = adapted.t_last, adapted.t_first
    for _ in range(60):
        middle = (low + high) / 2
        own = torch.tensor(adapted.own_time(middle), dtype=torch.float64)
        low, high = (middle, high) if float(adapted.training_noise.ratio(own)) > ratio else (low, middle)
    return (low + high) / 2


def test_phase_space_samples_with_a_pipelines_network_are_images(folder: Path) -> None:
    network = DiffusersNetwork.from_pretrained(folder).on("psld", data_std=1.0)
    z = network.draw_start(64, (1, 8, 8), seed=0)
    x = load("psld/SPS-2M").sample(network, z, times=network.times(12, "log-SNR"))[:, :1]
    # digits are mostly black or white: noise, or a wrong time, is neither
    assert (x.abs() > 0.5).float().mean() > 0.6
    assert x.abs().max() < 1.6


def tiny_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8, attention_head_dim=4,
    ).eval()  # fmt: skip


def test_conditions_and_guidance_in_one_call() -> None:
    unet, scheduler = tiny_unet(), DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    generator = torch.Generator().manual_seed(1)
    z, prompt, empty = (torch.randn(s, generator=generator) for s in ((2, 4, 8, 8), (2, 3, 8), (2, 3, 8)))
    named, null = {"encoder_hidden_states": prompt}, {"encoder_hidden_states": empty}
    t = torch.full((2,), 500.0)
    with torch.no_grad():
        bound, free = (unet(z, t, encoder_hidden_states=e).sample for e in (prompt, empty))
        assert torch.allclose(DiffusersNetwork(unet, scheduler, named)(z, t), bound, atol=1e-6)
        guided = DiffusersNetwork(unet, scheduler, named, null, scale=3.0)
        assert torch.allclose(guided(z, t), free + 3 * (bound - free), atol=1e-5)
        x = load("psld/SPS-2M").sample(
            (on := guided.on("psld")), on.draw_start(2, (4, 8, 8), seed=0), times=on.times(4)
        )
    assert x.shape == (2, 8, 8, 8)


def test_variances_are_left_out_and_time_steps_scaled() -> None:
    seen: list[Tensor] = []

    def model(z: Tensor, timestep: Tensor, return_dict: bool) -> tuple[Tensor]:
        seen.append(timestep)
        return (torch.cat([z, 7 * z], 1),)

    network = DiffusersNetwork(model, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, time_scale=1e-3)
    z = torch.ones(2, 3, 4)
    assert torch.equal(network(z, torch.full((2,), 250.0)), z)
    assert torch.allclose(seen[0], torch.full((2,), 0.25))
    scaled = SimpleNamespace(config=SimpleNamespace(timestep_scale=0.5))
    assert DiffusersNetwork(scaled, DDPMScheduler()).time_scale == 0.5


@pytest.mark.parametrize("t", [0.7, -3.0, 1500.0])
def test_times_of_another_convention_are_refused_at_the_first_call(t: float) -> None:
    network = DiffusersNetwork(lambda z, timestep, return_dict: (z,), DDPMScheduler())
    with pytest.raises(
        ValueError, match=r"the first call is at t = .*, the network counts its time from 0 to 999; give"
    ):
        network(torch.ones(1, 1), torch.full((1,), t))


def test_what_is_not_covered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="guidance takes condition, null and scale together"):
        DiffusersNetwork(tiny_unet(), DDPMScheduler(), scale=2.0)
    turned = type("Lumina2Transformer2DModel", (), {})()
    with pytest.raises(ValueError, match="Lumina2Transformer2DModel turns the sign of its output"):
        DiffusersNetwork(turned, DDPMScheduler())
    with pytest.raises(FileNotFoundError, match=r"holds no unet/config.json or transformer/config.json; a folder"):
        DiffusersNetwork.from_pretrained(tmp_path)
