"""Linear stability of one step: the amplification matrix when eps has a given Jacobian, its spectral radius, regions.

Knows lowered programs; draws through figures only when asked to. The step runs in reverse time, so a factor above one
need not be a fault: where the data are wider than the prior the exact flow expands too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.gaussian import affine_step
from integrator_analysis.parametrisation import network_from_eps
from integrator_analysis.program import StepProgram
from integrator_analysis.symbols import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Stability"]


@dataclass(frozen=True)
class Stability:
    """The stability of a program. Times are forward diffusion times; a step of size h goes from t to t - h."""

    program: StepProgram

    @cached_property
    def _table(self) -> CoefficientTable:
        return CoefficientTable(self.program)

    def amplification(self, h: float, jacobian: complex | np.ndarray, t: float | None = None) -> np.ndarray:
        """The k x k matrix of one step from t to t - h when eps = jacobian z, frozen in time.

        For a multistep method it acts on z and the kept outputs, k (1 + history) in all, the past in steps of h too.
        ``jacobian`` is k x k, or a number that multiplies the identity. t defaults to t_max. Raises InputError for
        a step that leaves (0, t_max].
        """
        start = self._start(h, t)
        k = len(self.program.blocks)
        matrix = np.asarray(jacobian) * np.eye(k) if np.ndim(jacobian) == 0 else np.asarray(jacobian)
        if matrix.shape != (k, k):
            raise InputError(f"the Jacobian of eps has shape {matrix.shape}; accepted: a number or {k} x {k}")
        eps = (matrix, np.zeros(k))
        return affine_step(self.program, self._table, start, start - h, lambda _: eps, self._past(start, h)).matrix

    def _past(self, start: float, h: float) -> list[float]:
        """Earlier times in steps of h; those beyond t_max are as good, because the Jacobian is frozen."""
        return [start + (j + 1) * h for j in range(self.program.history)]

    def score_jacobian(self, eigenvalue: complex, t: float) -> np.ndarray:
        """The Jacobian of the network when the position score has this eigenvalue and momentum is at equilibrium.

        eps = -L^T s, so K = -L^T diag(eigenvalue, -1/M): on one block K = -sigma * eigenvalue. Unit-variance Gaussian
        data have the eigenvalue -1; data of small width sigma_d at small t about -1/sigma_d^2.
        """
        process = self.program.process
        prior = np.array(process.prior_covariance.subs(dict(process.parameters))).astype(float)
        diagonal = np.concatenate([[eigenvalue], -1 / np.diag(prior)[1:]])
        factor = np.linalg.cholesky(process.covariance(t))
        skip, scale = network_from_eps(process)(t)
        return skip - scale @ factor.T @ np.diag(diagonal)

    def radius(self, h: float, eigenvalue: complex, t: float | None = None) -> float:
        """The spectral radius of one step for a position score with this eigenvalue, frozen over the step."""
        start = self._start(h, t)
        step = affine_step(
            self.program,
            self._table,
            start,
            start - h,
            lambda time: (self.score_jacobian(eigenvalue, time), np.zeros(len(self.program.blocks))),
            self._past(start, h),
        )
        return float(np.max(np.abs(np.linalg.eigvals(step.matrix))))

    def region(self, h: Iterable[float], eigenvalues: Iterable[complex], t: float | None = None) -> np.ndarray:
        """Spectral radii, float64 (len(eigenvalues), len(h)); the scheme is stable where they are at most one."""
        steps = list(h)
        return np.array([[self.radius(step, value, t) for step in steps] for value in eigenvalues])

    def plot(self, ax: Axes, t: float | None = None, points: int = 40, **style: Any) -> Axes:
        """Draw the region over the step size and minus the eigenvalue of the position score, both logarithmic."""
        from integrator_analysis.figures import stability_interval

        start = self.program.process.t_max if t is None else t
        h = np.geomspace(1e-3, 0.99 * start, points)
        curvature = np.geomspace(0.1, 1e3, points)
        style = {"ylabel": "minus eigenvalue of the score's Jacobian"} | style
        return stability_interval(ax, h, curvature, self.region(h, -curvature, start), **style)

    def _start(self, h: float, t: float | None) -> float:
        start = self.program.process.t_max if t is None else float(t)
        if not 0 < h < start <= self.program.process.t_max:
            raise InputError(
                f"a step of size h = {h} from t = {start} leaves (0, {self.program.process.t_max}]; 0 < h < t is needed"
            )
        return start
