"""Guidance and inpainting for networks that return eps, x_0, v and velocity, against closed forms of Gaussian data.

Data are N(mean, variance), observed as y = x_0 + N(0, noise^2): the posterior is Gaussian, and so is every output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

import integrator_analysis as ia
from torch_backend import load, load_kernel
from torch_backend.networks import classifier_guided, inpainting, prediction_on
from torch_backend.networks.prediction import PREDICTIONS
from torch_backend.scores import GaussianScore, MixtureScore
from torch_backend.source import module_from_source

Output = Callable[[Tensor, Tensor], Tensor]

MEAN, VARIANCE = 0.2, 0.25
OBSERVED, NOISE = 0.78, 0.5
# Bayes for two Gaussians of variance 1/4 each: half-way, with half the variance.
POSTERIOR_MEAN, POSTERIOR_VARIANCE = 0.49, 0.125

# alpha and sigma by the textbook formulas, not from the kernels under test.
CURVES = {
    "vp": lambda t: (torch.exp(-(0.05 * t + 4.975 * t**2)), torch.sqrt(-torch.expm1(-(0.1 * t + 9.95 * t**2)))),
    "edm": lambda t: (torch.ones_like(t), t),
    "flow": lambda t: (1 - t, t),
}
TIMES = {"vp": (0.01, 0.3, 1.0), "edm": (0.002, 1.0, 80.0), "flow": (0.01, 0.3, 0.99)}
OUTPUTS = {
    "epsilon": lambda alpha, sigma, x, eps: eps,
    "sample": lambda alpha, sigma, x, eps: x,
    "v_prediction": lambda alpha, sigma, x, eps: (alpha * eps - sigma * x) / torch.sqrt(alpha**2 + sigma**2),
    "flow_prediction": lambda alpha, sigma, x, eps: eps - x,
}


def gaussian(process: str, prediction: str, mean: float | Tensor, variance: float) -> Output:
    """The best network of that prediction on data N(mean, variance): E[x_0 | z] and E[eps | z] by regression on z."""

    def network(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value.reshape(-1, *[1] * (z.dim() - 1)) for value in CURVES[process](t))
        residual = (z - alpha * mean) / (alpha**2 * variance + sigma**2)
        return OUTPUTS[prediction](alpha, sigma, mean + alpha * variance * residual, sigma * residual)

    return network


def log_likelihood(process: str) -> Output:
    """log p(y | z, t) of the observation, exact: y given z is Gaussian about E[x_0 | z]."""

    def log_probability(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value.reshape(-1, 1) for value in CURVES[process](t))
        total = alpha**2 * VARIANCE + sigma**2
        expected = MEAN + alpha * VARIANCE / total * (z - alpha * MEAN)
        spread = VARIANCE * sigma**2 / total + NOISE**2
        return (-((OBSERVED - expected) ** 2) / (2 * spread)).sum(1)

    return log_probability


def states(process: str, t: float) -> tuple[Tensor, Tensor]:
    """Three states of size sqrt(alpha^2 + sigma^2) at one time, float64."""
    times = torch.full((3,), t, dtype=torch.float64)
    size = torch.sqrt(sum(value**2 for value in CURVES[process](times)))[:, None]
    return size * torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)), times


CASES = [(process, prediction, t) for process in CURVES for prediction in OUTPUTS for t in TIMES[process]]


@pytest.mark.parametrize(("process", "prediction", "t"), CASES)
def test_a_classifier_makes_every_output_that_of_the_posterior(process: str, prediction: str, t: float) -> None:
    z, times = states(process, t)
    network = gaussian(process, prediction, MEAN, VARIANCE)
    kernel = load_kernel(process)
    with torch.no_grad():
        guided = classifier_guided(network, log_likelihood(process), kernel, prediction=prediction)(z, times)
    expected = gaussian(process, prediction, POSTERIOR_MEAN, POSTERIOR_VARIANCE)(z, times)
    torch.testing.assert_close(guided, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("process", "prediction", "t"), CASES)
def test_inpainting_gives_every_output_of_known_data_and_blends_between(
    process: str, prediction: str, t: float
) -> None:
    """The known entry has the output of the point 0.7, the unknown one the network's, and a soft one their mean."""
    z, times = states(process, t)
    free, exact = (gaussian(process, prediction, *law)(z, times) for law in ((MEAN, VARIANCE), (0.7, 0.0)))
    mask = torch.tensor([1.0, 0.0, 0.25, 1e-6], dtype=torch.float64)
    known = torch.tensor([0.7, math.nan, 0.7, 0.7], dtype=torch.float64)  # what is not known is not read
    network = gaussian(process, prediction, MEAN, VARIANCE)
    painted = inpainting(network, known, mask, load_kernel(process), prediction)(z, times)
    torch.testing.assert_close(painted, mask * exact + (1 - mask) * free, rtol=1e-9, atol=1e-9)


