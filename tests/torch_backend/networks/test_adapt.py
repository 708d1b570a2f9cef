"""Networks on processes that they were not trained on, against exact scores of both processes.

The exact score of a mixture on each process is an independent right value: it is made from the kernel of that process
alone. Data: two components in two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from torch_backend import load, load_kernel
from torch_backend.networks import adapt
from torch_backend.scores import GaussianScore, MixtureScore

ONE_BLOCK = ("vp", "subvp", "vp_cosine", "ddpm", "ve", "edm", "flow")
DATA_STD = 0.5


def mixture(kernel: ModuleType) -> MixtureScore:
    means = torch.tensor([[-0.9, 0.2], [0.6, -0.1]], dtype=torch.float64)
    return MixtureScore(kernel, means, torch.tensor([0.09, 0.25]), torch.tensor([0.35, 0.65]))


def column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1))


def network_on(kernel: ModuleType, prediction: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The exact network of the mixture; every output by its textbook formula in x_0 and eps."""
    score = mixture(kernel)

    def network(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (column(f(t.double())[0], z) for f in (kernel.mean, kernel.cholesky))
        eps = score(z, t)
        x_0 = (z - sigma * eps) / alpha
        level, scale = sigma / alpha, DATA_STD * sigma / (sigma**2 + (DATA_STD * alpha) ** 2).sqrt()
        return {
            "eps": eps,
            "x0": x_0,
            "v": (alpha * eps - sigma * x_0) / (alpha**2 + sigma**2).sqrt(),
            "velocity": eps - x_0,
            "score": -eps / sigma,
            "edm": (x_0 - DATA_STD**2 / (level**2 + DATA_STD**2) * z / alpha) / scale,
        }[prediction]

    return network


def exact_output(kernel: ModuleType, z: Tensor, t: Tensor) -> Tensor:
    """What a network of the process should return: eps of its own exact score, or the velocity."""
    eps = mixture(kernel)(z, t)
    return eps - (z - column(t, z) * eps) / column(1 - t, z) if kernel.NETWORK == "velocity" else eps


def assert_exact(trained_on: str, prediction: str, run_on: str, seed: int) -> None:
    """The adapted network of the exact score on one process is that of the other, within the noise that both have."""
    kernel = load_kernel(run_on)
    adapted = adapt(network_on(load_kernel(trained_on), prediction), trained_on, prediction, run_on)
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(8, generator=generator, dtype=torch.float64)
    # dense at both ends; on flow not at 1 itself, where the velocity of the exact score is no quotient
    share = torch.cat([place[:1] * 0, place[:4] ** 4, place[4:], 1 - place[:3] ** 4 - 1e-3]).clamp(0, 0.999)
    t = adapted.t_last + (adapted.t_first - adapted.t_last) * share
    z = max(kernel.PRIOR_STD) * torch.randn(len(t), 2 * adapted.blocks, generator=generator, dtype=torch.float64)
    due = exact_output(kernel, z, t)
    assert ((adapted(z, t) - due).abs() <= 1e-10 * (1 + due.abs() + z.abs())).all()


@pytest.mark.parametrize("run_on", [*ONE_BLOCK, "psld", "cld"])
@pytest.mark.parametrize("trained_on", ONE_BLOCK)
def test_exact_network_of_one_process_is_that_of_every_other(trained_on: str, run_on: str) -> None:
    assert_exact(trained_on, "eps", run_on, seed=ONE_BLOCK.index(trained_on))


@pytest.mark.parametrize("run_on", ["vp_cosine", "flow", "psld"])
@pytest.mark.parametrize("trained_on", ONE_BLOCK)
def test_whatever_the_network_returns(trained_on: str, run_on: str) -> None:
    """What a network returns concerns its own process alone: three processes to run on stand for all."""
    for prediction in ("x0", "v", "score", "edm", *["velocity"] * (trained_on == "flow")):
        assert_exact(trained_on, prediction, run_on, seed=3)


def test_velocity_where_the_state_is_noise_alone() -> None:
    """At t = 1 of flow z says nothing of x_0: the velocity is z - E x_0."""
    adapted = adapt(network_on(load_kernel("vp"), "x0"), "vp", "x0", "flow", data_std=1.0)
    z = torch.randn(4, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mean = torch.tensor([0.35 * -0.9 + 0.65 * 0.6, 0.35 * 0.2 - 0.65 * 0.1], dtype=torch.float64)
    # vp ends at sigma / alpha = 157: what its noisiest state says of x_0 is below 1/157
    assert (adapted(z, torch.ones(4, dtype=torch.float64)) - (z - mean)).abs().max() < 1e-2


@pytest.mark.parametrize("variance", [0.04, 0.25, 1.0])
def test_beyond_the_range_gaussian_data_stay_exact(variance: float) -> None:
    """More noise than the network knows: its expected state is exact for centred Gaussian data of that deviation."""
    kernel, own = load_kernel("psld"), load_kernel("vp")
    mean, spread = torch.zeros(1, dtype=torch.float64), torch.full((1,), variance, dtype=torch.float64)
    narrow = SimpleNamespace(**vars(own) | {"T_MAX": 0.7})  # up to sigma / alpha = 11.4
    adapted = adapt(GaussianScore(own, mean, spread), narrow, "eps", "psld", data_std=math.sqrt(variance))
    t = torch.tensor([0.8, 1.0], dtype=torch.float64)
    assert (t > adapted.t_first).all()
    z = torch.randn(2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(adapted(z, t), GaussianScore(kernel, mean, spread)(z, t), rtol=0, atol=1e-12)


def test_below_the_range_x_0_is_that_of_the_cleanest_level() -> None:
    own = load_kernel("vp")
    adapted = adapt(network_on(own, "eps"), SimpleNamespace(**vars(own) | {"T_MIN": 0.1}), "eps", "edm")
    t, z = torch.tensor([0.02, 0.05], dtype=torch.float64), torch.tensor([[0.3, -0.2], [1.0, 0.4]], dtype=torch.float64)
    at = torch.full((2,), 0.1, dtype=torch.float64)
    (alpha,), (sigma,) = own.mean(at), own.cholesky(at)
    state = z * alpha[:, None]
    predicted = (state - sigma[:, None] * network_on(own, "eps")(state, at)) / alpha[:, None]
    assert torch.allclose(z - t[:, None] * adapted(z, t), predicted, rtol=0, atol=1e-13)


def test_noise_outside_the_range_is_refused_where_asked() -> None:
    own = load_kernel("vp")
    adapted = adapt(
        network_on(own, "eps"), SimpleNamespace(**vars(own) | {"T_MAX": 0.5}), "eps", "psld", beyond="refuse"
    )
    z = torch.zeros(1, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"at t = 1 psld has a noise that the network does not know; its range is"):
        adapted(z, torch.ones(1, dtype=torch.float64))


def test_table_and_scheduler_configs_name_the_network() -> None:
    """A network on Stable Diffusion's table takes the index; between entries its log-SNR is linear."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bars = (1 - betas).cumprod(0)
    seen: list[Tensor] = []

    def network(z: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return z

    config = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085}
    config |= {"beta_end": 0.012, "prediction_type": "v_prediction"}
    for trained_on, prediction in ((bars, "v"), (config, None)):
        adapted = adapt(network, trained_on, prediction, "edm")
        levels = ((1 - bars) / bars).sqrt()[[0, 500, 999]]
        adapted(torch.ones(3, 1, dtype=torch.float64), levels)
        assert torch.allclose(seen.pop(), torch.tensor([0.0, 500.0, 999.0], dtype=torch.float64), atol=2e-3)
        assert adapted.t_first == pytest.approx(float(levels[2]), rel=1e-5)


def test_flow_and_edm_configs() -> None:
    """Flow networks take 1000 sigma, Mochi's run from noise at 0 to the data, EDM's take c_in y and c_noise."""
    flow, t = load_kernel("flow"), torch.tensor([0.3], dtype=torch.float64)
    z = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    velocity, due = network_on(flow, "velocity"), exact_output(load_kernel("edm"), z / 0.7, t / 0.7)
    plain = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "num_train_timesteps": 1000}
    adapted = adapt(lambda z, t: velocity(z, t / 1000), plain, None, "edm")
    assert torch.allclose(adapted(z / 0.7, t / 0.7), due, rtol=0, atol=1e-12)
    turned = adapt(lambda z, t: -velocity(z, 1 - t / 1000), plain | {"invert_sigmas": True}, None, "edm")
    assert torch.allclose(turned(z / 0.7, t / 0.7), due, rtol=0, atol=1e-12)

    edm = load_kernel("edm")
    named = {"_class_name": "EDMEulerScheduler", "sigma_data": 0.5, "sigma_min": 0.002, "sigma_max": 80.0}

    def preconditioned(y: Tensor, noise: Tensor) -> Tensor:
        sigma = (4 * noise).exp()
        return network_on(edm, "edm")(y * column((sigma**2 + 0.25).sqrt(), y), sigma)

    due = exact_output(load_kernel("vp"), z, t)
    assert torch.allclose(adapt(preconditioned, named, None, "vp")(z, t), due, rtol=0, atol=1e-12)
    flipped = adapt(lambda y, t: -preconditioned(y, t), named | {"prediction_type": "v_prediction"}, None, "vp")
    assert torch.allclose(flipped(z, t), due, rtol=0, atol=1e-12)


def test_lift_has_the_exact_law() -> None:
    """Lifted states of the network's process have the covariance of psld at the same noise: psi psi^T v + L L^T."""
    own, kernel, variance = load_kernel("vp"), load_kernel("psld"), 0.3
    adapted = adapt(network_on(own, "eps"), "vp", "eps", "psld")
    generator, t, n = torch.Generator().manual_seed(1), 0.4, 200_000
    at = torch.tensor(adapted.own_time(t), dtype=torch.float64)
    (alpha,), (sigma,) = own.mean(at), own.cholesky(at)
    draw = torch.randn(2, n, 1, generator=generator, dtype=torch.float64)
    z = adapted.lift(alpha * variance**0.5 * draw[0] + sigma * draw[1], t, seed=1)
    psi = torch.stack(kernel.mean(torch.tensor(t, dtype=torch.float64)))
    l_xx, l_mx, l_mm = kernel.cholesky(torch.tensor(t, dtype=torch.float64))
    factor = torch.tensor([[l_xx, 0.0], [l_mx, l_mm]])
    due = variance * torch.outer(psi, psi) + factor @ factor.T
    # the deviation of an estimated covariance is below sqrt(2 / n) of the variances: five of them, for a fixed seed
    assert (z.T @ z / n - due).abs().max() < 5 * math.sqrt(2 / n) * due.max()
    assert torch.equal(adapted.lift(z[:3, :1], t, seed=2)[:, :1].isfinite().all(), torch.tensor(True))


def test_walk_on_phase_space_reaches_the_data() -> None:
    """A whole walk of SPS-2M from the lift of the VP prior: the moments of the mixture."""
    adapted = adapt(network_on(load_kernel("vp"), "v"), "vp", "v", "psld", data_std=1.0)
    start = adapted.draw_start(4000, (2,), seed=0, dtype=torch.float64)
    x = load("psld/DPM-Solver++2M").sample(adapted, start, times=adapted.times(50))[:, :2]
    mean = torch.tensor([0.35 * -0.9 + 0.65 * 0.6, 0.35 * 0.2 - 0.65 * 0.1], dtype=torch.float64)
    assert (x.mean(0) - mean).abs().max() < 5 * 0.85 / math.sqrt(4000) + 0.01


def test_prepared_times_give_the_same_and_others_nothing() -> None:
    adapted = adapt(network_on(load_kernel("vp"), "eps"), "vp", "eps", "psld")
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    due = adapted(z, t)
    adapted.prepare([0.2, 0.9, 0.5])
    assert torch.equal(adapted(z, t), due)
    assert torch.equal(adapted(z, t[:1].expand(3)), torch.cat([due[:1], adapted(z, t[:1].expand(3))[1:]]))
    assert adapted(z, t + 1e-3).isnan().all()
    assert torch.equal(adapted.prepare(None)(z, t), due)


def test_half_precision_and_gradients() -> None:
    exact = network_on(load_kernel("vp"), "eps")
    seen: list[torch.dtype] = []

    def network(z: Tensor, t: Tensor) -> Tensor:
        seen.append(z.dtype)
        return exact(z.double(), t.double()).to(z.dtype)

    adapted = adapt(network, "vp", "eps", "psld", dtype=torch.float16)
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    output = adapted(z, torch.tensor([0.5, 0.5]))
    assert (output.dtype, seen) == (torch.float32, [torch.float16])
    (gradient,) = torch.autograd.grad(output.sum(), z)
    assert gradient.isfinite().all()
    assert (gradient != 0).all()


def test_compiles_whole_once_it_is_prepared() -> None:
    adapted = adapt(lambda z, t: torch.tanh(z) + t[:, None], "vp", "eps", "psld").prepare(
        [0.5, 0.25], dtype=torch.float32
    )
    exported = torch.export.export(adapted, (torch.ones(2, 4), torch.tensor([0.5, 0.25])))
    z, t = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0.25, 0.5])
    assert torch.equal(exported.module()(z, t), adapted(z, t))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trained_on": "psld"}, r"trained_on = 'psld' has 2 blocks; a network on one block is needed"),
        ({"trained_on": "vpp"}, r"unknown process 'vpp'; did you mean 'vp'"),
        ({"trained_on": 3}, r"trained_on is int; the name of a process"),
        ({"prediction": "epsilom"}, r"unknown prediction 'epsilom'; did you mean 'epsilon'"),
        ({"prediction": "velocity"}, r"prediction 'velocity' on vp: eps - x_0 is a velocity on straight paths alone"),
        ({"time": "seconds"}, r"unknown time 'seconds'"),
        ({"time": "index"}, r"time = 'index' counts the entries of a table of betas"),
        ({"time": -1.0}, r"time = -1.0; one of t, index, sigma, c_noise or a positive number"),
        ({"data_std": 0.0}, r"data_std = 0.0; a positive standard deviation is needed"),
        ({"beyond": "clamp"}, r"unknown beyond 'clamp'"),
        ({"trained_on": torch.tensor([0.5, 0.7])}, r"alphas_cumprod of shape \(2,\); a decreasing sequence"),
    ],
)
def test_what_cannot_be_adapted_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        adapt(torch.tanh, **{"prediction": "eps"} | options)  # type: ignore[arg-type]


def test_noise_that_differs_along_the_data_is_refused() -> None:
    vp = load_kernel("vp")
    coloured = SimpleNamespace(**vars(vp) | {"cholesky": lambda t: (torch.ones(*t.shape, 2),)})
    with pytest.raises(ValueError, match=r"its noise differs along the data"):
        adapt(torch.tanh, "vp", "eps", coloured)


def test_states_and_outputs_of_another_shape_are_refused() -> None:
    adapted = adapt(lambda z, t: z[:, :1], "vp", "eps", "psld")
    with pytest.raises(ValueError, match=r"z has shape \(2, 3\) and t \(2,\); \(n, 2 c, ...\) and \(n,\) are needed"):
        adapted(torch.ones(2, 3), torch.ones(2))
    with pytest.raises(ValueError, match=r"the network returned \(2, 1\) for a state of \(2, 2\)"):
        adapted(torch.ones(2, 4), torch.ones(2))
