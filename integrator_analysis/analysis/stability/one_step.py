"""What one step of a scheme does to the state where the network is linear: amplification of one step at one time.

Knows a step program and the frozen problems of its process (frozen.py). Knows no plane of h lambda (plane.py), no grid
of times (along_grid.py), and takes no power of a step (stability.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.gaussian import AffineMap, affine_step
from integrator_analysis.analysis.stability.frozen import FrozenProblems
from integrator_analysis.analysis.stability.growth import spectral_radius
from integrator_analysis.inputs import InputError
from integrator_analysis.program.network_program import NetworkProgram

__all__ = ["OneStep"]


@dataclass(frozen=True)
class OneStep:
    """One step of ``program`` from t to t - h, with the network or the score frozen over the step.

    Times are forward diffusion times. Matrices are k x k for a one-step scheme, k the number of blocks. For a multistep
    scheme they act on z followed by the outputs that it keeps, k (1 + history) numbers in all.
    """

    program: NetworkProgram

    @cached_property
    def frozen(self) -> FrozenProblems:
        """The linear problems with the score or the field frozen, on this process."""
        return FrozenProblems(self.program.process)

    @cached_property
    def _table(self) -> CoefficientTable:
        return CoefficientTable(self.program)

    def amplification(self, h: float, jacobian: complex | np.ndarray, t: float | None = None) -> np.ndarray:
        """Return the matrix of one step from t to t - h for a network that returns jacobian z at every time.

        ``jacobian`` is k x k, a stack of such matrices, or a number that multiplies the identity. For a multistep
        scheme the steps before this one have the size h too. t defaults to t_max. Raises InputError for a step that
        leaves (0, t_max], or a Jacobian of another shape.
        """
        start, k = self._check_start(h, t), len(self.program.blocks)
        matrix = np.asarray(jacobian) * np.eye(k) if np.ndim(jacobian) == 0 else np.asarray(jacobian)
        if matrix.shape[-2:] != (k, k):
            raise InputError(f"the Jacobian of eps has shape {matrix.shape}; accepted: a number or {k} x {k}")
        return self._take_step(start, h, lambda _: matrix).matrix

    def score_jacobian(self, eigenvalue: Any, t: float) -> np.ndarray:
        """Return the network's Jacobian where the position score has this eigenvalue and momentum is at equilibrium.

        eps = -L^T s, so K = -L^T diag(eigenvalue, -1/M): on one block K = -sigma * eigenvalue. Gaussian data of
        variance one have the eigenvalue -1; data of small width sigma_d at small t have about -1/sigma_d^2. For an
        array of eigenvalues (...) the result is a stack (..., k, k).
        """
        return self.frozen.network_of_score(self.frozen.score(eigenvalue), t)

    def radius(self, h: float, eigenvalue: complex, t: float | None = None) -> float:
        """Return the spectral radius of one step whose position score has this eigenvalue all through the step."""
        return float(spectral_radius(self._amplify_frozen_score(h, eigenvalue, self._check_start(h, t))))

    def region(self, h: Iterable[float], eigenvalues: Iterable[complex], t: float | None = None) -> np.ndarray:
        """Return spectral radii, float64 (len(eigenvalues), len(h)); the scheme is stable where they are at most 1."""
        values = np.array(list(eigenvalues))
        columns = [spectral_radius(self._amplify_frozen_score(step, values, self._check_start(step, t))) for step in h]
        return np.stack(columns, axis=-1)

    def transformed(self, h: float, jacobian: complex | np.ndarray, t: float | None = None) -> np.ndarray:
        """Return E(s, t)^{-1} R: one step of a conjugate integrator in its own variable zhat = A z, where A_t = I.

        R is ``amplification`` and E(s, t) = A_s^{-1} A_t the propagator of the part that is solved exactly.
        Conjugate Euler with B = lambda I has R = E(s, t) (I + h Lambda) with
        Lambda = -lambda I - (1/h) int_s^t A_u eta(u) du K. The theorem of arXiv 2310.07894 says that zhat does not
        grow where every eigenvalue lambda_tilde of Lambda has |1 + h lambda_tilde| <= 1. A step goes back in time:
        both terms carry the minus sign of dz/d(-t), and lambda > 0 damps. On VP at lambda = 1.3, with the integral
        done by hand:

        >>> import integrator_analysis as ia
        >>> h, t, lam, k = 0.1, 0.7, 1.3, 0.6 - 0.2j
        >>> x, w = np.polynomial.legendre.leggauss(40)
        >>> u = t - h / 2 + h / 2 * x
        >>> clock = lambda u: 0.1 * u + 19.9 * u**2 / 2
        >>> eta = (0.1 + 19.9 * u) / (2 * np.sqrt(1 - np.exp(-clock(u))))
        >>> integral = np.sum(h / 2 * w * np.exp(lam * (u - t) + (clock(u) - clock(t)) / 2) * eta)
        >>> lambda_tilde = -lam - integral * k / h
        >>> i = ia.derive("vp/lambda-DDIM-I", lambda_=lam)
        >>> bool(np.isclose(i.stability.transformed(h, k, t)[0, 0], 1 + h * lambda_tilde, rtol=1e-11))
        True

        The state z itself is multiplied by R, which has the factor E(s, t) = exp(int_s^t (lambda - L)) besides. Here
        that factor is 2.19, so that a step that passes the theorem's test expands z. Along a grid these factors
        telescope to A_s^{-1} A_t of the whole way, a fixed number.

        >>> float(round(abs(1 + h * lambda_tilde), 4)), float(round(abs(i.stability.amplification(h, k, t)[0, 0]), 4))
        (0.6033, 1.3184)

        On two blocks I + h Lambda is not normal and differs from step to step. Eigenvalues below one then bound
        neither a step's norm nor a product of steps: see ``growth`` and ``along``.
        Raises InputError for a scheme that has no propagator E(s, t), and for a multistep scheme.
        """
        propagator = self._propagator(start := self._check_start(h, t), start - h)
        step = self.amplification(h, jacobian, t)
        if self.program.history:
            raise InputError(
                "a multistep scheme keeps outputs, which have no transformed variable; take a one-step one"
            )
        # zhat_s = A_s z_s with A_t = 1: A_s = E(s, t)^{-1}.
        return np.linalg.solve(propagator, step)

    def _propagator(self, start: float, end: float) -> np.ndarray:
        """Return E(end, start), k x k, from the program's own definitions."""
        definitions, k = self.program.definitions, len(self.program.blocks)
        names = {str(f): f for f in definitions}
        calls = [f"propagator_{a}{b}" for a in self.program.blocks for b in self.program.blocks]
        if not set(calls) & set(names):
            raise InputError("the scheme has no propagator E(s, t); accepted: conjugate integrators")
        # An entry without a definition is zero: a triangular B leaves no name for what lies beyond its triangle.
        entries = [names[c](t, s) if c in names else 0 for c in calls]
        parameters = {**self.program.process.parameters, **self.program.parameters}
        values = function(entries, (t, s), definitions, parameters)(start, end)
        return np.array(values, dtype=float).reshape(k, k)

    def _take_step(self, start: float, h: float, jacobian: Callable[[float], np.ndarray]) -> AffineMap:
        """Return one step for a network that returns jacobian(time) z."""
        zeros = np.zeros(len(self.program.blocks))
        # Earlier times in steps of h. Those beyond t_max are as good as any, because the problem is frozen.
        past = [start + (j + 1) * h for j in range(self.program.history)]
        return affine_step(self.program, self._table, start, start - h, lambda time: (jacobian(time), zeros), past)

    def _take_score_step(self, start: float, h: float, score: np.ndarray) -> AffineMap:
        """Return one step where the score is ``score`` z (..., k, k) at every time."""
        return self._take_step(start, h, partial(self.frozen.network_of_score, score))

    def _amplify_frozen_score(self, h: float, eigenvalue: Any, start: float) -> np.ndarray:
        """Return the matrix of one step where the position score keeps this eigenvalue."""
        return self._take_score_step(start, h, self.frozen.score(eigenvalue)).matrix

    def _check_start(self, h: float, t: float | None) -> float:
        """Return the time that a step of size h starts from; raise InputError if the step leaves (0, t_max]."""
        start = self.program.process.t_max if t is None else float(t)
        if not 0 < h < start <= self.program.process.t_max:
            raise InputError(
                f"a step of size h = {h} from t = {start} leaves (0, {self.program.process.t_max}]; 0 < h < t is needed"
            )
        return start
