"""Guidance around a network: against closed forms of Gaussian mixtures and of Gaussian classifiers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torch_backend import load
from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.networks.guidance import classifier_guided, inpainting
from torch_backend.scores import GaussianScore, MixtureScore
from torch_backend.source import load_kernel

VP = load_kernel("vp")
MEANS = torch.tensor([[-1.0, 0.4], [0.8, -0.2]], dtype=torch.float64)


def of_label(z: Tensor, t: Tensor, label: Tensor) -> Tensor:
    """A conditional network: label -1 is the mixture, 0 and 1 its components."""
    whole = MixtureScore(VP, MEANS, 0.09)(z, t)
    parts = [GaussianScore(VP, mean, torch.full((2,), 0.09))(z, t) for mean in MEANS]
    return torch.where(label[:, None] < 0, whole, torch.where(label[:, None] == 0, *parts))


def test_a_condition_is_passed_through_and_decides_the_samples() -> None:
    z = torch.randn(6, 2, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    ends = load("vp/DDIM").sample(conditioned(of_label, labels), z, steps=30)
    assert (ends - MEANS[labels]).abs().max() < 1.0
    null = torch.full_like(labels, -1)
    for scale, same in ((1.0, labels), (0.0, null)):
        guided = load("vp/DDIM").sample(classifier_free(of_label, labels, null, scale), z, steps=30)
        expected = load("vp/DDIM").sample(conditioned(of_label, same), z, steps=30)
        torch.testing.assert_close(guided, expected, rtol=1e-10, atol=1e-10)
    t = torch.full((6,), 0.3)
    twice = classifier_free(of_label, labels, null, 3.0)(z, t)
    torch.testing.assert_close(twice, 3 * of_label(z, t, labels) - 2 * of_label(z, t, null))


@pytest.mark.parametrize("name", ["vp", "psld"])
def test_classifier_guidance_gives_the_score_of_the_posterior(name: str) -> None:
    """Bayes: the mixture's score plus that of its exact classifier is the component's, on one block and on two."""
    kernel, t = load_kernel(name), torch.full((4,), 0.35, dtype=torch.float64)
    whole = MixtureScore(kernel, MEANS, 0.09)
    parts = [GaussianScore(kernel, mean, torch.full((2,), 0.09)) for mean in MEANS]
    z = torch.randn(4, 2 * len(kernel.BLOCKS), dtype=torch.float64)

    def log_probability(at: Tensor, times: Tensor) -> Tensor:
        return parts[1].log_density(at, times) - whole.log_density(at, times) + math.log(0.5)

    with torch.no_grad():
        guided = classifier_guided(whole, log_probability, kernel, prediction="epsilon")(z, t)
        torch.testing.assert_close(guided, parts[1](z, t), rtol=1e-9, atol=1e-9)
        assert (guided - whole(z, t)).abs().max() > 1e-3


@pytest.mark.parametrize("spec", ["vp/DPM-Solver++2M", "psld/RVV", "psld/NOBA"])
def test_inpainting_keeps_the_known_and_completes_the_rest(spec: str) -> None:
    """Data are two points in two dimensions: with the first coordinate known, the second follows from it."""
    sampler = load(spec)
    kernel = load_kernel(sampler.process)
    network = MixtureScore(kernel, MEANS, 1e-3)
    seed = 0 if sampler.stochastic else None
    z = sampler.prior(12, (2,), seed=3).double()
    mask = torch.tensor([1.0, 0.0])
    for known in MEANS:
        painted = inpainting(network, torch.stack([known[0], torch.tensor(9.0)]), mask, kernel, "epsilon")
        ends = sampler.sample(painted, z, steps=50, grid="quadratic", end_at_zero=False, seed=seed)[:, :2]
        assert (ends[:, 0] - known[0]).abs().max() < 0.05
        assert (ends[:, 1] - known[1]).abs().max() < 0.25
    free = sampler.sample(network, z, steps=50, grid="quadratic", end_at_zero=False, seed=seed)[:, :2]
    assert (free[:, 0] - MEANS[1, 0]).abs().max() > 1.0


def test_shapes_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="they must agree"):
        classifier_free(of_label, torch.zeros(3), torch.zeros(2), 2.0)
    with pytest.raises(ValueError, match="same names"):
        classifier_free(of_label, {"a": torch.zeros(3)}, {"b": torch.zeros(3)}, 2.0)
    with pytest.raises(ValueError, match="3 conditions for 2 samples"):
        classifier_free(of_label, torch.zeros(3), torch.zeros(3), 2.0)(torch.zeros(2, 2), torch.ones(2))


def test_conditions_for_another_number_of_samples_are_one_sentence() -> None:
    t = torch.ones(3)
    for condition in (torch.zeros(2), {"a": torch.zeros(3), "b": torch.zeros(2)}):
        with pytest.raises(ValueError, match="2 conditions for 3 samples; one each is needed"):
            conditioned(lambda z, t, c: z, condition)(torch.zeros(3, 2), t)
    for condition in (torch.zeros(1), torch.tensor(4.0), ["a prompt"], {"a": torch.zeros(3), "b": "text"}):
        assert conditioned(lambda z, t, c: z + 1, condition)(torch.zeros(3, 2), t).shape == (3, 2)
    pair = {"a": torch.zeros(3), "b": torch.zeros(2)}
    with pytest.raises(ValueError, match="some conditions are for"):
        classifier_free(of_label, pair, pair, 2.0)
    with pytest.raises(ValueError, match="single numbers; one entry per sample"):
        classifier_free(of_label, torch.tensor(1), torch.tensor(0), 2.0)
