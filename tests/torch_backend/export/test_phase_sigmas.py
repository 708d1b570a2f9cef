"""Phase-space samplers on sigmas: equal to Sampler with the exact score of phase space, and true to the contract.

The caller's denoiser knows data space alone. That the walk inside is the one on phase space is seen from the exact
score of the mixture there, which is made from the kernel of the process and from no map between the two.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.torch_backend.exporting import exported_text
from torch_backend import load, load_kernel
from torch_backend.export import FORMATS
from torch_backend.export.kdiffusion import sampler_name
from torch_backend.networks.whitened import lift, whiten
from torch_backend.scores import MixtureScore
from torch_backend.source import GENERATED, body_hash, module_from_source

TIMES = [0.8, 0.55, 0.3, 0.12, 0.04, 0.01]
MEANS = torch.tensor([[1.0, -0.5, 0.3], [-0.8, 0.7, 0.2]], dtype=torch.float64)


def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x_0 | x] for data that are two Gaussians of deviation 0.3, in closed form."""
    assert sigma.shape == x.shape[:1]
    means, variance = MEANS.to(x.dtype), 0.09 + sigma[:, None] ** 2
    centre = torch.softmax(-((x[:, None] - means) ** 2).sum(-1) / (2 * variance), dim=1) @ means
    return centre + 0.09 / variance * (x - centre)


@cache
def exported(spec: str) -> Any:
    return module_from_source(exported_text(spec, "k-diffusion"), f"exported_{sampler_name(spec)}")


def sample(spec: str, *args: Any, **options: Any) -> Any:
    return getattr(exported(spec), f"sample_{sampler_name(spec)}")(*args, disable=True, **options)


def levels(process: str, times: list[float]) -> list[float]:
    return (1 / whiten(load_kernel(process), torch.tensor(times, dtype=torch.float64)).ratio).tolist()


