"""The default grids of a process: the named grids on which whole walks, ending included, have the smallest error.

``Process.grids`` states them; benchmarks/studies/default_grids.py derives them here, and writes the scores.

The walks are those of DDIM for schemes of order one (in eps, held constant over a step), and for schemes of higher
order of the two-step method on the predicted x_0 (DPM-Solver++2M). Both need the process's mean and covariance alone,
on any number of blocks. A walk of n evaluations makes n - 1 steps from t_max to t_min and ends with the predicted x_0.
On phase space the splitting SPS-2M stands beside the latter, since most schemes there are splittings: on long steps at
high noise, which cost the former nothing, they are unstable.

The data are a stated family, chosen once for all processes. Gaussian data of variance c: a walk is a linear map, and
its end has a standard deviation that should be sqrt(c), free of sampling. Mixtures of Gaussians: states from the
marginal at t_max, against the end of the probability-flow ODE by scipy's DOP853; SPS-2M does not walk these. A grid's
score is the geometric mean of the root-mean-square errors, over the kinds of data, the methods and all numbers of
evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t as time_symbol
from integrator_analysis.integrator import derive
from integrator_analysis.processes import Process

__all__ = ["EVALUATIONS", "GAUSSIAN", "MIXTURES", "SAME", "choose_grid", "grid_scores"]

EVALUATIONS = (5, 8, 10, 20, 50)
"""Numbers of network evaluations, the ending included."""

GAUSSIAN = (1e-4, 1e-3, 1e-2, 0.05, 0.25, 1.0)
"""Variances of Gaussian data: from what small details have in images in [-1, 1] to what flat areas have."""


class Mixture(NamedTuple):
    """A mixture of Gaussians on the line, each of the same deviation."""

    means: tuple[float, ...]
    deviation: float
    weights: tuple[float, ...]


MIXTURES = (
    Mixture((-1.0, 1.0), 0.1, (0.5, 0.5)),
    Mixture((-1.0, -0.2, 0.3, 1.0), 0.05, (0.4, 0.2, 0.1, 0.3)),
    Mixture((-1.0, 1.0), 0.4, (0.7, 0.3)),
    Mixture((0.0,), 0.3, (1.0,)),
)
"""Data with few values, as of pixels that are mostly black or white, and without."""

STATES, SEED = 96, 0
"""How many states of each mixture are walked, and the seed that draws them at the start."""

SAME = 1.1
"""Scores within this factor are taken for equal: real data differ from the family by more."""

Denoiser = Callable[[np.ndarray, float], np.ndarray]
"""(y, tau) -> E[x_0 | y] for y = x_0 + sqrt(tau) noise; on Gaussian data y is a row that a linear map is read from."""


class _Kernel:
    """Psi and the Cholesky factor of Sigma at a time, and half the log of the signal-to-noise ratio."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.at = cache(self._at)

    def _at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        return self.process.mean(time)[:, 0], np.linalg.cholesky(self.process.covariance(time))

    def log_snr(self, time: float) -> float:
        mean, factor = self.at(time)
        return float(np.log(np.linalg.norm(np.linalg.solve(factor, mean))))

    def log_snrs(self, times: Any) -> Any:
        """``log_snr`` at each time of a tensor, as grids ask for it."""
        return times.new_tensor([self.log_snr(time) for time in times.flatten().tolist()]).reshape(times.shape)


def _predicted_data(kernel: _Kernel, z: np.ndarray, time: float, denoise: Denoiser) -> np.ndarray:
    """E[x_0 | z] at every column of z (k, n), by what z says of x_0: y = rho^2 u . zeta."""
    mean, factor = kernel.at(time)
    u = np.linalg.solve(factor, mean)
    noise = 1 / float(u @ u)
    return denoise(noise * (u @ np.linalg.solve(factor, z)), noise)


def _walk(kernel: _Kernel, z: np.ndarray, times: Sequence[float], order: int, denoise: Denoiser) -> np.ndarray:
    """The predicted x_0 at the last of the times, to which z (k, n) is walked by the method of the given order."""
    before: tuple[np.ndarray, float] | None = None
    for start, end in pairwise(times):
        data, place = _predicted_data(kernel, z, start, denoise), kernel.log_snr(start)
        read = data
        if order > 1 and before is not None:  # the line through two predictions, at the middle of the step
            step = kernel.log_snr(end) - place
            read = data + step / (place - before[1]) / 2 * (data - before[0])
        before = data, place
        (mean, factor), (mean_end, factor_end) = kernel.at(start), kernel.at(end)
        noise = np.linalg.solve(factor, z - np.outer(mean, read))
        z = np.outer(mean_end, read) + factor_end @ noise
    return _predicted_data(kernel, z, times[-1], denoise)


