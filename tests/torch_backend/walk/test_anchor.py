"""The data anchor: moments from every kind of input, and one exact step on Gaussian data of any covariance.

The oracle of the steps is the probability-flow ODE as it stands on paper, solved by scipy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source
from torch_backend import load
from torch_backend.source import module_from_source
from torch_backend.walk.anchor import Anchor, anchored_sample, fit_anchor

SHAPE = (2, 1, 2)
SIZE = 4
PROCESSES = ("vp", "psld", "cld", "edm")
MEMBERS = ("anchored-DDIM", "anchored-AB2")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_covariance(size: int = SIZE) -> Tensor:
    root = normal(size, size, seed=1)
    return root @ root.T / size + 0.05 * torch.eye(size, dtype=torch.float64)


def covariance_of(anchor: Anchor) -> Tensor:
    basis = torch.eye(len(anchor.variances), dtype=torch.float64) if anchor.basis is None else anchor.basis
    return basis @ torch.diag(anchor.variances) @ basis.T


# fitting
DATA = normal(50, *SHAPE, seed=2) * torch.tensor([0.5, 2.0]).double() + 3


def test_anchor_of_a_tensor_has_numpys_moments() -> None:
    anchor = fit_anchor(DATA)
    flat = DATA.flatten(1).numpy()
    assert anchor.mean.shape == SHAPE
    np.testing.assert_allclose(anchor.mean.flatten().numpy(), flat.mean(0), rtol=1e-13)
    np.testing.assert_allclose(covariance_of(anchor).numpy(), np.cov(flat.T, bias=True), atol=1e-12)


def test_anchor_per_channel_has_the_mean_variance_of_the_channels_pixels() -> None:
    anchor = fit_anchor(DATA, "channel")
    expected = DATA.numpy().var(0).mean((1, 2)).repeat(2)
    assert anchor.basis is None
    np.testing.assert_allclose(anchor.variances.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["full", "channel"])
@pytest.mark.parametrize(
    "loader",
    [
        lambda: DATA.split(17),
        lambda: (batch for batch in DATA.split(17)),
        lambda: [(batch, torch.zeros(len(batch))) for batch in DATA.split(7)],
        lambda: [[batch, torch.zeros(len(batch))] for batch in DATA.split(7)],
        lambda: torch.utils.data.DataLoader(torch.utils.data.TensorDataset(DATA, torch.zeros(50)), batch_size=8),
    ],
    ids=["tensors", "generator", "tuples", "lists", "DataLoader"],
)
def test_anchor_of_batches_is_that_of_the_whole(kind: str, loader: Callable[[], Any]) -> None:
    whole, parts = fit_anchor(DATA, kind), fit_anchor(loader(), kind)
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(covariance_of(parts), covariance_of(whole), rtol=1e-12, atol=1e-12)


def test_anchor_of_stored_moments() -> None:
    mean, covariance = normal(*SHAPE), random_covariance()
    full = fit_anchor(mean=mean, covariance=covariance)
    torch.testing.assert_close(covariance_of(full), covariance, rtol=0, atol=1e-13)
    assert torch.equal(full.mean, mean)
    channel = fit_anchor(kind="channel", mean=mean.float(), covariance=torch.tensor([0.5, 2.0]))
    assert channel.variances.tolist() == [0.5, 0.5, 2.0, 2.0]
    assert channel.mean.dtype == channel.variances.dtype == torch.float64


def test_anchor_of_data_in_a_subspace_has_positive_variances() -> None:
    flat = normal(30, 1) @ normal(1, SIZE, seed=5)
    anchor = fit_anchor(flat.reshape(30, *SHAPE))
    assert (anchor.variances > 0).all()
    assert anchor.variances[:-1].max() < 1e-6 * anchor.variances[-1]


def test_anchor_of_large_offsets_keeps_its_digits() -> None:
    near, far = fit_anchor(DATA), fit_anchor(list((DATA + 1e6).split(9)))
    torch.testing.assert_close(far.variances, near.variances, rtol=1e-7, atol=0)


INDEFINITE = torch.diag(torch.tensor([1.0, 1.0, 1.0, -0.1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": torch.zeros(SHAPE), "covariance": INDEFINITE}, "not positive definite: its least eigenvalue is -0.1"),
        ({"mean": torch.zeros(SHAPE), "covariance": torch.zeros(4, 4)}, "not positive definite"),
        ({"mean": torch.zeros(SHAPE), "covariance": torch.eye(3)}, r"shape \(3, 3\); .* of shape \(4, 4\) is needed"),
        ({"mean": torch.zeros(SHAPE), "covariance": torch.eye(4).cumsum(1)}, "a symmetric one"),
        ({"kind": "channel", "mean": torch.zeros(SHAPE), "covariance": torch.eye(4)}, "one positive variance per chan"),
        ({"kind": "channel", "mean": torch.zeros(SHAPE), "covariance": torch.tensor([1.0, 0.0])}, "one positive var"),
        ({"data": []}, "at least two samples, got 0"),
        ({"data": torch.zeros(1, *SHAPE)}, "at least two samples, got 1"),
        ({"data": torch.zeros(5, *SHAPE)}, "not positive definite"),
        ({"data": DATA, "kind": "pixel"}, "kind 'pixel' is unknown; accepted: full, channel"),
        ({}, "pass one of the two"),
        ({"mean": torch.zeros(SHAPE)}, "pass one of the two"),
        ({"data": DATA, "mean": torch.zeros(SHAPE), "covariance": torch.eye(4)}, "pass one of the two"),
    ],
)
def test_unusable_anchors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_anchor(**arguments)


# one exact step
PHASE = {
    "psld": (8.0, np.array([[-0.01, 4.0], [-1.0, -4.01]]) / 2, np.diag([0.01, 0.25 * 4.01])),
    "cld": (4.0, np.array([[0.0, 4.0], [-1.0, -4.0]]), np.diag([0.0, 2.0])),
}
"""beta, F / beta and G G^T / beta of the published processes on phase space; both are critically damped."""


def on_paper(name: str, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """F, G G^T, psi and Sigma of the published processes."""
    if name == "vp":
        beta, clock = 0.1 + 19.9 * time, 0.1 * time + 9.95 * time**2
        kernel = np.array([np.exp(-clock / 2)]), np.array([[-np.expm1(-clock)]])
        return np.array([[-beta / 2]]), np.array([[beta]]), *kernel
    if name == "edm":
        return np.zeros((1, 1)), np.array([[2 * time]]), np.ones(1), np.array([[time**2]])
    beta, drift, diffusion = PHASE[name]
    clock, rate, limit = beta * time, np.trace(drift) / 2, np.diag([1.0, 0.25])
    forward = np.exp(rate * clock) * (np.eye(2) + clock * (drift - rate * np.eye(2)))
    sigma = limit + forward @ (np.diag([0.0, 0.01]) - limit) @ forward.T
    return beta * drift, beta * diffusion, forward[:, 0], sigma


@cache
def kernel_of(name: str) -> Any:
    return module_from_source(kernel_source(ia.process(name)), f"anchor_test_kernel_{name}")


@cache
def scheme_of(spec: str) -> Any:
    return module_from_source(ia.derive(spec).source, f"anchor_test_{abs(hash(spec))}")


class Gaussian:
    """The exact eps and score of data N(mean, covariance), covariance (d, d) in full, and their flow."""

    def __init__(self, name: str, mean: Tensor, covariance: Tensor) -> None:
        self.name, self.mean, self.covariance = name, mean.flatten().numpy(), covariance.numpy()

    def score(self, flat: np.ndarray, time: float) -> np.ndarray:
        """Of states (n, k d) at one time, (n, k, d)."""
        _, _, psi, sigma = on_paper(self.name, time)
        total = np.kron(np.outer(psi, psi), self.covariance) + np.kron(sigma, np.eye(len(self.mean)))
        score = -np.linalg.solve(total, (flat - np.kron(psi, self.mean)).T).T
        return score.reshape(len(flat), len(psi), -1)

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        factor = np.linalg.cholesky(on_paper(self.name, float(t[0]))[3])
        eps = -factor.T @ self.score(z.flatten(1).numpy(), float(t[0]))
        return torch.from_numpy(eps).reshape(z.shape)

    def flow(self, z: Tensor, start: float, end: float) -> Tensor:
        """The probability-flow solution at ``end``, by DOP853."""

        def right(time: float, flat: np.ndarray) -> np.ndarray:
            drift, diffusion, _, _ = on_paper(self.name, time)
            state = flat.reshape(len(z), len(drift), -1)
            return (drift @ state - diffusion @ self.score(flat.reshape(len(z), -1), time) / 2).ravel()

        solved = solve_ivp(right, (start, end), z.numpy().ravel(), "DOP853", rtol=1e-13, atol=1e-13)
        return torch.from_numpy(solved.y[:, -1].copy()).reshape(z.shape)


def check_exact(name: str, member: str, anchor: Anchor, data: Gaussian, steps: int) -> None:
    """Walks of ``steps`` steps over the whole time end where scipy's solution ends.

    To 64 roundings of the largest coefficient, by which the rounding of a state and of the network's output grows; on
    psld that is 5e4. scipy's solution itself moves by 1e-13 with its tolerance.
    """
    scheme = scheme_of(f"{name}/{member}")
    wide = torch.tensor(scheme.PRIOR_STD, dtype=torch.float64).repeat_interleave(SHAPE[0])
    z_T = wide[:, None, None] * normal(3, len(wide), *SHAPE[1:], seed=3)
    exact = data.flow(z_T, scheme.T_MAX, scheme.T_MIN)
    found = anchored_sample(scheme, anchor, kernel_of(name), data, z_T, steps=steps, end_at_zero=False)
    largest = max(1.0, float(scheme.coefficients(scheme.T_MAX, scheme.T_MIN).abs().max()))
    assert float((found - exact).abs().max()) < 64 * 2**-52 * largest * float(z_T.abs().max().clamp(min=1))


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("name", PROCESSES)
def test_one_step_is_exact_for_gaussian_data_of_full_covariance(name: str, member: str) -> None:
    mean, covariance = normal(*SHAPE, seed=4), random_covariance()
    anchor = fit_anchor(mean=mean, covariance=covariance)
    check_exact(name, member, anchor, Gaussian(name, mean, covariance), 1)


@pytest.mark.parametrize("name", PROCESSES)
def test_one_step_is_exact_per_channel(name: str) -> None:
    mean, variances = normal(*SHAPE, seed=6), torch.tensor([0.3, 1.7], dtype=torch.float64)
    anchor = fit_anchor(kind="channel", mean=mean, covariance=variances)
    data = Gaussian(name, mean, torch.diag(variances.repeat_interleave(2)))
    check_exact(name, "anchored-DDIM", anchor, data, 1)


@pytest.mark.parametrize("name", ["vp", "psld"])
def test_several_steps_with_memory_are_exact(name: str) -> None:
    mean, variances = normal(*SHAPE, seed=6), torch.tensor([0.3, 1.7], dtype=torch.float64)
    anchor = fit_anchor(kind="channel", mean=mean, covariance=variances)
    data = Gaussian(name, mean, torch.diag(variances.repeat_interleave(2)))
    check_exact(name, "anchored-AB2", anchor, data, 3)


def test_one_step_without_the_anchor_is_not_exact() -> None:
    """What the tests above would miss if the oracle could not tell."""
    mean, covariance = normal(*SHAPE, seed=4), random_covariance()
    data, sampler = Gaussian("vp", mean, covariance), load("vp/DDIM")
    z_T = normal(3, *SHAPE, seed=3)
    found = sampler.sample(data, z_T, steps=1, end_at_zero=False)
    assert float((found - data.flow(z_T, sampler.t_max, sampler.t_min)).abs().max()) > 0.1


def test_a_wrong_anchor_is_not_exact() -> None:
    mean, covariance = normal(*SHAPE, seed=4), random_covariance()
    data = Gaussian("vp", mean, covariance)
    wrong = fit_anchor(mean=mean, covariance=2 * covariance)
    with pytest.raises(AssertionError):
        check_exact("vp", "anchored-DDIM", wrong, data, 1)


def test_callback_sees_states_in_the_coordinates_of_the_data() -> None:
    mean, covariance = normal(*SHAPE, seed=4), random_covariance()
    anchor, scheme = fit_anchor(mean=mean, covariance=covariance), scheme_of("vp/anchored-DDIM")
    data, seen = Gaussian("vp", mean, covariance), []
    end = anchored_sample(scheme, anchor, kernel_of("vp"), data, normal(3, *SHAPE), times=[1.0, 0.5, 0.01],
                          callback=lambda i, s, z: seen.append((i, s, z)))  # fmt: skip
    assert [(i, s) for i, s, _ in seen] == [(0, 0.5), (1, 0.01)]
    torch.testing.assert_close(seen[-1][2], end, rtol=0, atol=1e-7)
    torch.testing.assert_close(seen[0][2], data.flow(normal(3, *SHAPE), 1.0, 0.5), rtol=0, atol=1e-7)


# refusals
def walk(scheme: Any, z_T: Tensor, **options: Any) -> Tensor:
    anchor = fit_anchor(kind="channel", mean=torch.zeros(SHAPE), covariance=torch.ones(2))
    return anchored_sample(scheme, anchor, kernel_of(scheme.PROCESS), lambda z, t: z, z_T, **options)


def test_an_unanchored_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="vp/DDIM takes no variance of the data; an anchored scheme is needed"):
        walk(load("vp/DDIM").module, torch.zeros(3, *SHAPE), steps=2)
    own = SimpleNamespace(**{**vars(load("vp/DDIM").module), "SPEC": "own/scheme"})
    with pytest.raises(ValueError, match="own/scheme takes no variance"):
        walk(own, torch.zeros(3, *SHAPE), steps=2)


@pytest.mark.parametrize(("spec", "shape"), [("vp", (3, 2, 1, 3)), ("vp", (3, 4, 1, 2)), ("psld", (3, 2, 1, 2))])
def test_a_state_of_another_shape_is_refused(spec: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"z_T has shape \({', '.join(map(str, shape))}\); the anchor is for data"):
        walk(scheme_of(f"{spec}/anchored-DDIM"), torch.zeros(shape), steps=2)


@pytest.mark.parametrize("options", [{}, {"steps": 2, "times": [1.0, 0.5]}])
def test_steps_or_times_exactly_one(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of steps and times given; pass exactly one of them"):
        walk(scheme_of("vp/anchored-DDIM"), torch.zeros(3, *SHAPE), **options)
