"""Networks of the authors' signature, randomly initialised: their score, in their convention, through the adapter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import integrator_analysis as ia
from torch_backend import load
from torch_backend.networks.authors import AuthorsNetwork, weights_of
from torch_backend.source import load_kernel


class ScoreFunction(nn.Module):
    """(u, t) -> eps, channels [x, m], as in their repository; refuses what theirs would."""

    def __init__(self, channels: int = 2, out: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(channels, out or channels, 3, padding=1)

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        assert u.dtype == t.dtype == torch.float32
        assert t.shape == u.shape[:1]
        return self.layer(u) * torch.cos(3 * t)[:, None, None, None]


def score_of_theirs(eps: np.ndarray, time: float, factor: str) -> np.ndarray:
    """-K^-T eps for (n, 2, ...), K the lower or upper factor of Sigma(t), by numpy."""
    sigma = ia.process("psld").covariance(time)
    flip = np.eye(2)[::-1]
    lower = np.linalg.cholesky(sigma)
    k = lower if factor == "lower" else flip @ np.linalg.cholesky(flip @ sigma @ flip) @ flip
    assert np.allclose(k @ k.T, sigma)
    assert k[(0, 1) if factor == "lower" else (1, 0)] == 0
    return -np.einsum("ab,nb...->na...", np.linalg.inv(k).T, eps)


@pytest.mark.parametrize("factor", ["lower", "upper"])
@pytest.mark.parametrize("time", [1e-3, 0.2, 0.9])
@torch.no_grad()
def test_the_score_is_that_of_their_convention(factor: str, time: float) -> None:
    network, z, t = ScoreFunction(), torch.randn(3, 2, 4, 5), torch.full((3,), time)
    theirs = score_of_theirs(network(z, t).double().numpy(), time, factor)
    eps = AuthorsNetwork(network, factor, load_kernel("psld"))(z, t)
    found = score_of_theirs(eps.double().numpy(), time, "lower")
    assert np.abs(found - theirs).max() < 1e-5 * np.abs(theirs).max()
    if factor == "lower":
        assert torch.equal(eps, network(z, t))
    elif time < 0.5:  # read as lower it would be another score; towards equilibrium the two factors meet
        wrong = score_of_theirs(network(z, t).double().numpy(), time, "lower")
        assert np.abs(wrong - theirs).max() > 1e-2 * np.abs(theirs).max()


@torch.no_grad()
def test_an_euler_step_is_that_of_their_reverse_ode() -> None:
    """u - h (F u - G G^T score / 2), with drift and diffusion as their paper writes them."""
    network, start, end = ScoreFunction(), 0.6, 0.55
    u = torch.randn(2, 2, 3, 3)
    x, m = u.double().numpy()[:, :1], u.double().numpy()[:, 1:]
    eps = network(u, torch.full((2,), start)).double().numpy()
    score = score_of_theirs(eps, start, "upper")
    drift = 4 * np.concatenate([4 * m - 0.01 * x, -4.01 * m - x], 1)
    half = 4 * np.concatenate([0.01 * score[:, :1], 4.01 / 4 * score[:, 1:]], 1)
    expected = np.concatenate([x, m], 1) - (start - end) * (drift - half)
    adapted = AuthorsNetwork(network, "upper", load_kernel("psld"))
    found = load("psld/Euler").sample(adapted, u, times=[start, end]).double().numpy()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("spec", ["psld/RVV", "psld/gDDIM", "psld/NOBA", "psld/DPM-Solver++2M"])
def test_any_member_samples_from_such_a_checkpoint(spec: str, tmp_path: Any) -> None:
    """The documented steps: weights out of a checkpoint, network unchanged, adapter, sampler."""
    trained = ScoreFunction(6)
    saved = {f"ema_score_fn.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"state_dict": saved, "epoch": 3}, tmp_path / "psld.ckpt")
    network = ScoreFunction(6)
    network.load_state_dict(weights_of(tmp_path / "psld.ckpt"))
    sampler = load(spec)
    seed = 0 if sampler.stochastic else None
    z = sampler.prior(2, (3, 4, 4), seed=1)
    ends = [
        sampler.sample(AuthorsNetwork(network, factor, load_kernel("psld")), z, steps=3, grid="quadratic", seed=seed)
        for factor in ("lower", "upper")
    ]
    assert ends[0].shape == z.shape
    assert all(end.isfinite().all() for end in ends)
    assert not torch.allclose(*ends)


@torch.no_grad()
def test_half_of_the_channels_where_the_other_half_is_not_read() -> None:
    z, t = torch.randn(2, 2, 3, 3), torch.full((2,), 0.4)
    momentum = AuthorsNetwork(ScoreFunction(2, out=1))(z, t)
    assert momentum[:, :1].abs().max() == 0
    assert torch.equal(momentum[:, 1:], ScoreFunction(2, out=1)(z, t))
    position = AuthorsNetwork(ScoreFunction(2, out=1), "upper", load_kernel("psld"))(z, t)
    theirs = np.concatenate([ScoreFunction(2, out=1)(z, t).double().numpy(), np.zeros((2, 1, 3, 3))], 1)
    found = score_of_theirs(position.double().numpy(), 0.4, "lower")[:, 0]
    assert np.abs(found - score_of_theirs(theirs, 0.4, "upper")[:, 0]).max() < 1e-4


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="did you mean 'lower'"):
        AuthorsNetwork(ScoreFunction(), "lowr")
    with pytest.raises(ValueError, match="pass kernel"):
        AuthorsNetwork(ScoreFunction(), "upper")
    with pytest.raises(ValueError, match="half of its channels"):
        AuthorsNetwork(ScoreFunction(2, out=5))(torch.zeros(1, 2, 3, 3), torch.ones(1))
    with pytest.raises(ValueError, match="Known: score_fn"):
        weights_of({"state_dict": {"score_fn.layer.weight": torch.zeros(1)}})