def _gaussian_error(kernel: _Kernel, times: Sequence[float], order: int) -> float:
    """Root-mean-square error of the standard deviation at the end, over the variances of GAUSSIAN."""
    mean, factor = kernel.at(times[0])
    errors = []
    for variance in GAUSSIAN:
        start = np.linalg.cholesky(variance * np.outer(mean, mean) + factor @ factor.T)

        def denoise(y: np.ndarray, noise: float, variance: float = variance) -> np.ndarray:
            return variance / (variance + noise) * y

        errors.append(np.linalg.norm(_walk(kernel, start, times, order, denoise)) - variance**0.5)
    return float(np.sqrt(np.mean(np.square(errors))))


def _splitting_error(process: Process) -> Callable[[Sequence[float]], float] | None:
    """``_gaussian_error`` of SPS-2M from its derived moments, for the times of a walk; None on one block."""
    if len(process.blocks) == 1:
        return None
    moments = derive(f"{process.name}/SPS-2M").gaussian_error

    def error(times: Sequence[float]) -> float:
        return float(np.sqrt(np.mean(moments([*times, 0.0], 0.0, np.array(GAUSSIAN)).squared_distances)))

    return error


def _denoise_mixture(mixture: Mixture) -> Denoiser:
    """E[x_0 | y] of a mixture, exactly."""
    means, weights = np.array(mixture.means)[:, None], np.array(mixture.weights)[:, None]
    variance = mixture.deviation**2

    def denoise(y: np.ndarray, noise: float) -> np.ndarray:
        logits = np.log(weights) - (y - means) ** 2 / (2 * (variance + noise))
        shares = np.exp(logits - logits.max(axis=0))
        shares /= shares.sum(axis=0)
        found: np.ndarray = (shares * (means + variance / (variance + noise) * (y - means))).sum(axis=0)
        return found

    return denoise


def _solved_mixtures(kernel: _Kernel, first: float) -> list[tuple[Denoiser, np.ndarray, np.ndarray]]:
    """For each mixture: how it is denoised, states (k, n) of its marginal at ``first``, and x_0 where they flow to."""
    process, generator = kernel.process, np.random.default_rng(SEED)
    entries = [*process.drift, *process.diffusion]
    values = function(entries, (time_symbol,), process.definitions, process.parameters)
    k, (mean, factor) = len(process.blocks), kernel.at(first)

    found = []
    for mixture in MIXTURES:
        denoise = _denoise_mixture(mixture)
        data = generator.choice(mixture.means, STATES, p=mixture.weights)
        data = data + mixture.deviation * generator.standard_normal(STATES)
        start = np.outer(mean, data) + factor @ generator.standard_normal((k, STATES))

        def slope(time: float, flat: np.ndarray, denoise: Denoiser = denoise) -> np.ndarray:
            z = flat.reshape(k, -1)
            drift, diffusion = np.array(values(time), dtype=float).reshape(2, k, k)
            here, factor = kernel.at(time)
            noise = z - np.outer(here, _predicted_data(kernel, z, time, denoise))
            score = -np.linalg.solve(factor.T, np.linalg.solve(factor, noise))
            return np.asarray(drift @ z - diffusion @ score / 2).ravel()

        ends = (first, process.t_min)
        solved = solve_ivp(slope, ends, start.ravel(), "DOP853", rtol=1e-7, atol=1e-9)
        last = solved.y[:, -1].reshape(k, -1)
        found.append((denoise, start, _predicted_data(kernel, last, process.t_min, denoise)))
    return found


def grid_scores(process: Process) -> dict[int, dict[str, float]]:
    """The score of every named grid, under 1 for schemes of order one, under 2 for the others; smaller is better."""
    from torch_backend.walk.grids import GRIDS, START, time_grid

    kernel = _Kernel(process)
    known = process.mean(process.t_max)[:, 0].any()  # on rectified flow z at t_max says nothing of the data
    first = process.t_max if known else START * process.t_max
    mixtures = _solved_mixtures(kernel, first)
    splitting_error = _splitting_error(process)
    scores: dict[int, dict[str, float]] = {1: {}, 2: {}}
    for order, name in product(scores, GRIDS):
        logs = []
        for evaluations in EVALUATIONS:
            times = time_grid(name, evaluations - 1, first, process.t_min, kernel.log_snrs)
            squares = [
                np.mean((_walk(kernel, start, times, order, denoise) - end) ** 2) for denoise, start, end in mixtures
            ]
            logs += [np.log(_gaussian_error(kernel, times, order)), np.log(np.mean(squares)) / 2]
            if order > 1 and splitting_error is not None:
                logs.append(np.log(splitting_error(times)))
        scores[order][name] = float(np.exp(np.mean(logs)))
    return scores


def choose_grid(scores: Mapping[str, float]) -> str:
    """The first grid, in the order of GRIDS, whose score is within SAME of the best: the simpler one where two tie."""
    best = min(scores.values())
    return next(name for name, score in scores.items() if score <= best * SAME)
