"""Processes as they are written on paper, in numpy: N, D, beta, Sigma(0), and the kernel by scipy's matrix exponential.

Reads no symbol of the package: the oracle of tests on random words and random processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

__all__ = ["Array", "Eps", "Paper", "eps_of", "measured_exponent", "probability_flow", "solve", "spread"]

Array = np.ndarray
Eps = Callable[[float, Array], Array]
"""Time and states (k, points) -> eps (k, points)."""


@dataclass(frozen=True)
class Paper:
    """dz = beta N z dt + sqrt(beta D) dw with Sigma(0) = ``start``; ``spec`` is what the package calls it.

    ``prior`` is the stationary covariance where there is one; ``covariance`` that of z_t given x_0, needed where D
    depends on time. ``times`` are where steps begin. ``integral`` is that of beta from 0, by quadrature if None.
    """

    spec: str
    drift: np.ndarray
    noise: Callable[[float], np.ndarray]
    beta: Callable[[float], float]
    start: np.ndarray
    prior: np.ndarray | None
    times: tuple[float, float] = (0.08, 1.0)
    covariance: Callable[[float], np.ndarray] | None = None
    velocity: bool = False
    integral: Callable[[float], float] | None = None

    def clock(self, start: float, end: float) -> float:
        if self.integral is not None:
            return self.integral(end) - self.integral(start)
        return quad(self.beta, start, end, epsabs=0, epsrel=1e-12)[0]

    def transition(self, t: float) -> np.ndarray:
        """exp(N clock): the mean of z_t for every initial state."""
        return expm(self.drift * self.clock(0, t))

    def kernel(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean for x_0 = 1, and covariance, of z_t."""
        e = self.transition(t)
        if self.covariance is not None:
            return e[:, 0], self.covariance(t)
        return e[:, 0], e @ self.start @ e.T + spread(self.drift, self.noise(t), self.clock(0, t))


def spread(n: np.ndarray, q: np.ndarray, b: float) -> np.ndarray:
    """int_0^b exp(n u) q exp(n^T u) du, by van Loan's matrix exponential; halved until exp(-n b) does not grow."""
    if b * np.abs(n).sum() > 1:
        half, e = spread(n, q, b / 2), expm(n * b / 2)
        return half + e @ half @ e.T
    k = len(n)
    block = expm(b * np.block([[-n, q], [np.zeros((k, k)), n.T]]))
    return block[k:, k:].T @ block[:k, k:]


def solve(slope: Callable[[float, Array], Array], start: float, end: float, y: Array) -> Array:
    """y at ``end``, to rounding."""
    return solve_ivp(slope, (start, end), y, method="DOP853", rtol=3e-14, atol=1e-15 * np.abs(y).max()).y[:, -1]


def eps_of(seed: int, k: int) -> Eps:
    """A smooth function with no symmetry: a sum of three tanh of affine functions of z and t."""
    generator = np.random.default_rng(seed)
    heights, weights = generator.normal(size=(k, 3)) / 2, generator.normal(size=(3, k))
    rates, offsets = generator.normal(size=(2, 3, 1))
    return lambda t, z: heights @ np.tanh(weights @ z + rates * t + offsets)


def probability_flow(paper: Paper, eps: Eps, start: float, end: float, z: Array) -> Array:
    """The probability flow z' = F z - G G^T s / 2 with s = -K^{-T} eps, K K^T = Sigma, from z (k, points)."""

    def slope(t: float, flat: Array) -> Array:
        y = flat.reshape(z.shape)
        factor = np.linalg.cholesky(paper.kernel(t)[1])
        pull = paper.noise(t) @ np.linalg.solve(factor.T, eps(t, y)) / 2
        return (paper.beta(t) * (paper.drift @ y + pull)).ravel()

    return solve(slope, start, end, z.ravel()).reshape(z.shape)


def measured_exponent(error: Callable[[float], float], size: float, floor: float, halvings: int = 8) -> float:
    """The p of error(h) ~ C h^p from halved steps above ``floor``, the next power of h taken out of the last slopes."""
    errors = [error(size / 2**n) for n in range(halvings)]
    kept = [e for n, e in enumerate(errors) if min(errors[: n + 1]) > floor]
    slopes = np.log2(np.array(kept[:-1]) / np.array(kept[1:]))
    assert len(slopes) > 1, f"errors {errors} are rounding"
    return float(2 * slopes[-1] - slopes[-2])
