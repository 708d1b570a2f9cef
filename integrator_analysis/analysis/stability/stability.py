"""Linear stability of a scheme: the face of this wing, and what powers of one step do. Defined in docs/stability.md.

Knows step programs and reads them through linear problems: a frozen Jacobian of the network or a frozen score
(one_step.py), the frozen field z' = J z of the textbooks (plane.py), Gaussian data along a grid (along_grid.py). Draws
through figures only when asked to. The step runs in reverse time, so that a factor above one need not be a fault: where
the data are wider than the prior the exact flow expands too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from integrator_analysis.analysis.stability.along_grid import AlongGrid
from integrator_analysis.analysis.stability.growth import Growth, growth, peak, spectral_radius
from integrator_analysis.analysis.stability.plane import Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MeanSquare", "Stability"]

POWERS = 2000
"""Powers of a step that are looked at for its transient growth: more than any sampler takes steps."""


@dataclass(frozen=True)
class MeanSquare:
    """Mean-square stability of one step with the score frozen: the second moments' linear map C -> R C R^T + Q.

    ``radius`` is that map's spectral radius, the square of R's. Second moments converge, from any start, where it is
    below 1. They converge to ``covariance`` (k x k; None where they do not), while the reverse SDE (kappa = 1), its
    coefficients frozen at t, has ``exact`` (None where that does not converge).
    Noise is additive in every scheme here: Q does not depend on z, so that mean and mean square are stable together.
    With noise in proportion to z, which no scheme here has, the mean square would be unstable first.
    """

    radius: float
    covariance: np.ndarray | None
    exact: np.ndarray | None


@dataclass(frozen=True)
class Stability(Plane, AlongGrid):
    """All that is known of a program's stability: one step, the plane of h lambda, grids, and powers of a step.

    The methods of one step, of the plane and of grids are those of ``OneStep``, ``Plane`` and ``AlongGrid``.
    """

    def plot(self, ax: Axes, t: float | None = None, points: int = 40, **style: Any) -> Axes:
        """Draw ``region`` over the step size and minus the eigenvalue of the position score, both logarithmic."""
        from integrator_analysis.figures import stability_interval

        start = self.program.process.t_max if t is None else t
        h = np.geomspace(1e-3, 0.99 * start, points)
        curvature = np.geomspace(0.1, 1e3, points)
        style = {"ylabel": "minus eigenvalue of the score's Jacobian"} | style
        return stability_interval(ax, h, curvature, self.region(h, -curvature, start), **style)

    def growth(self, h: float, eigenvalue: float, t: float | None = None) -> Growth:
        """Return the transient growth of powers of one step with the score frozen.

        Norms are taken in units of the prior's standard deviations. For a multistep method ``peak`` is that of the
        state alone, started with a past at rest in it.
        """
        matrix, start = self._scale_by_prior(h, np.asarray(eigenvalue), self._check_start(h, t))
        return growth(matrix, start, POWERS)

    def peaks(self, h: Iterable[float], eigenvalues: Iterable[float], t: float | None = None) -> np.ndarray:
        """Return the largest norm of the state after any number of steps, (len(eigenvalues), len(h)); inf: unstable."""
        values = np.array(list(eigenvalues))
        columns = [peak(*self._scale_by_prior(step, values, self._check_start(step, t)), POWERS)[0] for step in h]
        return np.stack(columns, axis=-1)

    def _scale_by_prior(self, h: float, values: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the frozen score's step in units of the prior, and the map from z to z with its kept outputs."""
        scale, k = np.tile(np.sqrt(self.frozen.prior), 1 + self.program.history), len(self.program.blocks)
        matrix = self._amplify_frozen_score(h, values, start) * scale / scale[:, None]
        # A past at rest: every kept output is the one that the network gives for this z, the same at all times.
        kept = matrix[..., k : 2 * k, :k] if self.program.history else matrix[..., :0, :k]
        rest = np.tile(kept, (self.program.history, 1)) if self.program.history else kept
        eye = np.broadcast_to(np.eye(k), (*rest.shape[:-2], k, k))
        return matrix, np.concatenate([eye, rest], axis=-2)

    def mean_square(self, h: float, eigenvalue: float, t: float | None = None) -> MeanSquare:
        """Return the second moments of one step with the score frozen, at a real eigenvalue of the position score.

        Euler-Maruyama on dX = -theta X dt + sigma dW is stable for h < 2/theta and has the stationary variance
        sigma^2/(2 theta - h theta^2) (Higham, SIAM Review 43 (2001) 525). With beta = 20 and unit data VP is that
        process with theta = 10, sigma^2 = 20 in reverse time:

        >>> import integrator_analysis as ia
        >>> stability = ia.derive("vp(beta_min=20, beta_max=20)/EM").stability
        >>> found = stability.mean_square(0.05, -1.0)
        >>> round(found.radius, 12), round(float(found.covariance[0, 0]), 12), round(float(found.exact[0, 0]), 12)
        (0.25, 1.333333333333, 1.0)
        >>> round(stability.mean_square(0.2, -1.0).radius, 12), stability.mean_square(0.21, -1.0).covariance
        (1.0, None)
        """
        start, score = self._check_start(h, t), self.frozen.score(eigenvalue)
        step = self._take_score_step(start, h, score)
        radius = float(spectral_radius(step.matrix)) ** 2
        k = len(self.program.blocks)
        covariance = None
        if radius < 1 - 1e-12:  # the fixed point C = R C R^T + Q of the second moments
            covariance = solve_discrete_lyapunov(step.matrix, step.noise @ step.noise.conj().T)[:k, :k]
        return MeanSquare(radius, covariance, self.frozen.stationary(score, start))
