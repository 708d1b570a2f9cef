"""Problems with a known answer: Gaussian-mixture data in one dimension per block, diffused by a process.

Knows the kernel (through mpmath and numpy) and closed forms of Gaussian mixtures. Knows no scheme and no torch, so
that it can be the oracle of generated code. The mixture is neither symmetric nor Gaussian, and its score depends on
time, so that no derivative in a leading error term vanishes by accident. In mpmath it has the fields whose derivatives
enter derived constants, in numpy it has reference solutions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise

import mpmath
import numpy as np

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process

__all__ = ["ABSOLUTE", "MixtureProblem", "WaveObservable", "normal_nodes"]

RELATIVE, ABSOLUTE = 2.3e-14, 1e-16
"""Tolerances of reference solutions: scipy accepts no smaller relative one."""

POWERS, MOST_NODES = (0, 1, 2, 3, 4, 5), 4000
"""Powers of the score whose means decide how many nodes there have to be, and the most that are tried."""

NEGLIGIBLE = 1e-3
"""Of the tolerance of a quadrature: what nodes of little weight may amount to."""


@dataclass(frozen=True)
class WaveObservable:
    """f(z) = cos(wave . z + phase): smooth, bounded, with a closed-form mean under a Gaussian."""

    wave: tuple[float, ...]
    phase: float

    def __call__(self, z: Sequence[mpmath.mpf]) -> mpmath.mpf:
        return mpmath.cos(sum(w * v for w, v in zip(self.wave, z, strict=True)) + self.phase)

    def derivative(self, z: Sequence[mpmath.mpf], index: Sequence[int]) -> mpmath.mpf:
        """Return the derivative at z, ``index`` times by each of its numbers: every one turns the wave by pi/2."""
        angle = sum(w * v for w, v in zip(self.wave, z, strict=True)) + self.phase + sum(index) * mpmath.pi / 2
        return mpmath.fprod(mpmath.mpf(w) ** n for w, n in zip(self.wave, index, strict=True)) * mpmath.cos(angle)

    def numpy(self, z: np.ndarray) -> np.ndarray:
        """Return the observable of the states in an array (n, k)."""
        return np.cos(z @ np.array(self.wave) + self.phase)


_Component = tuple[mpmath.mpf, list[mpmath.mpf], list[list[mpmath.mpf]]]
"""Of a mixture at one time: the log density's constant but for the power of 2 pi, the mean and the precision matrix."""


