"""The whole walk: its step to no noise, how many evaluations it makes and at which times, and noise of each sample."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_backend import Sampler, load
from torch_backend.scores import GaussianScore, MixtureScore
from torch_backend.source import load_kernel
from torch_backend.walk.prior_check import ImplausibleOutputWarning


class Counting:
    """A network that notes the times of its evaluations."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.times: list[float] = []

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        self.times.append(float(t[0]))
        return self.network(z, t)


def point_data(process: str, d: int = 3) -> tuple[GaussianScore, Tensor]:
    mean = torch.linspace(-0.7, 0.9, d, dtype=torch.float64)
    return GaussianScore(load_kernel(process), mean, torch.zeros_like(mean)), mean


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
    "spec", ["vp/DDIM", "vp/Euler", "vp/UniPC-2", "vp/DEIS-tAB3", "vp/EM", "vp/Heun", "psld/DDIM", "psld/SPS-2M"]
)
def test_of_point_data_the_last_step_gives_the_point(spec: str, steps: int) -> None:
    """x_0 is what the exact eps of point data tells, wherever the walk is; every other block ends at 0."""
    sampler, (network, mean) = load(spec), point_data(spec.split("/")[0])
    counted = Counting(network)
    end = sampler.sample(counted, sampler.prior(2, (3,), seed=0).double(), steps=steps, grid="uniform", seed=[1, 2])
    torch.testing.assert_close(end[:, :3], mean.expand(2, 3), rtol=0, atol=1e-8)
    assert (end[:, 3:] == 0).all()
    primed = getattr(sampler.module, "PRIMED", False) and steps > 1
    assert len(counted.times) == (steps - 1) * sampler.nfe_per_step + 1 + primed
    assert counted.times[-1] == (sampler.t_min if steps > 1 else sampler.t_max)


def test_of_a_mixture_the_last_step_is_the_mean_of_the_data_given_the_state() -> None:
    """Against the posterior mean by Bayes' rule, for VP, whose alpha and sigma are written out."""
    t, points = 0.3, torch.tensor([[-0.8], [0.1], [0.9]], dtype=torch.float64)
    b = 0.1 * t + 9.95 * t**2
    alpha, variance = math.exp(-b / 2), -math.expm1(-b)
    z = torch.tensor([[-0.4], [0.2], [0.6]], dtype=torch.float64)
    weights = torch.softmax(-((z - alpha * points.T) ** 2) / (2 * variance), dim=1)
    seen: list[tuple[int, float, Tensor]] = []
    network = MixtureScore(load_kernel("vp"), points, 0.0)
    end = load("vp/DDIM").sample(network, z, times=[t, 0.0], callback=lambda *now: seen.append(now))
    torch.testing.assert_close(end, weights @ points, rtol=1e-10, atol=1e-10)
    assert seen[0][:2] == (0, 0.0)
    assert torch.equal(seen[0][2], end)


def test_the_times_of_a_walk() -> None:
    sampler = load("vp/DDIM")
    assert sampler.times(1) == [1.0, 0.0]
    assert sampler.times(3, "uniform") == pytest.approx([1.0, 0.5005, 0.001, 0.0], rel=1e-14)
    assert sampler.times(2, "uniform", end_at_zero=False) == pytest.approx([1.0, 0.5005, 0.001], rel=1e-14)
    network, z = GaussianScore(load_kernel("vp"), torch.zeros(2), torch.ones(2)), sampler.prior(2, (2,), seed=0)

    def times_of(**walk: Any) -> list[float]:
        reached: list[float] = []
        sampler.sample(network, z, callback=lambda i, s, z: reached.append(s), **walk)
        return reached

    assert times_of(times=[1.0, 0.5]) == times_of(times=[1.0, 0.5], end_at_zero=False) == [0.5]
    assert times_of(times=[1.0, 0.5], end_at_zero=True) == times_of(times=[1.0, 0.5, 0.0]) == [0.5, 0.0]
    assert times_of(steps=4) == sampler.times(4)[1:]
    assert times_of(steps=4, end_at_zero=False) == sampler.times(4, end_at_zero=False)[1:]
    seen: list[tuple[int, int]] = []
    sampler.sample(network, z, steps=2, progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]


def test_a_grid_is_the_schemes_own_by_default(ddim: SimpleNamespace) -> None:
    assert Sampler(ddim).times(4) == Sampler(ddim).times(4, "uniform")
    own = Sampler(SimpleNamespace(**vars(ddim), GRID="quadratic"))
    assert own.grid == "quadratic"
    assert own.times(4) == own.times(4, "quadratic") != own.times(4, "uniform")


