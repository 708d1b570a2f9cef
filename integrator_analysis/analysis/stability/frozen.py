"""Linear test problems with the score, or the whole field, frozen in time: what the network returns, what is exact.

Knows processes and parametrisations; knows no scheme. There are two problems, each the same at every time of a step:
- the frozen score s = S z with S constant: z' = J z, J = beta(t) (N - (1/2) D S) in forward time;
- the frozen field z' = J z with J constant, the textbooks' test equation: the network returns what makes the field so.
On one block J is any number. On two blocks x' is given by the process, but for the little noise in x. There the test
equation is the damped oscillator of the process's own frequency, which is a frozen score.
A step goes backwards, so that the textbooks' h lambda is mu = -h lambda here: decay in reverse time is Re mu < 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.parametrisation.parametrisation import VELOCITY
from integrator_analysis.parametrisation.prediction_conversion import conversion, network_from_eps
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import clock

__all__ = ["FrozenProblems"]

NODES = 32
"""Gauss-Legendre nodes of the integral of beta D over a step where D depends on time (sub-VP, flow): both are smooth
in t, and steps that end before a singular t_max are resolved to 1e-12."""


@dataclass(frozen=True)
class FrozenProblems:
    """The frozen problems of a process. Jacobians may be stacks: shape (..., k, k)."""

    process: Process

    @property
    def k(self) -> int:
        """The number of blocks."""
        return len(self.process.blocks)

    @cached_property
    def prior(self) -> np.ndarray:
        """The prior's variance of every block, float64 (k)."""
        return np.diag(np.array(self.process.prior_covariance.subs(dict(self.process.parameters))).astype(float))

    def score(self, eigenvalues: Any) -> np.ndarray:
        """Return S = diag(eigenvalue, -1/M, ...), (..., k, k): position has this eigenvalue, momentum its prior's."""
        values = np.asarray(eigenvalues)
        rest = np.broadcast_to(-1 / self.prior[1:], (*values.shape, self.k - 1))
        return np.concatenate([values[..., None], rest], axis=-1)[..., None] * np.eye(self.k)

    def network_of_score(self, score: np.ndarray, time: float) -> np.ndarray:
        """Return the Jacobian of the network at ``time`` where the score is ``score`` z: eps = -L^T s, L Cholesky."""
        skip, scale = self._from_eps(time)
        return skip - scale @ np.linalg.cholesky(self.process.covariance(time)).T @ score

    @cached_property
    def _from_eps(self) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
        return network_from_eps(self.process)

    def network_of_field(self, jacobian: np.ndarray, time: float) -> np.ndarray:
        """Return, on one block, the Jacobian of the network where z' = ``jacobian`` z: eta^{-1} (J - L)."""
        drift, eta = self.field(time)
        return (jacobian - drift) / eta

    def field(self, time: float) -> np.ndarray:
        """Return L and eta of z' = L z + eta n at ``time``, n what the network returns: (2, k, k)."""
        return np.array(self._field_values(time), dtype=float).reshape(2, self.k, self.k)

    @cached_property
    def _field_values(self) -> Callable[[float], list[float]]:
        given, wanted = (parametrisation(name, self.process) for name in (self.process.network, VELOCITY))
        matrices = conversion(wanted, given)
        table = self.process.definitions.with_(given.definitions)
        parameters = {**self.process.parameters, **given.parameters}
        return function([e for m in matrices for e in m], (t,), table, parameters)

    def oscillator(self, mu: np.ndarray, time: float) -> np.ndarray:
        """Return, on two blocks, scores (..., 2, 2) of a damped oscillator for steps of h = |mu| / frequency(time).

        S = diag(-1, -c/M). The position's entry is that of unit data, on which no force but the process's own acts. The
        momentum's score sets the friction so that -h J has the eigenvalues mu and conj(mu). c = 1 is the undamped
        oscillator.
        """
        step = np.abs(mu) / self.frequency(time)
        drift, diffusion = self._integrand(time)
        # The trace of -h J is 2 Re mu, and the momentum's entry of S is the one unknown in it.
        damped = 2 * (drift[1, 1] + 2 * np.real(mu) / step) / diffusion[1, 1]
        return np.stack([np.full(damped.shape, -1.0), damped], axis=-1)[..., None] * np.eye(2)

    def frequency(self, time: float) -> float:
        """Return, on two blocks, the frequency sqrt(-F_xm F_mx) at which position and momentum of unit data turn."""
        drift, _ = self._integrand(time)
        return float(np.sqrt(-drift[0, 1] * drift[1, 0]))

    def _integrand(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return F and G G^T at ``time``."""
        drift, diffusion = self._per_unit
        rate = float(self._rate(time)[0])
        noise = np.array([[self._noise(time)[0]]]) if self._varies else rate * diffusion
        return rate * drift.astype(float), noise.astype(float)

    @property
    def _varies(self) -> bool:
        """Whether D depends on time."""
        return bool(self.process.diffusion_per_unit.has(clock))

    def stationary(self, score: np.ndarray, time: float) -> np.ndarray | None:
        """Return the covariance that the reverse SDE (kappa = 1), frozen at ``time``, tends to; None if to none.

        It solves A C + C A^T + G G^T = 0 with A = -F + G G^T S, where A is stable.
        """
        drift, diffusion = self._integrand(time)
        flow = diffusion @ score - drift
        if np.linalg.eigvals(flow).real.max() >= 0:
            return None
        return solve_continuous_lyapunov(flow, -diffusion)

    @cached_property
    def _rate(self) -> Callable[[float], list[float]]:
        return function([self.process.schedule], (t,), self.process.definitions, self.process.parameters)

    @cached_property
    def _per_unit(self) -> tuple[np.ndarray, np.ndarray]:
        values = dict(self.process.parameters)
        matrices = (self.process.drift_per_unit, self.process.diffusion_per_unit)
        drift, diffusion = (np.array(m.subs(values)) for m in matrices)
        return drift, diffusion

    def exact(self, score: np.ndarray, start: float, end: float, noise: float = 0.0) -> np.ndarray:
        """Return the exact flow of the frozen score from ``start`` to ``end``, (..., k, k).

        It is exp(-int beta (N - (1 + noise^2)/2 D S)), that of the probability-flow ODE, or of the mean of the reverse
        SDE that has ``noise`` (kappa) times G for its diffusion. Generators at two times commute, so that it is exact.
        """
        drift, diffusion = self._integrals(start, end)
        return expm(-(drift - (1 + noise**2) / 2 * diffusion @ score))

    def _integrals(self, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the integrals of F and of G G^T from end to start."""
        drift, diffusion = self._per_unit
        elapsed = self._clock(start)[0] - self._clock(end)[0]
        # beta factors out of both where D is constant: what is left of the integral is the clock's difference.
        if not self._varies:
            return elapsed * drift.astype(float), elapsed * diffusion.astype(float)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        times = end + (start - end) * (1 + nodes) / 2
        values = np.array([float(self._noise(time)[0]) for time in times])
        return elapsed * drift.astype(float), np.array([[np.sum(weights * values) * (start - end) / 2]])

    @cached_property
    def _clock(self) -> Callable[[float], list[float]]:
        return function([clock(t)], (t,), self.process.definitions, self.process.parameters)

    @cached_property
    def _noise(self) -> Callable[[float], list[float]]:
        return function([self.process.diffusion[0, 0]], (t,), self.process.definitions, self.process.parameters)

    def marginals(self, variances: np.ndarray, time: float) -> np.ndarray:
        """Return covariances (d, k, k) of z_time for Gaussian data with these variances (d)."""
        psi = self.process.mean(time)[:, 0]
        return variances[:, None, None] * np.outer(psi, psi) + self.process.covariance(time)
