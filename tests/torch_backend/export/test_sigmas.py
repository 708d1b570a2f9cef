"""Exported samplers on sigmas: equal to Sampler on edm, to textbook loops, and true to k-diffusion's contract."""

from __future__ import annotations

import inspect
import sys
import types
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import integrator_analysis as ia
from tests.torch_backend.exporting import exported_text
from torch_backend.export.exported_text.sigmas import sample_on_sigmas
from torch_backend.export.kdiffusion import sampler_name
from torch_backend.source import module_from_source

SPECS = ("edm/EDM-Heun", "edm/DPM-Solver++2M", "edm/DDIM", "edm/SDE-DPM-Solver++2M")
SIGMAS = [14.6, 9.1, 4.2, 1.7, 0.6, 0.13, 0.03, 0.0]
MEANS = torch.tensor([[1.0, -0.5, 0.3], [-0.8, 0.7, 0.2]], dtype=torch.float64)


def denoiser(x: Tensor, sigma: Tensor, shift: float = 0.0) -> Tensor:
    """E[x_0 | x] for data that are two Gaussians of deviation 0.3, in closed form."""
    assert sigma.shape == x.shape[:1]
    means, variance = MEANS.to(x.dtype) + shift, 0.09 + sigma[:, None] ** 2
    share = torch.softmax(-((x[:, None] - means) ** 2).sum(-1) / (2 * variance), dim=1)
    centre = share @ means
    return centre + 0.09 / variance * (x - centre)


@pytest.fixture(scope="module")
def sampler() -> Any:
    @cache
    def build(spec: str) -> Any:
        module = module_from_source(exported_text(spec, "k-diffusion"), f"exported_{sampler_name(spec)}")
        return getattr(module, f"sample_{sampler_name(spec)}")

    return build


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return SIGMAS[0] * torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=dtype)


def heun(x: Tensor) -> Tensor:
    """Karras et al., arXiv 2206.00364, algorithm 1: Heun in sigma, Euler into zero."""
    for a, b in pairwise(SIGMAS):
        slope = (x - denoiser(x, x.new_full((5,), a))) / a
        there = x + (b - a) * slope
        if b > 0:
            slope = (slope + (there - denoiser(there, x.new_full((5,), b))) / b) / 2
        x = x + (b - a) * slope
    return x


def second_order_multistep(x: Tensor) -> Tensor:
    """Lu et al., arXiv 2211.01095, algorithm 2, at alpha = 1."""
    log = [-torch.tensor(sigma, dtype=torch.float64).log() for sigma in SIGMAS]
    before = None
    for i, (a, b) in enumerate(pairwise(SIGMAS)):
        data = denoiser(x, x.new_full((5,), a))
        if b == 0:
            return data
        h = log[i + 1] - log[i]
        blend = data
        if before is not None:
            r = (log[i] - log[i - 1]) / h
            blend = (1 + 1 / (2 * r)) * data - before / (2 * r)
        x, before = b / a * x - torch.expm1(-h) * blend, data
    return x


@pytest.mark.parametrize(("spec", "loop"), [("edm/EDM-Heun", heun), ("edm/DPM-Solver++2M", second_order_multistep)])
def test_equals_the_published_algorithm(sampler: Any, spec: str, loop: Any) -> None:
    x = start()
    torch.testing.assert_close(sampler(spec)(denoiser, x, torch.tensor(SIGMAS)), loop(x), rtol=1e-5, atol=1e-5)
    exact = sampler(spec)(denoiser, x, SIGMAS)
    torch.testing.assert_close(exact, loop(x), rtol=1e-12, atol=1e-12)
    assert (exact - sampler("edm/DDIM")(denoiser, x, SIGMAS)).abs().max() > 1e-2