def test_what_has_no_step_to_no_noise_refuses_it(ddim: SimpleNamespace) -> None:
    """A module that states no weights, and eps on rectified flow at t = 1, which says nothing of x_0."""
    bare = SimpleNamespace(**{name: value for name, value in vars(ddim).items() if name != "data_weights"})
    z = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"vp/DDIM states no data_weights\(t\).*pass end_at_zero=False"):
        Sampler(bare).sample(lambda z, t: z, z, steps=2)
    assert Sampler(bare).sample(lambda z, t: z, z, steps=2, end_at_zero=False).shape == z.shape
    silent = SimpleNamespace(**{**vars(ddim), "data_weights": lambda t: torch.stack([1 / (1 - t), -t / (1 - t)])})
    with pytest.raises(ValueError, match=r"output at time 1\.0 does not tell x_0"):
        Sampler(silent).sample(lambda z, t: z, z, steps=1)
    assert Sampler(silent).times(2)[-1] == 0.0


def test_a_scheme_that_has_no_step_from_t_max_begins_just_below(ddim: SimpleNamespace) -> None:
    """DDIM on straight paths in eps: (1 - s)/(1 - t) is infinite at t = 1."""

    def coefficients(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return torch.stack([(1 - s) / (1 - t), s - t * (1 - s) / (1 - t)], -1)

    def log_snr(t: torch.Tensor) -> torch.Tensor:
        return torch.log((1 - t) / t)

    names = {"coefficients": coefficients, "log_snr": log_snr, "data_weights": lambda t: torch.stack([t**0, -t])}
    late, from_one = SimpleNamespace(**{**vars(ddim), **names}), SimpleNamespace(**{**vars(ddim), "log_snr": log_snr})
    assert Sampler(late).times(3, "uniform") == pytest.approx([0.999, 0.5, 0.001, 0.0])
    assert Sampler(late).times(3, "log-SNR") == pytest.approx([0.999, 0.5, 0.001, 0.0])
    assert Sampler(from_one).times(3, "log-SNR") == pytest.approx([1.0, 0.5, 0.001, 0.0])
    assert Sampler(late).times(1) == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"from time 1\.0 to 0\.5, is inf"):
        Sampler(late).sample(lambda z, t: z, torch.ones(1, 1), times=[1.0, 0.5])


@pytest.mark.parametrize("kind", ["seed", "generator"])
def test_one_seed_per_sample_makes_noise_independent_of_the_batch(euler_maruyama: SimpleNamespace, kind: str) -> None:
    sampler, network = Sampler(euler_maruyama, dtype=torch.float64), lambda z, t: torch.sin(z)
    z = sampler.prior(4, (2, 3), seed=[5, 6, 7, 8])

    def walk(seeds: list[int], z: Tensor) -> Tensor:
        given: Any = seeds if kind == "seed" else [torch.Generator().manual_seed(seed) for seed in seeds]
        return sampler.sample(network, z, steps=4, **{kind: given})

    whole = walk([1, 2, 3, 4], z)
    for i in range(4):
        assert torch.equal(sampler.prior(1, (2, 3), seed=[5 + i]), z[i : i + 1])
        torch.testing.assert_close(walk([1 + i], z[i : i + 1]), whole[i : i + 1], rtol=1e-12, atol=1e-12)
    assert torch.equal(sampler.prior(1, (2, 3), seed=6), z[1:2])  # a list of one is the number
    same = walk([1, 1, 2, 3], z[:1].expand(4, 2, 3))
    torch.testing.assert_close(same[0], same[1], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(same[0], same[2])
    with pytest.raises(ValueError, match="3 seeds for a batch of 4"):
        sampler.prior(4, (2, 3), seed=[1, 2, 3])


@pytest.mark.parametrize(("spec", "few", "many"), [("vp/DEIS-tAB2", True, False), ("vp/UniPC-3", True, True)])
def test_the_final_order_is_lowered_by_default_as_in_diffusers(spec: str, few: bool, many: bool) -> None:
    """DPMSolverMultistep lowers it below 15 steps in all, UniPC always."""
    sampler = load(spec)
    for steps, lowered in ((14, few), (15, many)):
        times = sampler.times(steps)
        assert torch.equal(sampler.table(times), sampler.table(times, lower_order_final=lowered))
        assert not torch.equal(sampler.table(times), sampler.table(times, lower_order_final=not lowered))


def test_a_network_on_another_clock_is_told_of_once_the_walk_is_done() -> None:
    """Standard normal data under VP, whose eps is sigma z: a network that counts to 999 takes t = 1 for 1 / 999."""
    sampler, exact = load("vp/DDIM"), GaussianScore(load_kernel("vp"), torch.zeros(8), torch.ones(8))
    z = sampler.prior(4, (8,), seed=0)
    with pytest.warns(ImplausibleOutputWarning, match="vp/DDIM: the network's first output, at time 1") as caught:
        sampler.sample(lambda z, t: exact(z, t / 999), z, steps=3, end_at_zero=False)
    assert caught[0].filename == __file__