def euler(network: Output, z: Tensor, times: Tensor) -> Tensor:
    """Euler's method on the velocity of flow matching, as every model of flow matching is sampled."""
    for t, s in pairwise(times):
        z = z + (s - t) * network(z, t.expand(z.shape[0]))
    return z


def test_guided_flow_from_the_prior_ends_at_the_posterior_mean() -> None:
    """The first step, where the classifier's gradient is 0 like alpha, is guided too: from 0 Euler ends at 0.49.

    The mean of the state at t is (1 - t) 0.49 and Euler is exact for it; at t = 1 the classifier is asked at 0.999,
    which moves E[x_0 | z, y] by some thousandths and the end by that times the first step.
    """
    network = gaussian("flow", "flow_prediction", MEAN, VARIANCE)
    guided = classifier_guided(network, log_likelihood("flow"), load_kernel("flow"), prediction="flow_prediction")
    z, times = torch.zeros(1, 4, dtype=torch.float64), torch.linspace(1.0, 0.0, 11, dtype=torch.float64)
    z_1 = torch.ones(1, 4, dtype=torch.float64)
    at_the_prior = guided(z_1, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(at_the_prior, z_1 - POSTERIOR_MEAN, rtol=0, atol=2e-3)
    torch.testing.assert_close(euler(guided, z, times), torch.full_like(z, POSTERIOR_MEAN), rtol=0, atol=2e-4)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_inpainted_flow_of_a_point_is_exact_and_a_soft_mask_ends_at_the_blend(share: float) -> None:
    """Data are the point 0.2: with x_0 predicted as w everywhere, Euler's paths are straight and end at w."""
    network = gaussian("flow", "flow_prediction", MEAN, 0.0)
    known = torch.full((4,), 0.7, dtype=torch.float64)
    painted = inpainting(network, known, torch.full((4,), share), load_kernel("flow"), "flow_prediction")
    z = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ends = euler(painted, z, torch.linspace(1.0, 0.0, 8, dtype=torch.float64))
    torch.testing.assert_close(ends, torch.full_like(z, share * 0.7 + (1 - share) * MEAN), rtol=1e-12, atol=1e-12)


def test_inpainting_on_phase_space_gives_eps_of_the_known_point() -> None:
    """L^-1 (z - psi known) on two blocks, by torch's solver; a soft entry blends it with the network's eps."""
    kernel, t = load_kernel("psld"), torch.full((3,), 0.4, dtype=torch.float64)
    z = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    known, mask = torch.tensor([0.7, -0.3], dtype=torch.float64), torch.tensor([1.0, 0.25], dtype=torch.float64)
    psi = torch.stack(kernel.mean(t[:1]))
    xx, mx, mm = kernel.covariance(t[:1])
    factor = torch.linalg.cholesky(torch.stack([torch.cat([xx, mx]), torch.cat([mx, mm])]))
    centred = z.reshape(3, 2, 2) - psi * known
    exact = torch.linalg.solve_triangular(factor, centred, upper=False).reshape(3, 4)
    free = GaussianScore(kernel, torch.zeros(2), torch.ones(2))(z, t)
    painted = inpainting(GaussianScore(kernel, torch.zeros(2), torch.ones(2)), known, mask, kernel, "epsilon")(z, t)
    weight = mask.repeat(2)
    torch.testing.assert_close(painted, weight * exact + (1 - weight) * free, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 1, 4, 5), (1, 2, 4, 5), (2, 4, 5), (1, 4, 5), (4, 5), (5,)])