@pytest.mark.parametrize("spec", ["psld/SPS-2M", "psld/UniPC-eps-2", "psld/Heun", "psld/ROBA", "cld/SSCS"])
def test_walk_is_that_of_the_exact_score_on_phase_space(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = spec.partition("/")[0]
    generator, sigmas = torch.Generator().manual_seed(0), levels(process, TIMES)
    x = sigmas[0] * torch.randn(5, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(40, 5, 3, generator=generator, dtype=torch.float64)
    hidden = noise[:2]
    monkeypatch.setattr(exported(spec), "hidden_noise", lambda blocks, extra, x: hidden)
    sampler, drawn = load(spec), iter(noise[2:])
    options: dict[str, Any] = {"noise_sampler": lambda *_: next(drawn)} if sampler.stochastic else {}
    ours = sample(spec, denoiser, x, [*sigmas, 0.0], **options)

    exact = MixtureScore(load_kernel(process), MEANS, 0.09)
    z = lift(load_kernel(process), TIMES[0], x / sigmas[0], hidden)
    again = iter(noise[2:])
    monkeypatch.setattr("torch_backend.walk.loop.normal", lambda *_: torch.stack([next(again) for _ in range(noises)]))
    noises = sampler.module.NOISES
    generator = torch.Generator() if sampler.stochastic else None
    due = sampler.sample(exact, z, times=[*TIMES, 0.0], generator=generator)[:, :3]
    # on this coarse grid some schemes leave the data: what counts is that both do the same
    assert (ours - due).abs().max() < 1e-10 * (1 + due.abs().max())


def test_contract_of_k_diffusion() -> None:
    """n sigmas and a zero are n evaluations there; the callback sees each, and x keeps its dtype."""
    sigmas, asked, told = torch.tensor([14.6, 5.0, 1.0, 0.1, 0.0]), [], []

    def model(x: Tensor, sigma: Tensor, scale: float, seed: int) -> Tensor:
        asked.append(float(sigma[0]))
        return scale * denoiser(x.double(), sigma.double()).to(x.dtype)

    x = (14.6 * torch.randn(2, 3, generator=torch.Generator().manual_seed(0))).half()
    found = sample("psld/DPM-Solver++2M", model, x, sigmas, {"scale": 1.0, "seed": 3}, callback=told.append)
    assert found.dtype == torch.float16
    assert asked == pytest.approx([14.6, 5.0, 1.0, 0.1], rel=5e-4)  # in half precision
    assert [(entry["i"], tuple(entry["x"].shape), entry["denoised"].dtype) for entry in told] == [
        (i, (2, 3), torch.float16) for i in range(4)
    ]
    again = sample("psld/DPM-Solver++2M", model, x, sigmas, {"scale": 1.0, "seed": 3})
    other = sample("psld/DPM-Solver++2M", model, x, sigmas, {"scale": 1.0, "seed": 4})
    assert torch.equal(found, again)
    assert not torch.equal(found, other)


def test_seed_for_each_sample_makes_noise_that_does_not_depend_on_the_batch() -> None:
    x = 5.0 * torch.randn(3, 3, generator=torch.Generator().manual_seed(1))

    def plain(x: Tensor, sigma: Tensor, seed: list[int]) -> Tensor:
        return denoiser(x, sigma)

    whole = sample("psld/ROBA", plain, x, [5.0, 1.0, 0.1, 0.0], {"seed": [7, 8, 9]})
    alone = sample("psld/ROBA", plain, x[1:2], [5.0, 1.0, 0.1, 0.0], {"seed": [8]})
    assert torch.allclose(whole[1:2], alone, atol=1e-5)


def test_models_of_flow_matching_are_walked_at_their_own_noise() -> None:
    """x = (1 - s) x_0 + s noise is x / (1 - s) = x_0 + rho noise with rho = s / (1 - s): the same walk."""
    ratios = [19.0, 4.0, 0.5, 0.05]
    s = [ratio / (1 + ratio) for ratio in ratios]
    x = 19.0 * torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def flow(x: Tensor, s: Tensor, seed: int) -> Tensor:
        return denoiser(x / (1 - s[:, None]), s / (1 - s))

    def plain(x: Tensor, sigma: Tensor, seed: int) -> Tensor:
        return denoiser(x, sigma)

    on_path = sample("psld/SPS-2M", flow, x * (1 - s[0]), [*s, 0.0], {"seed": 0}, straight_path=True)
    due = sample("psld/SPS-2M", plain, x, [*ratios, 0.0], {"seed": 0}, straight_path=False)
    assert torch.allclose(on_path, due, rtol=0, atol=1e-10)
    from_noise = sample("psld/SPS-2M", flow, x / 19, [1.0, *s[1:], 0.0], {"seed": 0}, straight_path=True)
    assert from_noise.isfinite().all()


def test_sigmas_beyond_the_process_are_refused() -> None:
    x = torch.ones(1, 3)
    assert sample("psld/RVV", denoiser, 700 * x, [700.0, 100.0, 10.0]).isfinite().all()
    with pytest.raises(ValueError, match=r"sigmas\[1\] = 300 is beyond the noise of psld/RVV, sigma / alpha from"):
        sample("psld/RVV", denoiser, x, [700.0, 300.0, 10.0])


def test_what_has_no_such_file_is_refused() -> None:
    text = (GENERATED / "psld_RVV.py").read_text(encoding="utf-8")
    certificate = {"evidence": {"source_hash": f"sha256:{body_hash(text)}"}}
    with pytest.raises(ValueError, match="psld/RVV has several blocks; pass the source of the kernel of psld"):
        FORMATS["k-diffusion"].write(text, certificate)
    with pytest.raises(ValueError, match="psld/RVV asks its network for score; on sigmas only eps can be made"):
        FORMATS["k-diffusion"].check(text.replace('NETWORK = "eps"', 'NETWORK = "score"'))
