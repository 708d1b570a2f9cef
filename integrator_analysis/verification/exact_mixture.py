"""A Gaussian mixture on any process, in numpy: the network that is exact for it, its Jacobian, and the flow's solution.

Knows mixtures and processes; knows no scheme, no generated source and no torch. What a state z says of x_0 is one
number: with Sigma = L L^T, u = L^{-1} Psi_1 and zeta = L^{-1} z it is u . zeta / |u| = |u| x_0 + n, n standard normal.
Across u, zeta is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.parametrisation.data_prediction import data_weights
from integrator_analysis.parametrisation.prediction_conversion import network_from_eps
from integrator_analysis.processes import Process

__all__ = ["ExactMixture"]

TOLERANCE = 1e-9
"""Relative and absolute, of the flow's solution: walks are off by 1e-4 and more, and three digits of that are shown."""


class _Frame(NamedTuple):
    """At one time: L^{-1} (k, k), the direction of u (k; zeros where the state says nothing of the data), alpha, sigma.

    The number that z says is taken as y = alpha x_0 + sigma n with alpha^2 + sigma^2 = 1.
    """

    inverse: np.ndarray
    along: np.ndarray
    alpha: float
    sigma: float


class _Numbers:
    """What a process is in numbers at any time, each function compiled once: kernel, frame, network, predicted x_0."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._frames: dict[float, _Frame] = {}

    @cached_property
    def kernel(self) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
        """time -> Psi_1 (k) and Sigma (k, k), beyond t_max too: a table of betas may hold more noise than the prior."""
        process, k = self.process, len(self.process.blocks)
        entries = [entry for matrix in process.kernel.in_time for entry in matrix]
        values = function(entries, (t,), process.definitions, process.parameters)

        def at(time: float) -> tuple[np.ndarray, np.ndarray]:
            mean, sigma = np.array(values(time), dtype=float).reshape(2, k, k)
            return mean[:, 0], sigma

        return at

    @cached_property
    def weights_of_data(self) -> Callable[[float], np.ndarray]:
        """time -> (2 k): the factors of the state and of the network's output whose sum is the predicted x_0.

        For processes whose networks tell x_0.
        """
        process = self.process
        entries, defined = data_weights(process)
        values = function(list(entries), (t,), process.definitions.with_(defined), process.parameters)
        return lambda time: np.array(values(time), dtype=float)

    @cached_property
    def convert(self) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
        convert = network_from_eps(self.process)

        def at(time: float) -> tuple[np.ndarray, np.ndarray]:
            try:
                with np.errstate(all="ignore"):
                    return convert(time)
            except ZeroDivisionError:
                return np.full((1, 1), np.nan), np.full((1, 1), np.nan)

        return at

    def frame(self, time: float) -> _Frame:
        """The frame at a time, kept: walks of several points and lengths meet the same times."""
        if time not in self._frames:
            psi, sigma = self.kernel(time)
            inverse = np.linalg.inv(np.linalg.cholesky(sigma))
            u = inverse @ psi
            size = float(np.linalg.norm(u))
            along, whole = (u / size if size else u), np.hypot(size, 1.0)
            self._frames[time] = _Frame(inverse, along, size / whole, 1 / whole)
        return self._frames[time]


@dataclass(frozen=True)
class ExactMixture:
    """What is known in closed form of ``problem``: predictions, the network of its process, the flow's solution."""

    problem: MixtureProblem
    numbers: _Numbers

    @classmethod
    def of(cls, problem: MixtureProblem) -> ExactMixture:
        """The mixture on its process."""
        return cls(problem, _Numbers(problem.process))

    def with_data(self, mean: float, variance: float) -> ExactMixture:
        """Data N(mean, variance) on the same process."""
        return ExactMixture(MixtureProblem(self.problem.process, (mean,), (variance,), (1.0,)), self.numbers)

    def predict(self, y: np.ndarray, alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[x_0 | y], E[n | y] and the latter's derivative, each (n), for y = alpha x_0 + sigma n.

        Component c of y is N(alpha m_c, total_c), total_c = alpha^2 v_c + sigma^2. The mean of n is computed from the
        y - alpha m_c, not from y - alpha x_0, which cancels where there is little noise.
        """
        problem = self.problem
        means, variances, weights = (np.array(x)[:, None] for x in (problem.means, problem.variances, problem.weights))
        total = alpha**2 * variances + sigma**2
        beside = y - alpha * means
        logs = np.log(weights) - np.log(total) / 2 - beside**2 / (2 * total)
        shares = np.exp(logs - logs.max(axis=0))
        shares /= shares.sum(axis=0)
        noises = sigma / total * beside
        x_0 = (shares * (means + alpha * variances / total * beside)).sum(axis=0)
        noise = (shares * noises).sum(axis=0)
        # d share_c / dy = share_c (pull_c - mean pull), where pull_c = -beside_c / total_c
        bend = (shares * beside / total * (noises - noise)).sum(axis=0)
        return x_0, noise, (shares * sigma / total).sum(axis=0) - bend

    def linearise(self, time: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Jacobian (n, k, k) of the process's network at the states z (n, k), and its output there (n, k)."""
        frame = self.numbers.frame(time)
        inverse, along = frame.inverse, frame.along
        x_0, noise, slope = self.predict(frame.sigma * (z @ (along @ inverse)), frame.alpha, frame.sigma)
        across = inverse - np.outer(along, along @ inverse)
        eps = z @ across.T + np.multiply.outer(noise, along)
        bent = across + np.multiply.outer(frame.sigma * slope, np.outer(along, along @ inverse))
        skip, scale = self.numbers.convert(time)
        if np.isfinite(skip).all() and np.isfinite(scale).all():
            return skip + scale @ bent, z @ skip.T + eps @ scale.T
        # A velocity at t = 1 of rectified flow, where z is noise: x_0 = a z + b n, and x_0 is the data's mean.
        a, b = self.numbers.weights_of_data(time)
        return np.full((len(z), 1, 1), -a / b), (x_0[:, None] - a * z) / b

    def sample(self, count: int, time: float, seed: int) -> np.ndarray:
        """``count`` draws of z at a time, (count, k)."""
        rng, problem, (psi, sigma) = np.random.default_rng(seed), self.problem, self.numbers.kernel(time)
        chosen = rng.choice(len(problem.weights), size=count, p=problem.weights)
        means, deviations = np.array(problem.means)[chosen], np.sqrt(problem.variances)[chosen]
        data = means + deviations * rng.standard_normal(count)
        return np.multiply.outer(data, psi) + rng.standard_normal((count, len(psi))) @ np.linalg.cholesky(sigma).T

    def solve(self, z: np.ndarray, start: float) -> np.ndarray:
        """The position (n) at no noise where the probability flow ends that is at z (n, k) at ``start``.

        By scipy's DOP853. On one block in s = sigma/(alpha + sigma), along z/(alpha + sigma) = (1 - s) x_0 + s n, which
        every such process shares, whatever its clock: its velocity is E[n] - E[x_0]. On several in forward time.
        """
        if z.shape[1] > 1:
            return self._solve_in_time(z, start)
        psi, covariance = self.numbers.kernel(start)
        alpha, sigma = psi[0], np.sqrt(covariance[0, 0])

        def slope(s: float, y: np.ndarray) -> np.ndarray:
            x_0, noise, _ = self.predict(y, 1 - s, s)
            return noise - x_0

        first = z[:, 0] / (alpha + sigma)
        return _ended(solve_ivp(slope, (sigma / (alpha + sigma), 0.0), first, "DOP853", rtol=TOLERANCE, atol=TOLERANCE))

    def _solve_in_time(self, z: np.ndarray, start: float) -> np.ndarray:
        problem, process, k = self.problem, self.problem.process, z.shape[1]
        matrices = [*process.kernel.in_time, process.drift, process.diffusion]
        entries = [entry for matrix in matrices for entry in matrix]
        values = function(entries, (t,), process.definitions, process.parameters)
        means, variances, weights = map(np.array, (problem.means, problem.variances, problem.weights))

        def slope(time: float, flat: np.ndarray) -> np.ndarray:
            mean, sigma, drift, diffusion = np.array(values(time), dtype=float).reshape(4, k, k)
            state, psi = flat.reshape(-1, k), mean[:, 0]
            precision = np.linalg.inv(sigma + np.multiply.outer(variances, np.outer(psi, psi)))
            beside = state[:, None] - np.multiply.outer(means, psi)
            pulls = -(precision @ beside[..., None])[..., 0]
            logs = np.log(weights) + np.linalg.slogdet(precision)[1] / 2 + (pulls * beside).sum(axis=-1) / 2
            shares = np.exp(logs - logs.max(axis=1, keepdims=True))
            score = (shares[..., None] * pulls).sum(axis=1) / shares.sum(axis=1, keepdims=True)
            return np.asarray(state @ drift.T - score @ diffusion.T / 2).ravel()

        solved = solve_ivp(slope, (start, 0.0), z.ravel(), "DOP853", rtol=TOLERANCE, atol=TOLERANCE)
        return _ended(solved).reshape(-1, k)[:, 0]


def _ended(solved: Any) -> np.ndarray:
    """The state at the end of what solve_ivp returns. Raises ArithmeticError where it did not arrive."""
    if not solved.success:
        raise ArithmeticError(f"no reference solution: {solved.message}")
    return np.asarray(solved.y[:, -1])
