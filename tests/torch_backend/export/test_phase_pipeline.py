"""The pipeline for phase space in an exported file: images, conditions, guidance, saving, and the walk of Sampler."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.torch_backend.exporting import exported_schedulers
from torch_backend import load
from torch_backend.export.diffusers import class_name


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with exported_schedulers(tmp_path_factory.mktemp("phase")) as build:
        yield build


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1, "num_class_embeds": 4}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    return diffusers.UNet2DModel(sample_size=(8, 16), in_channels=2, out_channels=2, **sizes, **blocks)


def pipeline(exported: Any, unet: Any, spec: str, **settings: Any) -> Any:
    module = exported(spec)
    pipe = module.PhaseSpacePipeline(unet, getattr(module, class_name(spec))(timestep_scale=999.0, **settings))
    pipe.set_progress_bar_config(disable=True)
    return pipe


LABELS = {"class_labels": torch.tensor([1, 2])}
NULL = {"class_labels": torch.tensor([0, 0])}


@pytest.mark.parametrize("spec", ["psld/RVV", "psld/NOBA", "psld/SPS-2M", "cld/SSCS"])
def test_the_state_is_that_of_sampler(exported: Any, unet: Any, spec: str) -> None:
    pipe, sampler = pipeline(exported, unet, spec), load(spec)
    latent = pipe(2, torch.Generator().manual_seed(5), 3, LABELS, output_type="latent").images
    generator = torch.Generator().manual_seed(5)
    z = torch.cat([std * torch.randn(2, 1, 8, 16, generator=generator) for std in sampler.prior_std], 1)

    def network(z: Tensor, t: Tensor) -> Tensor:
        return unet(z, 999.0 * t, **LABELS).sample

    expected = sampler.sample(network, z, steps=3, generator=generator)
    assert latent.shape == (2, 2, 8, 16)
    if sampler.module.NOISES < 2:  # more draws of a step are made one by one here, and at once there
        torch.testing.assert_close(latent, expected, rtol=1e-5, atol=1e-5)


def test_images_progress_and_callback(exported: Any, unet: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pipe, seen = pipeline(exported, unet, "psld/RVV"), []
    seed = {"generator": torch.Generator().manual_seed(1), "num_inference_steps": 2, "condition": LABELS}

    def watch(pipe: Any, step: int, time: float, given: dict[str, Tensor]) -> None:
        seen.append((step, time, given["latents"].shape))

    pictures = pipe(2, **seed, callback_on_step_end=watch).images
    assert [picture.size for picture in pictures] == [(16, 8), (16, 8)]
    assert [(step, shape) for step, _, shape in seen] == [(0, (2, 2, 8, 16)), (1, (2, 2, 8, 16))]
    assert [time for _, time, _ in seen] == [pipe.scheduler.scheme.t_min, 0.0]
    seed["generator"].manual_seed(1)
    array = pipe(2, **seed, output_type="np").images
    assert array.shape == (2, 8, 16, 1)
    assert np.array_equal(np.asarray(pictures[0]), (array[0, ..., 0] * 255).round().astype(np.uint8))
    seed["generator"].manual_seed(1)
    (tensor,) = pipe(2, **seed, output_type="pt", return_dict=False)
    assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), array)
    pipe.set_progress_bar_config(disable=False)
    pipe(2, **seed)
    assert "2/2" in capsys.readouterr().err


def test_settings_of_the_walk(exported: Any, unet: Any) -> None:
    """A walk that ends at T_MIN, of full order to its end, is a setting away."""
    spec = "psld/DPM-Solver++2M"
    sampler, generator = load(spec), torch.Generator().manual_seed(5)
    z = torch.cat([std * torch.randn(2, 1, 8, 16, generator=generator) for std in sampler.prior_std], 1)

    def network(z: Tensor, t: Tensor) -> Tensor:
        return unet(z, 999.0 * t, **LABELS).sample

    ends = []
    for settings in ({"grid": "uniform"}, {"end_at_zero": False}, {"end_at_zero": False, "lower_order_final": False}):
        pipe = pipeline(exported, unet, spec, **settings)
        latent = pipe(2, torch.Generator().manual_seed(5), 4, LABELS, output_type="latent").images
        torch.testing.assert_close(latent, sampler.sample(network, z, steps=4, **settings), rtol=1e-5, atol=1e-5)
        ends.append(latent)
    assert (ends[0][:, 1:] == 0).all()
    assert not any(torch.allclose(one, other, rtol=1e-3) for one, other in pairwise(ends))


def test_guidance_and_generators(exported: Any, unet: Any) -> None:
    pipe = pipeline(exported, unet, "psld/NOBA", grid="uniform")

    def run(condition: Any, null: Any = None, scale: float = 1.0) -> Tensor:
        generators = [torch.Generator().manual_seed(k) for k in range(2)]
        return pipe(2, generators, 2, condition, null, scale, output_type="latent").images

    plain = run(LABELS)
    torch.testing.assert_close(run(LABELS, NULL, 1.0), plain)
    free = run(NULL)
    assert (run(LABELS, NULL, 0.0) - free).abs().max() < 1e-5 * free.abs().max()
    assert not torch.allclose(run(LABELS, NULL, 3.0), plain)
    first = torch.Generator().manual_seed(0)
    alone = pipe(1, first, 2, {"class_labels": LABELS["class_labels"][:1]}, output_type="latent").images
    assert (alone - plain[:1]).abs().max() < 1e-5 * plain.abs().max()  # convolutions round by the size of the batch


def test_saved_and_loaded_it_is_the_same_pipeline(exported: Any, unet: Any, tmp_path: Any) -> None:
    pipe = pipeline(exported, unet, "psld/RVV", grid="cosine")
    pipe.save_pretrained(tmp_path)
    again = exported("psld/RVV").PhaseSpacePipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert again.scheduler.config.grid == "cosine"
    images = [p(2, torch.Generator().manual_seed(1), 2, LABELS, output_type="np").images for p in (pipe, again)]
    assert np.array_equal(*images)


def test_bad_input_is_one_sentence(exported: Any, unet: Any) -> None:
    module = exported("psld/RVV")
    pipe, make = pipeline(exported, unet, "psld/RVV"), module.PSLDRVVScheduler
    odd = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="2 times the image's"):
        module.PhaseSpacePipeline(odd, make())
    with pytest.raises(ValueError, match="one of phase space"):
        module.PhaseSpacePipeline(unet, diffusers.DDPMScheduler())
    with pytest.raises(ValueError, match="knows no phase space"):
        make.from_config(diffusers.DDPMScheduler().config)
    for settings, sentence in [
        ({"grid": "quadratc"}, "did you mean 'quadratic'"),
        ({"prediction_type": "sample"}, "return epsilon"),
        ({"timestep_scale": 0.0}, "positive number"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            make(**settings)
    for call, sentence in [
        ({"output_type": "jpg"}, "Known: latent, np, pil, pt"),
        ({"generator": [torch.Generator()]}, "1 generators for a batch of 2"),
        ({"guidance_scale": 2.0, "condition": LABELS}, "needs condition and null_condition"),
        ({"num_inference_steps": 0, "condition": LABELS}, "steps = 0 is not a number of steps; a positive integer"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            pipe(2, **call)
    with pytest.raises(ValueError, match="call set_timesteps"):
        make().walk(lambda z, t: z, torch.zeros(1, 2, 2, 2))