@pytest.mark.parametrize("known_shape", [(2, 4, 5), (3, 2, 4, 5)])
def test_masks_of_every_shape_that_fits(shape: tuple[int, ...], known_shape: tuple[int, ...]) -> None:
    """A mask per sample, per channel and per pixel is the mask that is broadcast to the batch."""
    generator = torch.Generator().manual_seed(3)
    known = torch.randn(known_shape, generator=generator)
    mask = torch.rand(shape, generator=generator).round().bool()
    z, t = torch.randn(3, 2, 4, 5, generator=generator), torch.full((3,), 0.3)
    painted = inpainting(lambda z, t: torch.zeros_like(z), known, mask, load_kernel("flow"), "flow_prediction")(z, t)
    expected = torch.where(mask, (z - known) / 0.3, torch.zeros_like(z))  # (z - 0.7 x_0) / 0.3 - x_0
    torch.testing.assert_close(painted, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("known", "mask", "message"),
    [
        (torch.zeros(2, 4, 4), torch.ones(3, 4), "mask has shape .3, 4.; one that broadcasts to known, .2, 4, 4."),
        (torch.zeros(1, 4, 4), torch.ones(2, 4, 4), "mask has shape"),  # would widen the channels
        (torch.zeros(2, 4, 4), torch.ones(1, 3, 2, 4, 4), "mask has shape"),
        (torch.zeros(2, 4, 4), torch.full((4, 4), 1.5), r"outside \[0, 1\]"),
        (torch.zeros(2, 4, 4), torch.full((4, 4), math.nan), r"outside \[0, 1\]"),
        (torch.zeros(2, 4, 4), torch.full((4, 4), 255), r"outside \[0, 1\]"),
    ],
)
def test_masks_that_do_not_fit_are_one_sentence(known: Tensor, mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inpainting(lambda z, t: z, known, mask, load_kernel("vp"), "epsilon")


def test_states_that_known_and_mask_do_not_fit_are_one_sentence() -> None:
    kernel, t = load_kernel("vp"), torch.full((3,), 0.3)
    per_sample = inpainting(lambda z, t: z, torch.zeros(2, 4, 4), torch.ones(2, 1, 4, 4), kernel, "epsilon")
    with pytest.raises(ValueError, match=r"\(2, 2, 4, 4\), need 2 samples of 1 block"):
        per_sample(torch.zeros(3, 2, 4, 4), t)
    with pytest.raises(ValueError, match="the state has shape"):
        inpainting(lambda z, t: z, torch.zeros(2, 4, 4), torch.ones(4, 4), kernel, "epsilon")(
            torch.zeros(3, 1, 4, 4), t
        )
    halved = inpainting(lambda z, t: z[:, :1], torch.zeros(2, 4, 4), torch.ones(4, 4), kernel, "epsilon")
    with pytest.raises(ValueError, match=r"the network returned \(3, 1, 4, 4\) for a state of shape \(3, 2, 4, 4\)"):
        halved(torch.zeros(3, 2, 4, 4), t)


def test_the_prediction_is_what_the_kernel_says_or_is_asked_for() -> None:
    """Kernels as derived now: every process of the catalogue states what its networks return."""
    for process, expected in (("vp", "epsilon"), ("edm", "epsilon"), ("psld", "epsilon"), ("flow", "flow_prediction")):
        kernel = kernel_as_derived(process)
        assert prediction_on(kernel) == expected
    assert prediction_on(load_kernel("flow"), "epsilon") == "epsilon"
    mute = SimpleNamespace(mean=load_kernel("vp").mean, cholesky=load_kernel("vp").cholesky)
    with pytest.raises(ValueError, match="does not say what its networks return; pass one of epsilon, sample, "):
        classifier_guided(lambda z, t: z, lambda z, t: z.sum(1), mute)
    mute.NETWORK = "velocity"  # of a curved path: not noise - x_0
    with pytest.raises(ValueError, match="says that they return its velocity; pass one of"):
        inpainting(lambda z, t: z, torch.zeros(2), torch.ones(2), mute)
    with pytest.raises(ValueError, match="did you mean 'v_prediction'"):
        prediction_on(load_kernel("vp"), "v_predicton")
    with pytest.raises(ValueError, match="'sample' on psld, which has 2 blocks; only epsilon is accepted"):
        prediction_on(load_kernel("psld"), "sample")


def kernel_as_derived(process: str) -> ModuleType:
    return module_from_source(ia.kernel_source(ia.process(process)), f"kernel_{process}")


def test_a_classifier_is_asked_in_inference_mode_and_refused_in_one_sentence() -> None:
    z, t = torch.ones(3, 2), torch.full((3,), 0.3)

    def guided(log_probability: Output) -> Tensor:
        return classifier_guided(lambda z, t: 0 * z, log_probability, load_kernel("edm"), 2.0, "epsilon")(z, t)

    layer = torch.nn.Linear(2, 1)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = guided(lambda z, t: layer(z * t[:, None])[:, 0])  # eps = -2 sigma grad, grad = 0.3 weight
            torch.testing.assert_close(found, -2 * 0.3 * 0.3 * layer.weight.detach().expand(3, 2))
    with pytest.raises(ValueError, match=r"returned shape \(3, 2\) for 3 samples; one number each"):
        guided(lambda z, t: z.log_softmax(1))
    with pytest.raises(ValueError, match="without a gradient in z"):
        guided(lambda z, t: t)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("n", [1, 3])
def test_outputs_have_the_dtype_of_the_network_and_half_precision_loses_only_its_rounding(
    dtype: torch.dtype, n: int
) -> None:
    kernel, t = load_kernel("edm"), torch.full((n,), 80.0)
    z = (80 * torch.randn(n, 4, generator=torch.Generator().manual_seed(4))).to(dtype)
    network = gaussian("edm", "epsilon", MEAN, VARIANCE)

    def cast(z: Tensor, t: Tensor) -> Tensor:
        return network(z.double(), t.double()).to(dtype)

    guided = classifier_guided(cast, log_likelihood("edm"), kernel, prediction="epsilon")(z, t)
    painted = inpainting(cast, torch.full((4,), 0.7), torch.tensor([1.0, 1, 0, 0]), kernel, "epsilon")(z, t)
    assert guided.dtype == painted.dtype == dtype
    exact = gaussian("edm", "epsilon", POSTERIOR_MEAN, POSTERIOR_VARIANCE)(z.double(), t.double())
    point = gaussian("edm", "epsilon", 0.7, 0.0)(z.double(), t.double())
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps}
    torch.testing.assert_close(guided.double(), exact, **tolerance)
    torch.testing.assert_close(painted[:, :2].double(), point[:, :2], **tolerance)