@pytest.mark.parametrize("spec", SPECS)
def test_equals_sampler_on_edm_with_the_last_step_to_the_denoised(sampler: Any, spec: str) -> None:
    original, draws = ia.derive(spec).to_torch(), []

    def network(z: Tensor, t: Tensor) -> Tensor:
        return (z - denoiser(z, t)) / t[:, None]

    x, seed = start(), 4
    expected = original.sample(network, x, times=SIGMAS, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)

    def noise_sampler(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        draws.append((float(sigma), float(sigma_next)))
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)

    hook = {"noise_sampler": noise_sampler} if original.stochastic else {}
    assert ("noise_sampler" in inspect.signature(sampler(spec)).parameters) == original.stochastic
    found = sampler(spec)(denoiser, x, torch.tensor(SIGMAS, dtype=torch.float64), **hook)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert draws == (list(pairwise(SIGMAS[:-1])) if original.stochastic else [])
    stopped = sampler(spec)(denoiser, x, SIGMAS[:-1], **({"extra_args": {}} | hook))
    if not original.stochastic:
        near = original.sample(network, x, times=SIGMAS[:-1], **({"lower_order_final": False} if "2M" in spec else {}))
        torch.testing.assert_close(stopped, near, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", ["edm/UniPC-2", "edm/DPM-Solver++3M"])
def test_the_final_order_is_lowered_as_in_sampler(spec: str) -> None:
    """By default below 15 steps where the sigmas end in 0, a predictor-corrector's always; never where they do not."""
    original, x = ia.derive(spec).to_torch(), start()

    def network(z: Tensor, t: Tensor) -> Tensor:
        return (z - denoiser(z, t)) / t[:, None]

    found: dict[Any, Tensor] = {}
    for wanted in (None, True, False):
        expected = original.sample(network, x, times=SIGMAS, lower_order_final=wanted)
        found[wanted] = sample_on_sigmas(original.module, denoiser, x, SIGMAS, lower_order_final=wanted)
        torch.testing.assert_close(found[wanted], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(found[None], found[True])
    # UniPC-2 reads one earlier step in its last but one, lowered or not
    assert (found[True] - found[False]).abs().max() > 1e-4 or spec == "edm/UniPC-2"
    inner = original.sample(network, x, times=SIGMAS[:-1], lower_order_final=False)
    torch.testing.assert_close(sample_on_sigmas(original.module, denoiser, x, SIGMAS[:-1]), inner, rtol=1e-12, atol=0)


# --- models of flow matching -----------------------------------------------------------------------------------------


class CONST:
    """A stand-in for ComfyUI's type of models on x = (1 - sigma) x_0 + sigma noise; only its name is read."""


class ModelSamplingDiscreteFlow(CONST):
    def percent_to_sigma(self, percent: float) -> float:
        return 1 - percent


class FlowModel:
    """What ComfyUI hands a sampler: its model inside two others; the denoiser of data N(1, 0.25) on a straight path."""

    def __init__(self, sampling: Any, patched: bool) -> None:
        inner = types.SimpleNamespace(inner_model=types.SimpleNamespace(model_sampling=sampling))
        if patched:
            inner = types.SimpleNamespace(
                model_patcher=types.SimpleNamespace(get_model_object={"model_sampling": sampling}.__getitem__)
            )
        self.inner_model = inner

    def __call__(self, x: Tensor, sigma: Tensor, seed: int | None = None) -> Tensor:
        assert (sigma <= 1).all()
        alpha, sigma = 1 - sigma[:, None], sigma[:, None]
        scale = getattr(self.inner_model, "scale", 1.0)
        return 1 + 0.25 * alpha / (0.25 * alpha**2 + (scale * sigma) ** 2) * (x - alpha)


FLOW_SIGMAS = torch.linspace(1, 0, 26, dtype=torch.float64)


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("spec", ["edm/DDIM-eta", "edm/SDE-DPM-Solver++2M"])
def test_a_stochastic_walk_of_a_flow_model_is_that_of_the_scheme_on_flow(
    sampler: Any, spec: str, patched: bool
) -> None:
    """Both schemes read the log-SNR alone: the walk is that of flow, derived on its own, with the same noise."""
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    model, on_flow = FlowModel(ModelSamplingDiscreteFlow(), patched), ia.derive(spec.replace("edm", "flow")).to_torch()
    times = [0.9999, *FLOW_SIGMAS[1:].tolist()]
    expected = on_flow.sample(
        lambda z, t: (z - model(z, t)) / t[:, None], x, times=times, generator=torch.Generator().manual_seed(8)
    )
    generator, seen, drawn = torch.Generator().manual_seed(8), [], []

    def noise_sampler(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        drawn.append((float(sigma), float(sigma_next)))
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)

    found = sampler(spec)(model, x, FLOW_SIGMAS, {}, seen.append, noise_sampler=noise_sampler)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert drawn == list(pairwise(FLOW_SIGMAS[:-1].tolist()))
    assert float(found.mean()) == pytest.approx(1.0, abs=0.03)  # was 1.6; four standard errors
    assert [entry["sigma"].item() for entry in seen] == FLOW_SIGMAS[:-1].tolist()
    torch.testing.assert_close(seen[0]["x"], x)
    assert seen[12]["x"].std() < 1  # the model's own coordinates: 0.52 noise and 0.48 data


def test_a_flow_model_keeps_the_spread_of_its_data(sampler: Any) -> None:
    x = torch.randn(8000, 1, generator=torch.Generator().manual_seed(3))
    sigmas = torch.linspace(1, 0, 101)
    for model, options in (
        (FlowModel(ModelSamplingDiscreteFlow(), False), {}),
        (FlowModel(None, False), {"straight_path": True}),  # one that does not say what it is
    ):
        found = sampler("edm/SDE-DPM-Solver++2M")(model, x, sigmas, {"seed": 5}, **options)
        assert float(found.mean()) == pytest.approx(1.0, abs=0.025)
        assert float(found.std()) == pytest.approx(0.5, abs=0.02)
    wrong = sampler("edm/SDE-DPM-Solver++2M")(model, x, sigmas, {"seed": 5}, straight_path=False)
    assert float(wrong.mean()) > 1.5


def test_noise_of_another_scale_and_a_walk_that_ends_above_zero(sampler: Any) -> None:
    """x = (1 - sigma) x_0 + sigma c noise, walked down to sigma = 0.2 in half precision: its law is known there."""
    sampling = ModelSamplingDiscreteFlow()
    sampling.noise_scale = 2.0
    model = FlowModel(sampling, False)
    model.inner_model.scale = 2.0
    x = (2 * torch.randn(8000, 1, generator=torch.Generator().manual_seed(3))).half()
    found = sampler("edm/SDE-DPM-Solver++2M")(model, x, torch.linspace(1, 0.2, 81), {"seed": 5})
    assert found.dtype == torch.float16
    assert float(found.float().mean()) == pytest.approx(0.8, abs=0.025)
    assert float(found.float().std()) == pytest.approx((0.64 * 0.25 + 0.16) ** 0.5, abs=0.02)


def test_a_deterministic_walk_of_a_flow_model_is_one_in_sigma(sampler: Any) -> None:
    """dx/dsigma = (x - denoised)/sigma on either path; against the exact flow of Gaussian data, at order two."""
    model, x = FlowModel(ModelSamplingDiscreteFlow(), False), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    exact = 1 + 0.5 * x
    for spec in ("edm/EDM-Heun", "edm/DPM-Solver++2M"):
        errors = [
            float((sampler(spec)(model, x, torch.linspace(1, 0, n + 1, dtype=torch.float64)) - exact).abs().max())
            for n in (40, 80)
        ]
        assert errors[1] < 0.004
        assert errors[1] < 0.35 * errors[0]


def test_sigmas_above_one_are_no_straight_path(sampler: Any) -> None:
    with pytest.raises(ValueError, match="is above 1, and the model is on"):
        sampler("edm/DDIM-eta")(FlowModel(ModelSamplingDiscreteFlow(), False), torch.zeros(2, 1), [14.6, 0.5, 0.0])


@pytest.mark.parametrize("spec", ["edm/EDM-Heun", "edm/DPM-Solver++2M"])
def test_callback_and_extra_arguments(sampler: Any, spec: str) -> None:
    seen: list[dict[str, Any]] = []
    sigmas = torch.tensor(SIGMAS, dtype=torch.float64)
    end = sampler(spec)(denoiser, start(), sigmas, {"shift": 0.25}, seen.append, True)
    assert [entry["i"] for entry in seen] == list(range(len(SIGMAS) - 1))
    assert all(set(entry) == {"x", "i", "sigma", "sigma_hat", "denoised"} for entry in seen)
    for entry in seen:
        assert entry["sigma"] == entry["sigma_hat"] == sigmas[entry["i"]]
        again = denoiser(entry["x"], entry["sigma"].expand(5), 0.25)
        torch.testing.assert_close(entry["denoised"], again)
    assert torch.equal(end, seen[-1]["denoised"])
    assert torch.equal(seen[0]["x"], start())


def test_noise_from_a_seed_and_from_the_global_generator(sampler: Any) -> None:
    sample, x = sampler("edm/SDE-DPM-Solver++2M"), start(torch.float32)

    def model(x: Tensor, sigma: Tensor, seed: int | None = None) -> Tensor:
        return denoiser(x, sigma)

    once, again, other = (sample(model, x, SIGMAS, {"seed": seed}) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    torch.manual_seed(0)
    first = sample(model, x, SIGMAS)
    torch.manual_seed(0)
    assert torch.equal(first, sample(model, x, SIGMAS))


def test_a_list_of_seeds_has_one_for_each_sample(sampler: Any) -> None:
    sample, x = sampler("edm/SDE-DPM-Solver++2M"), start(torch.float32)

    def model(x: Tensor, sigma: Tensor, seed: object = None) -> Tensor:
        return denoiser(x, sigma)

    together = sample(model, x, SIGMAS, {"seed": [3, 1, 4, 1, 5]})
    alone = torch.cat([sample(model, x[i : i + 1], SIGMAS, {"seed": [n]}) for i, n in enumerate((3, 1, 4, 1, 5))])
    torch.testing.assert_close(together, alone)
    with pytest.raises(ValueError, match="2 seeds for a batch of 5"):
        sample(model, x, SIGMAS, {"seed": [3, 1]})
    with pytest.raises(TypeError, match="no integer"):
        sample(model, x, SIGMAS, {"seed": 1.5})


def test_progress_line_only_where_it_is_wanted(sampler: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sampler("edm/DDIM")(denoiser, start(), SIGMAS)
    assert capsys.readouterr().err == ""
    sampler("edm/DDIM")(denoiser, start(), SIGMAS, disable=False)
    assert "6 of 6" in capsys.readouterr().err


def test_two_sigmas_and_half_precision(sampler: Any) -> None:
    x = start()
    at_once = sampler("edm/DDIM")(denoiser, x, [14.6, 0.0])
    assert torch.equal(at_once, denoiser(x, x.new_full((5,), 14.6)))
    half = sampler("edm/EDM-Heun")(denoiser, x.half(), SIGMAS)
    assert half.dtype == torch.float16
    assert (half.double() - sampler("edm/EDM-Heun")(denoiser, x.half().double(), SIGMAS)).abs().max() < 0.02


def test_comfyui_finds_it_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for ComfyUI's modules: names are looked up as k_diffusion.sampling.sample_NAME and listed twice."""
    packages = {name: types.ModuleType(name) for name in ("comfy", "comfy.samplers", "comfy.k_diffusion")}
    packages["comfy.k_diffusion.sampling"] = sampling = types.ModuleType("comfy.k_diffusion.sampling")
    for name, module in packages.items():
        module.__spec__, module.__path__ = types.SimpleNamespace(name=name), []
        monkeypatch.setitem(sys.modules, name, module)
    samplers = packages["comfy.samplers"]
    samplers.SAMPLER_NAMES, samplers.KSampler = ["euler"], types.SimpleNamespace(SAMPLERS=["euler"])
    for _ in range(2):  # loaded again: listed once
        module = module_from_source(exported_text("edm/DDIM", "k-diffusion"), "custom_nodes_edm_ddim")
    assert samplers.SAMPLER_NAMES == samplers.KSampler.SAMPLERS == ["euler", "edm_ddim"]
    assert sampling.sample_edm_ddim is module.sample_edm_ddim
    assert module.NODE_CLASS_MAPPINGS == {}


def test_bad_sigmas_and_models_are_one_sentence(sampler: Any) -> None:
    sample, x = sampler("edm/DDIM"), start()
    for bad in ([1.0], [[1.0, 0.5]], [], [1.0, 2.0, 0.0], [1.0, -0.5], [0.0, 0.0], [1.0, 1.0]):
        with pytest.raises(ValueError, match=r"sigmas has shape|times"):
            sample(denoiser, x, bad)
    with pytest.raises(ValueError, match="same shape"):
        sample(lambda x, sigma: x[:, :1], x, SIGMAS)
    with pytest.raises(ia.InputError, match="as in edm/DDIM"):
        ia.derive("vp/DDIM").export("x.py", format="k-diffusion")
    with pytest.raises(ia.InputError, match=r"edm/DDIM-eta .*models of flow matching too"):
        ia.derive("flow/DDIM-eta").export("x.py", format="k-diffusion")
    with pytest.raises(ia.InputError, match="takes a B"):
        ia.derive("edm/conjugate(B=table)").export("x.py", format="k-diffusion")
