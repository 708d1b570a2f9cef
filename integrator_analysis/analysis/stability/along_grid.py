"""Stability on Gaussian data: along a grid of times, the number of steps that is enough, the longest stable step.

Knows one step (one_step.py) and the exact marginals of Gaussian data; samples nothing. Nothing here is frozen but in
``largest_step``: along a grid the score is the true one of the data at every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from integrator_analysis.analysis.coefficients import check_times
from integrator_analysis.analysis.gaussian import Eps, affine_step
from integrator_analysis.analysis.stability.growth import spectral_radius
from integrator_analysis.analysis.stability.limits import first_above
from integrator_analysis.analysis.stability.one_step import OneStep
from integrator_analysis.inputs import InputError

__all__ = ["AlongGrid", "smallest_stable"]

STEPS = np.geomspace(1e-4, 0.999, 60)
"""Of t: where the largest stable step is bracketed, 17% apart."""


@dataclass(frozen=True)
class AlongGrid(OneStep):
    """How a scheme carries Gaussian data of mean zero from the first time of a grid to the last.

    Every method takes ``variances``: the eigenvalues of the data's covariance, finite and not negative.
    """

    def along(self, times: Sequence[float], variances: Any) -> np.ndarray:
        """Return how much too wide samples become along a grid: float64 (len(times), len(variances)).

        Entry (j, i) is the largest ratio, over directions of (position, momentum), of the numerical standard deviation
        at times[j] to the exact one, for data of variance i and the exact marginal at times[0]. For a deterministic
        one-step scheme it is the norm of the product of the first j steps in whitened coordinates, ||S_j^{-1/2} R_j ...
        R_1 S_0^{1/2}||. The exact flow, whatever it expands or contracts, has 1 at all times.
        """
        grid, values = check_times(times, self.program.process.t_max), _check_variances(variances)
        k, kept = len(self.program.blocks), self.program.history * len(self.program.blocks)
        eps = self._gaussian_eps(values)
        exact = self.frozen.marginals(values, grid[0])
        covariance = np.pad(exact, ((0, 0), (0, kept), (0, kept)))  # no outputs are kept before the first step
        mean = np.zeros(covariance.shape[:-1])
        if self.program.primed:
            # The first step reads an evaluation that a step of no length leaves.
            mean, covariance = affine_step(self.program, self._table, grid[0], grid[0], eps).moments(mean, covariance)
        ratios = [_widest(covariance[:, :k, :k], exact)]
        with np.errstate(over="ignore", invalid="ignore"):  # an unstable scheme overflows; _widest says inf
            for i, (start, end) in enumerate(pairwise(grid)):
                step = affine_step(self.program, self._table, start, end, eps, grid[:i][::-1].tolist())
                mean, covariance = step.moments(mean, covariance)
                ratios.append(_widest(covariance[:, :k, :k], self.frozen.marginals(values, end)))
        return np.array(ratios)

    def _gaussian_eps(self, variances: np.ndarray) -> Eps:
        """Return the network that is exact for data of mean zero with these variances."""
        zeros = np.zeros(len(self.program.blocks))

        def eps(time: float) -> tuple[np.ndarray, np.ndarray]:
            return self.frozen.network_of_score(-np.linalg.inv(self.frozen.marginals(variances, time)), time), zeros

        return eps

    def stable_steps(
        self, variances: Any, grid: Callable[[int], Sequence[float]], factor: float = 2.0, most: int = 1000
    ) -> int | None:
        """Return the number of steps from which on ``along`` stays below ``factor`` at every time and variance.

        ``grid(n)`` gives the n + 1 times of n steps. The number returned is stable and the next smaller one is not.
        All larger numbers that are tried are stable too: up to four times as many, and to ``most``. None if ``most``
        is not enough.
        """
        return smallest_stable(lambda n: bool((self.along(grid(n), variances) <= factor).all()), most)

    def stable_evaluations(
        self, variances: Any, grid: Callable[[int], Sequence[float]], factor: float = 2.0, most: int = 1000
    ) -> list[int | None]:
        """Return the smallest stable number of network evaluations for every variance by itself.

        It is ``stable_steps`` times the evaluations per step. Coefficients of a grid are evaluated once for all
        variances.
        """
        values = _check_variances(variances)

        @cache
        def widest(n: int) -> np.ndarray:
            return self.along(grid(n), values).max(axis=0)

        def smallest(i: int) -> int | None:
            return smallest_stable(lambda n: bool(widest(n)[i] <= factor), most)

        found = [smallest(i) for i in range(len(values))]
        return [None if n is None else n * self.program.nfe_per_step for n in found]

    def largest_step(self, variances: Any, t: float | None = None, factor: float = 2.0) -> float:
        """Return the largest h such that every shorter step from t is stable for data with these variances.

        The score is frozen at that of the data, -S^{-1} with S the covariance of z_t. A step is stable where its
        spectral radius is at most 1 if the exact flow's is, and at most ``factor`` times the exact flow's where that
        expands. The exact flow is the probability-flow ODE's, for a stochastic scheme the reverse SDE's mean (kappa
        = 1). The result is inf if no step down to t = 0 is unstable, and 0 for a scheme that excites an undamped
        oscillator, however short its steps.

        >>> import integrator_analysis as ia
        >>> adams = ia.derive("vp(beta_min=20, beta_max=20)/conjugate(base=AB4, predict=velocity)").stability
        >>> rate = 10 / (1 - np.exp(-0.2)) - 10  # beta/2 (1/S - 1) for point data at t = 0.01: the real limit is 0.3
        >>> bool(np.isclose(adams.largest_step([0.0], t=0.01), 0.3 / rate, rtol=1e-8))
        True
        """
        start = self.program.process.t_max if t is None else float(t)
        self._check_start(start / 2, start)
        score = -np.linalg.inv(self.frozen.marginals(_check_variances(variances), start))
        noise = 1.0 if self.program.stochastic else 0.0

        def excess(h: float) -> float:
            step = self._take_score_step(start, h, score).matrix
            exact = spectral_radius(self.frozen.exact(score, start, start - h, noise))
            allowed = np.where(exact <= 1 + 1e-9, 1 + 1e-9, factor * exact)
            return float((spectral_radius(step) - allowed).max())

        return first_above(excess, STEPS * start)


def smallest_stable(stable: Callable[[int], bool], most: int) -> int | None:
    """Return the n from which on all numbers tried are stable, with n - 1 not stable; None if it is beyond ``most``.

    Tried are all n to 8, then numbers a fifth apart, up to four times the last unstable one. Then the gap between the
    last unstable and the first stable number is bisected. A first stable n would not do: a single step can be right by
    accident where three are not.
    """
    # The last unstable number, the first one after it that is stable (0: none yet), the number to be tried.
    last, after, n = 0, 1, 1
    while True:
        if not stable(n):
            last, after = n, 0
        elif not after:
            after = n
        if n == most or n >= max(8, 4 * last):
            break
        n = min(max(n + 1, 6 * n // 5), most)
    if not after:
        return None
    # Now ``last`` is unstable, ``after`` is stable, and every number tried beyond it is stable.
    while after - last > 1:
        middle = (last + after) // 2
        last, after = (last, middle) if stable(middle) else (middle, after)
    return after


def _check_variances(variances: Any) -> np.ndarray:
    """Return the variances as a vector; raise InputError unless they are finite and not negative."""
    values = np.atleast_1d(np.asarray(variances, dtype=float))
    if values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(values < 0):
        raise InputError("a data spectrum is a list of variances, finite and not negative")
    return values


def _widest(covariance: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the root of the largest eigenvalue of exact^{-1} covariance, (d); infinite where that is not finite."""
    finite = np.isfinite(covariance).all(axis=(-1, -2))
    # Whitened by the Cholesky factor of the exact covariance, so that the eigenvalue problem is symmetric.
    whiten = np.linalg.inv(np.linalg.cholesky(exact))
    inner = whiten @ np.where(finite[:, None, None], covariance.real, 0) @ whiten.swapaxes(-1, -2)
    return np.where(finite, np.sqrt(np.maximum(np.linalg.eigvalsh(inner)[:, -1], 0)), np.inf)