@dataclass(frozen=True)
class MixtureProblem:
    """Data sum_i weights[i] N(means[i], variances[i]) in one dimension, seen through ``process``."""

    process: Process
    means: tuple[float, ...] = (-0.9, 0.6)
    variances: tuple[float, ...] = (0.09, 0.25)
    weights: tuple[float, ...] = (0.35, 0.65)

    @cached_property
    def _kernel(self) -> Callable[[mpmath.mpf], list[mpmath.mpf]]:
        process = self.process
        k = len(process.blocks)
        entries = [process.kernel.transition[i, 0] for i in range(k)] + list(process.kernel.covariance)
        return function(entries, (t,), process.definitions, process.parameters, "mpmath")

    def score(self, z: Sequence[mpmath.mpf], time: mpmath.mpf) -> list[mpmath.mpf]:
        """Return the score of the diffused mixture at z (k numbers), at mpmath's working precision."""
        # score = sum_c share_c * score_c, with shares in proportion to the components' densities at z.
        logs, pulls = [], []
        k = len(z)
        for height, mean, precision in self._components(time, mpmath.mp.prec):
            residual = [z[i] - mean[i] for i in range(k)]
            pull = [-sum(precision[i][j] * residual[j] for j in range(k)) for i in range(k)]
            logs.append(height + sum(residual[i] * pull[i] for i in range(k)) / 2)
            pulls.append(pull)
        # The largest is taken out of the exponentials; z may be complex, where sizes are those of the real parts.
        top = max(logs, key=lambda v: mpmath.re(v))
        shares = [mpmath.exp(v - top) for v in logs]
        return [sum(w * p[i] for w, p in zip(shares, pulls, strict=True)) / sum(shares) for i in range(k)]

    def _components(self, time: mpmath.mpf, precision: int) -> list[_Component]:
        """Return the components of the law at ``time``, kept: numerical derivatives ask for the same times again."""
        if (time, precision) not in self._known:
            psi, sigma = self._split(time, precision)
            k = len(psi)
            found = []
            for mean, variance, weight in zip(self.means, self.variances, self.weights, strict=True):
                covariance = mpmath.matrix(k, k)
                for i, j in itertools.product(range(k), range(k)):
                    covariance[i, j] = sigma[i * k + j] + mpmath.mpf(variance) * psi[i] * psi[j]
                height = mpmath.log(mpmath.mpf(weight)) - mpmath.log(mpmath.det(covariance)) / 2
                found.append((height, [p * mpmath.mpf(mean) for p in psi], mpmath.inverse(covariance).tolist()))
            self._known[time, precision] = found
        return self._known[time, precision]

    @cached_property
    def _known(self) -> dict[tuple[mpmath.mpf, int], list[_Component]]:
        return {}

    def eps(self, z: Sequence[mpmath.mpf], time: mpmath.mpf) -> list[mpmath.mpf]:
        """Return eps = -L^T s, with the triangular Cholesky factor L of Sigma(t)."""
        _, sigma = self._split(time, mpmath.mp.prec)
        score = self.score(z, time)
        if len(score) == 1:
            return [-mpmath.sqrt(sigma[0]) * score[0]]
        l_xx = mpmath.sqrt(sigma[0])
        l_mx = sigma[2] / l_xx
        l_mm = mpmath.sqrt(sigma[3] - l_mx**2)
        return [-(l_xx * score[0] + l_mx * score[1]), -l_mm * score[1]]

    def field(self, unknown: str) -> Callable[[Sequence[mpmath.mpf], mpmath.mpf], list[mpmath.mpf]]:
        """Return what a network of this parametrisation returns: C_out^{-1} (s - C_skip z), or z' for velocity."""
        if unknown not in self._fields:
            self._fields[unknown] = self._make_field(unknown)
        return self._fields[unknown]

    @cached_property
    def _fields(self) -> dict[str, Callable[[Sequence[mpmath.mpf], mpmath.mpf], list[mpmath.mpf]]]:
        return {}

    def _make_field(self, unknown: str) -> Callable[[Sequence[mpmath.mpf], mpmath.mpf], list[mpmath.mpf]]:
        if unknown in ("score", "eps"):
            return partial(self.score if unknown == "score" else self.eps)  # an object that derivatives are kept for
        process, k = self.process, len(self.process.blocks)
        table, parameters = process.definitions, process.parameters
        if unknown == "velocity":
            entries = [*process.drift, *(process.diffusion / 2)]
        else:
            chosen = parametrisation(unknown, process)
            table, parameters = table.with_(chosen.definitions), {**parameters, **chosen.parameters}
            inverse = chosen.c_out_inverse
            entries = [*(-inverse * chosen.c_skip), *(-inverse)]
        values = function(entries, (t,), table, parameters, "mpmath")

        @cache
        def matrices(time: mpmath.mpf, precision: int) -> list[mpmath.mpf]:
            return values(time)

        def field(z: Sequence[mpmath.mpf], time: mpmath.mpf) -> list[mpmath.mpf]:
            found, score = matrices(time, mpmath.mp.prec), self.score(z, time)
            return [
                sum(found[i * k + j] * z[j] - found[k * k + i * k + j] * score[j] for j in range(k)) for i in range(k)
            ]

        return field

    @cached_property
    def _split(self) -> Callable[[mpmath.mpf, int], tuple[list[mpmath.mpf], list[mpmath.mpf]]]:
        """Return (time, precision) -> Psi_1(t) and Sigma(t), row by row, kept: derivatives by z ask for one time."""
        k = len(self.process.blocks)

        @cache
        def split(time: mpmath.mpf, precision: int) -> tuple[list[mpmath.mpf], list[mpmath.mpf]]:
            values = self._kernel(time)  # at mpmath's working precision, which ``precision`` is
            return values[:k], values[k:]

        return split

    def marginals(self, time: float) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Return (weight, mean (k), covariance (k, k)) of each component of the law of z_time."""
        psi, sigma = self.process.mean(time)[:, 0], self.process.covariance(time)
        return [
            (w, psi * m, sigma + v * np.outer(psi, psi))
            for w, m, v in zip(self.weights, self.means, self.variances, strict=True)
        ]

    def score_numpy(self, z: np.ndarray, time: float) -> np.ndarray:
        """Return the score at z, float64 (n, k)."""
        shares, pulls = self._pulls(z, time)
        return np.einsum("cn,cnk->nk", shares, pulls)

    def _pulls(self, z: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return of each component its share of the density at z (c, n) and its own score there (c, n, k)."""
        logs, pulls = [], []
        for weight, mean, covariance in self.marginals(time):
            residual = z - mean
            pull = -np.linalg.solve(covariance, residual.T).T
            logs.append(np.log(weight) - np.linalg.slogdet(covariance)[1] / 2 + np.sum(residual * pull, axis=1) / 2)
            pulls.append(pull)
        top = np.max(logs, axis=0)
        shares = np.exp(np.array(logs) - top)  # relative to the largest, so that not all of them underflow far out
        return shares / shares.sum(axis=0), np.array(pulls)

    @cached_property
    def _drift_and_diffusion(self) -> Callable[[float], list[float]]:
        """Return drift and diffusion as a function of time, entry by entry, in float64."""
        process = self.process
        return function([*process.drift, *process.diffusion], (t,), process.definitions, process.parameters)

    def solve(self, z: np.ndarray, start: float, ends: Sequence[float]) -> np.ndarray:
        """Solve the probability-flow ODE from z (n, k) at ``start`` to each of ``ends``, decreasing: (len(ends), n, k).

        By scipy's DOP853 at its smallest rtol, begun anew at every end: its dense output would have a smaller order.
        """
        from scipy.integrate import solve_ivp

        values, shape, k = self._drift_and_diffusion, z.shape, len(self.process.blocks)

        def slope(time: float, flat: np.ndarray) -> np.ndarray:
            state = flat.reshape(shape)
            drift, diffusion = np.array(values(time), dtype=float).reshape(2, k, k)
            return (state @ drift.T - self.score_numpy(state, time) @ diffusion.T / 2).ravel()

        found, state = [], z.ravel()
        for begin, end in pairwise([start, *ends]):
            out = solve_ivp(slope, (begin, end), state, method="DOP853", rtol=RELATIVE, atol=ABSOLUTE)
            if not out.success:
                raise ArithmeticError(f"no reference solution from t = {begin:g} to {end:g}: {out.message}")
            state = out.y[:, -1]
            found.append(state.reshape(shape))
        return np.array(found)

    def _score_and_jacobian(self, z: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the score at z (n, k) and its derivative by z (n, k, k): [.., i, j] is that of component i by z_j."""
        shares, pulls = self._pulls(z, time)
        precisions = np.array([np.linalg.inv(covariance) for _, _, covariance in self.marginals(time)])
        score = np.einsum("cn,cnk->nk", shares, pulls)
        # The derivative of a mixture's score: the mean of the components' second derivatives over densities, less the
        # square of the score.
        bends = np.einsum("cni,cnj->cnij", pulls, pulls) - precisions[:, None]
        return score, np.einsum("cn,cnij->nij", shares, bends) - np.einsum("ni,nj->nij", score, score)

    def solve_with_tangent(self, z: np.ndarray, start: float, ends: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return ``solve`` and the derivative of each solution by z: (len(ends), n, k) and (len(ends), n, k, k).

        The derivative solves the variational equation Phi' = J Phi along the trajectory, Phi = 1 at ``start``.
        """
        from scipy.integrate import solve_ivp

        values, (n, k) = self._drift_and_diffusion, z.shape

        def slope(time: float, flat: np.ndarray) -> np.ndarray:
            state, tangent = flat[: n * k].reshape(n, k), flat[n * k :].reshape(n, k, k)
            drift, diffusion = np.array(values(time), dtype=float).reshape(2, k, k)
            score, bend = self._score_and_jacobian(state, time)
            jacobian = drift - diffusion @ bend / 2
            return np.concatenate([(state @ drift.T - score @ diffusion.T / 2).ravel(), (jacobian @ tangent).ravel()])

        initial = np.concatenate([z.ravel(), np.tile(np.eye(k), (n, 1, 1)).ravel()])
        out = solve_ivp(slope, (start, ends[-1]), initial, method="DOP853", t_eval=ends, rtol=1e-11, atol=1e-13)
        if not out.success:
            raise ArithmeticError(f"no reference solution from t = {start:g} to {ends[-1]:g}: {out.message}")
        rows = out.y.T
        return rows[:, : n * k].reshape(-1, n, k), rows[:, n * k :].reshape(-1, n, k, k)

    def sample(self, n: int, time: float, seed: int) -> np.ndarray:
        """Draw n samples of z_time, float64 (n, k)."""
        rng = np.random.default_rng(seed)
        components = self.marginals(time)
        chosen = rng.choice(len(components), size=n, p=self.weights)
        return np.array([rng.multivariate_normal(components[c][1], components[c][2]) for c in chosen])

    def nodes(self, time: float, points: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes (n, k) and weights (n) of the law of z_time, for the score and smooth functions as integrands.

        z = psi x + L V g with Sigma = L L^T, V orthonormal and orthogonal to L^{-1} psi, g standard normal, and x the
        data with independent noise. The score is linear in z but for a function of x, which can be steep. So x gets an
        equidistant rule, refined until it is within ``tolerance``, and g gets ``points`` Gauss-Hermite nodes a
        dimension. Nodes that weigh less than a thousandth of ``tolerance`` together are left out.
        """
        # In coordinates where Sigma is 1, the data lie on one ray; across it z is independent noise.
        factor = np.linalg.cholesky(self.process.covariance(time))
        psi = self.process.mean(time)[:, :1]
        ray = np.linalg.solve(factor, psi)
        x, weight = self._data_nodes(float(1 / (ray**2).sum()), tolerance)
        rest = np.linalg.svd(ray)[0][:, 1:]
        grid, shares = normal_nodes(len(psi) - 1, points)
        nodes = x[:, None, None] * psi[:, 0] + grid @ (factor @ rest).T
        weights = np.outer(weight, shares).ravel()
        heavy = weights * len(weights) >= tolerance * NEGLIGIBLE
        return nodes.reshape(-1, len(psi))[heavy], weights[heavy]

    def _data_nodes(self, noise: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes and weights of the data with noise of the given variance.

        The trapezoidal rule converges exponentially for what is analytic in a strip, however steep and wherever it is
        so. Gauss-Hermite nodes of each component would have to be hundreds. Powers of the score have the poles of the
        derivatives that leading errors hold: the rule is fine enough when their means settle.
        """
        means = np.array(self.means)[:, None]
        spreads = np.sqrt(np.array(self.variances) + noise)[:, None]
        reach = spreads * np.sqrt(-2 * np.log(tolerance * NEGLIGIBLE))
        # Refined by a quarter at a time until the means of all powers stay within the tolerance.
        before, count = np.full(len(POWERS), np.inf), 8
        while count <= MOST_NODES:
            x, step = np.linspace((means - reach).min(), (means + reach).max(), count, retstep=True)
            pulls = (means - x) / spreads**2
            logs = np.log(np.array(self.weights)[:, None] / spreads) - (pulls * spreads) ** 2 / 2
            top = logs.max(axis=0)
            shares = np.exp(logs - top)
            score = (shares * pulls).sum(axis=0) / shares.sum(axis=0) * spreads.max()
            weight = np.exp(top) * shares.sum(axis=0) * step / np.sqrt(2 * np.pi)
            found = np.array([weight @ score**power for power in POWERS])
            if np.all(np.abs(found - before) <= tolerance * np.abs(found).max()):
                return x, weight
            before, count = found, count + max(count // 4, 1)
        raise ArithmeticError(f"{MOST_NODES} nodes do not integrate the score of the mixture to {tolerance:g}")

    def expectation(self, observable: WaveObservable, time: float) -> float:
        """Return E f(z_time) in closed form."""
        wave = np.array(observable.wave)
        return float(
            sum(
                weight * np.exp(-wave @ covariance @ wave / 2) * np.cos(wave @ mean + observable.phase)
                for weight, mean, covariance in self.marginals(time)
            )
        )


def normal_nodes(dimension: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Hermite nodes (points**dimension, dimension) and weights for standard normal variables.

    For no variable there is one node of weight one.
    """
    if not dimension:
        return np.zeros((1, 0)), np.ones(1)
    x, w = np.polynomial.hermite_e.hermegauss(points)
    grid = np.stack(np.meshgrid(*[x] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weights = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * dimension, indexing="ij"), axis=-1), axis=-1).ravel()
    return grid, weights
