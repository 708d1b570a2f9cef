"""Random processes, words, strengths and Gaussian data: one step of the generated torch source, recomputed by hand.

The oracle is numpy on the formulas of the papers: the stationary form of the kernel, the linear score of Gaussian
data, the sub-flows A, B and O, and the conjugate step with scipy's matrix exponential. It reads no program, no table
and no symbol of the package, so a mistake in the lowering cannot be in both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

import integrator_analysis as ia
from integrator_analysis.analysis.gaussian import affine_step
from torch_backend.measuring.one_step import take_step

UNSHRUNK = (Phase.explicit, Phase.generate)
"""An example derives a process, half a second; shrinking one would take minutes."""

Affine = np.ndarray  # (rows, k + 1 + noises): z -> rows [z, 1, xi]


@dataclass(frozen=True)
class Data:
    """N(mean, variance) seen through a process with constant beta = 8 (psld) or linear beta (vp)."""

    drift: np.ndarray  # N: F = beta N
    noise: np.ndarray  # D: G G^T = beta D
    start: np.ndarray
    prior: np.ndarray
    beta: Callable[[float], float]
    clock: Callable[[float], float]
    mean: float
    variance: float

    def kernel(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        e = expm(self.drift * self.clock(t))
        return e[:, 0], self.prior + e @ (self.start - self.prior) @ e.T

    def score(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and offset of the score -S^{-1} (z - psi mean)."""
        psi, sigma = self.kernel(t)
        pull = np.linalg.inv(sigma + self.variance * np.outer(psi, psi))
        return -pull, pull @ psi * self.mean

    def eps(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and offset of eps = -L^T score."""
        factor = np.linalg.cholesky(self.kernel(t)[1])
        matrix, offset = self.score(t)
        return -factor.T @ matrix, -factor.T @ offset


def psld(big_gamma: float, nu: float, mean: float, variance: float) -> Data:
    mass = 4 / (big_gamma - nu) ** 2
    return Data(
        drift=np.array([[-big_gamma, 1 / mass], [-1, -nu]]) / 2,
        noise=np.diag([big_gamma, mass * nu]),
        start=np.diag([0, 0.04 * mass]),
        prior=np.diag([1, mass]),
        beta=lambda _: 8.0,
        clock=lambda t: 8.0 * t,
        mean=mean,
        variance=variance,
    )


def vp(low: float, high: float, mean: float, variance: float) -> Data:
    one = np.eye(1)
    return Data(
        drift=-one / 2,
        noise=one,
        start=0 * one,
        prior=one,
        beta=lambda t: low + (high - low) * t,
        clock=lambda t: low * t + (high - low) * t**2 / 2,
        mean=mean,
        variance=variance,
    )


def with_score(rows: Affine, data: Data, t: float) -> Affine:
    """The score as an affine function of what the rows are affine in."""
    matrix, offset = data.score(t)
    out = matrix @ rows
    out[:, len(rows)] += offset
    return out


def split(data: Data, word: str, policy: str, t: float, s: float) -> Affine:
    """The word's sub-flows, one after the other, on the rows of the identity."""
    h, double, beta = t - s, 1 + ("O" in word), data.beta(t)
    rows = np.hstack([np.eye(2), np.zeros((2, 1 + 2 * word.count("O")))])
    rates = np.diag(data.noise) / np.diag(data.prior)  # Gamma, nu
    mass = data.prior[1, 1]
    held: tuple[float, Affine] | None = None
    for n, letter in enumerate(word):
        size, earlier = h / word.count(letter), word[:n].count(letter)
        if letter == "O":
            decay = np.exp(-size * beta * rates / 2)
            rows = decay[:, None] * rows
            for i in range(2):
                rows[i, 3 + 2 * earlier + i] += np.sqrt(data.prior[i, i] * -np.expm1(-size * beta * rates[i]))
            continue
        time = t
        if policy == "reduced" and (earlier == 1 or (held is not None and held[0] == s)):
            time = s
        if policy == "naive" or held is None or held[0] != time:
            held = (time, with_score(rows, data, time))
        score, i = held[1], "AB".index(letter)
        coupling = rows[1] / -mass if letter == "A" else rows[0]
        new = rows.copy()
        slope = double * rates[i] * rows[i] + coupling + double * data.noise[i, i] * score[i]
        new[i] = rows[i] + size * beta / 2 * slope
        rows = new
    return rows


def one_step(data: Data, scheme: str, t: float, s: float) -> Affine:
    """Euler on the probability flow, or Euler-Maruyama on the reverse SDE."""
    k, h = len(data.drift), t - s
    noises = k if scheme == "EM" else 0
    rows = np.hstack([np.eye(k), np.zeros((k, 1 + noises))])
    factor = 1.0 if noises else 0.5
    out = rows + h * data.beta(t) * (-data.drift @ rows + factor * data.noise @ with_score(rows, data, t))
    for i in range(noises):
        out[i, k + 1 + i] += np.sqrt(h * data.beta(t) * data.noise[i, i])
    return out


def conjugate(data: Data, b: np.ndarray, t: float, s: float) -> Affine:
    """E(s, t) (I - h B) z + psi eps, psi by 48 Gauss-Legendre nodes in sqrt(u)."""
    k = len(b)
    rows = np.hstack([np.eye(k), np.zeros((k, 1))])

    def propagator(u: float) -> np.ndarray:
        return expm((u - s) * b - (data.clock(u) - data.clock(s)) * data.drift)

    nodes, weights = np.polynomial.legendre.leggauss(48)
    low, high = np.sqrt(s), np.sqrt(t)
    psi = np.zeros((k, k))
    for node, weight in zip(nodes, weights, strict=True):
        root = (low + high) / 2 + (high - low) / 2 * node
        factor = np.linalg.cholesky(data.kernel(root**2)[1])
        eta = data.beta(root**2) * data.noise @ np.linalg.inv(factor.T) / 2
        psi -= (high - low) / 2 * weight * 2 * root * propagator(root**2) @ eta
    eps = -np.linalg.cholesky(data.kernel(t)[1]).T @ with_score(rows, data, t)
    return propagator(t) @ (np.eye(k) - (t - s) * b) @ rows + psi @ eps


def agree(i: ia.Integrator, data: Data, expected: Affine, t: float, s: float, seed: int) -> None:
    """The generated step on random states and noises, and the analysis's affine map, against the map by hand.

    The network is numpy's eps, so that no score of the package takes part.
    """
    k = len(data.drift)
    module = i.to_torch(dtype=torch.float64).module
    generator = np.random.default_rng(seed)
    z, noise = generator.normal(size=(5, k)), generator.normal(size=(5, expected.shape[1] - k - 1))
    assert noise.shape[1] == module.NOISES

    def network(y: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        matrix, offset = data.eps(float(time[0]))
        return torch.from_numpy(y.numpy() @ matrix.T + offset)

    out = take_step(module, network, torch.from_numpy(z), t, s, torch.from_numpy(noise.T.copy())[..., None])
    reference = np.hstack([z, np.ones((5, 1)), noise]) @ expected.T
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(out.numpy(), reference, rtol=0, atol=1e-10 * scale)
    reading = affine_step(i.program, i.table, t, s, data.eps)
    columns = np.hstack([reading.matrix, reading.offset[:, None], reading.noise])
    np.testing.assert_allclose(columns, expected, rtol=0, atol=1e-10 * scale)


TIMES = st.tuples(st.floats(0.08, 1.0), st.floats(0.1, 0.99)).map(lambda p: (p[0], p[0] * p[1]))
LAW = st.tuples(st.floats(-2, 2), st.floats(0.01, 4))
DAMPING = st.tuples(st.floats(0.0, 3.0), st.floats(0.2, 6.0)).map(lambda p: (round(p[0], 4), round(p[1], 4)))


def words(draw: st.DrawFn) -> str:
    """A letter sequence with A and B once or twice each, at most two O, and no letter beside itself."""
    letters = draw(
        st.permutations("A" * draw(st.integers(1, 2)) + "B" * draw(st.integers(1, 2)) + "O" * draw(st.integers(0, 2)))
    )
    word = "".join(letters)
    assume(all(a != b for a, b in itertools.pairwise(word)))
    return word


@settings(max_examples=8, phases=UNSHRUNK)  # test_words.py draws words of these kinds and more, against another oracle
@given(DAMPING, st.composite(words)(), st.sampled_from(["naive", "reduced"]), LAW, TIMES, st.integers(0, 99))
def test_splitting_words_on_random_critically_damped_processes(
    damping: tuple[float, float],
    word: str,
    policy: str,
    law: tuple[float, float],
    times: tuple[float, float],
    seed: int,
) -> None:
    assume(abs(damping[0] - damping[1]) > 0.3)
    i = ia.derive(f"psld/{word}({policy})", Gamma=damping[0], nu=damping[1])
    data = psld(*damping, *law)
    agree(i, data, split(data, word, policy, *times), *times, seed)


@settings(max_examples=8, phases=UNSHRUNK)
@given(DAMPING, st.sampled_from(["I", "ones"]), st.floats(-3, 3), LAW, TIMES, st.integers(0, 99))
def test_conjugations_on_random_critically_damped_processes(
    damping: tuple[float, float],
    family: str,
    strength: float,
    law: tuple[float, float],
    times: tuple[float, float],
    seed: int,
) -> None:
    assume(abs(damping[0] - damping[1]) > 0.3 and damping[0] > 0.005)  # eta is not smooth at 0 for Gamma = 0
    b = strength * {"I": np.eye(2), "ones": np.ones((2, 2))}[family]
    i = ia.derive(f"psld/conjugate(B=lambda*{family})", Gamma=damping[0], nu=damping[1], lambda_=strength)
    data = psld(*damping, *law)
    agree(i, data, conjugate(data, b, *times), *times, seed)


@settings(max_examples=12, phases=UNSHRUNK)
@given(
    st.tuples(st.floats(0.05, 2), st.floats(0, 20)).map(lambda p: (p[0], p[0] + p[1])),
    st.sampled_from(["Euler", "EM", "DDIM", "lambda-DDIM-I", "lambda-DDIM-II"]),
    st.floats(-3, 3),
    LAW,
    TIMES,
    st.integers(0, 99),
)
def test_schemes_on_random_variance_preserving_processes(
    schedule: tuple[float, float],
    scheme: str,
    strength: float,
    law: tuple[float, float],
    times: tuple[float, float],
    seed: int,
) -> None:
    tuned = {"lambda_": strength} if scheme.startswith("lambda") else {}
    i = ia.derive(f"vp/{scheme}", beta_min=schedule[0], beta_max=schedule[1], **tuned)
    data = vp(*schedule, *law)
    b = tuned.get("lambda_", 0.0) * np.eye(1)
    expected = one_step(data, scheme, *times) if scheme in ("Euler", "EM") else conjugate(data, b, *times)
    agree(i, data, expected, *times, seed)


@pytest.mark.parametrize("scheme", ["Euler", "EM"])
def test_all_blocks_of_a_black_box_step_read_the_old_state(scheme: str) -> None:
    """Both rows at once, not one after the other as in a splitting."""
    data = psld(0.5, 3.0, 0.4, 0.7)
    agree(ia.derive(f"psld/{scheme}", Gamma=0.5, nu=3.0), data, one_step(data, scheme, 0.6, 0.45), 0.6, 0.45, 0)


def test_moments_after_many_steps_are_those_of_the_composed_maps() -> None:
    """gaussian_error against the same composition, with the marginals of the kernel on paper."""
    data, grid = psld(0.02, 4.02, -0.6, 0.3), np.linspace(1.0, 0.05, 12)
    i = ia.derive("psld(Gamma=0.02, nu=4.02)/OBAB(reduced)")
    psi, sigma = data.kernel(grid[0])
    mean, covariance = psi * data.mean, sigma + data.variance * np.outer(psi, psi)
    for t, s in itertools.pairwise(grid):
        rows = split(data, "OBAB", "reduced", t, s)
        mean = rows[:, :2] @ mean + rows[:, 2]
        covariance = rows[:, :2] @ covariance @ rows[:, :2].T + rows[:, 3:] @ rows[:, 3:].T
    psi, sigma = data.kernel(grid[-1])
    error = i.gaussian_error(grid, data.mean, data.variance)
    np.testing.assert_allclose(error.mean[0], mean - psi * data.mean, rtol=1e-9, atol=1e-12)
    exact = sigma + data.variance * np.outer(psi, psi)
    np.testing.assert_allclose(error.covariance[0], covariance - exact, rtol=1e-9, atol=1e-12)


def test_a_full_covariance_is_treated_in_its_eigenbasis() -> None:
    """The errors for a rotated diagonal covariance are those of the diagonal, with the mean rotated along."""
    i, grid, angle = ia.derive("vp/EM"), [0.8, 0.5, 0.3], 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    diagonal, mean = np.array([0.3, 1.7]), np.array([0.5, -1.1])
    plain = i.gaussian_error(grid, mean, diagonal)
    turned = i.gaussian_error(grid, rotation @ mean, rotation @ np.diag(diagonal) @ rotation.T)
    np.testing.assert_allclose(turned.variances, diagonal, rtol=1e-12)
    np.testing.assert_allclose(turned.covariance, plain.covariance, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(np.abs(turned.mean), np.abs(plain.mean), rtol=1e-10, atol=1e-13)