def test_every_prediction_is_tried() -> None:
    assert set(OUTPUTS) == set(PREDICTIONS)


def test_a_known_half_is_carried_by_ddim_as_the_points_own_path() -> None:
    """DDIM is exact for a point: at t_min what is left is the noise that the state had at the start."""
    sampler = load("vp/DDIM")
    network = gaussian("vp", "epsilon", MEAN, VARIANCE)
    known, mask = torch.full((4,), 0.7), torch.tensor([1.0, 1.0, 0.0, 0.0])
    z = sampler.prior(8, (4,), seed=0)
    ends = sampler.sample(
        inpainting(network, known, mask, load_kernel("vp"), "epsilon"), z, steps=20, end_at_zero=False
    )
    alpha, sigma = CURVES["vp"](torch.tensor(sampler.t_min))
    alpha_T, sigma_T = CURVES["vp"](torch.tensor(1.0))
    expected = alpha * 0.7 + sigma * (z - alpha_T * 0.7) / sigma_T
    torch.testing.assert_close(ends[:, :2], expected[:, :2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_exact_eps_where_flow_begins_is_the_state(dtype: torch.dtype) -> None:
    """alpha = 0 at t = 1: z is the noise, whatever the data are."""
    z, t = torch.tensor([[1.5, -0.5]], dtype=dtype), torch.ones(1, dtype=torch.float64)
    kernel = load_kernel("flow")
    means = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    for network in (GaussianScore(kernel, means[0], torch.ones(2)), MixtureScore(kernel, means, 0.1)):
        torch.testing.assert_close(network(z, t), z)
        torch.testing.assert_close(network.score(z, t), -z)
        expected = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
        torch.testing.assert_close(network.log_density(z, t), expected)
