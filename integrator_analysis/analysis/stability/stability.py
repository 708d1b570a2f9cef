"""Linear stability of a scheme: amplification, regions, limits, growth, stable steps. Defined in docs/stability.md.

Knows lowered programs and reads them through three linear problems: a frozen Jacobian of the network (amplification),
a frozen score (radius, region, growth, mean_square, oscillation, largest_step), the frozen field z' = J z of the
textbooks (frozen_field, limits, order_star); and Gaussian data along a grid (along, stable_steps). Draws through
figures only when asked to. The step runs in reverse time, so a factor above one need not be a fault: where the data
are wider than the prior the exact flow expands too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.analysis.coefficients import CoefficientTable, check_times
from integrator_analysis.analysis.gaussian import AffineMap, Eps, affine_step
from integrator_analysis.analysis.stability.frozen import FrozenProblems
from integrator_analysis.analysis.stability.growth import Growth, growth, peak, spectral_radius
from integrator_analysis.analysis.stability.limits import bounding_box, first_above, first_unstable
from integrator_analysis.inputs import InputError
from integrator_analysis.program.network_program import NetworkProgram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MeanSquare", "Oscillation", "Stability"]

SHORT = 2.0**-13
"""Of t: the step whose halves are extrapolated to the limit of short steps; a power of two, so that t - h is exact.
Weights keep 1e-11 there, and the remainder of three levels is (h beta)^3 = 1e-9 at most; it is estimated, and the
limits tolerate it."""

POWERS = 2000
"""Powers of a step that are looked at for its transient growth: more than any sampler takes steps."""

STEPS = np.geomspace(1e-4, 0.999, 60)
"""Of t: where the largest stable step is bracketed, 17% apart."""


@dataclass(frozen=True)
class MeanSquare:
    """Mean-square stability of one step with the score frozen: the second moments' linear map C -> R C R^T + Q.

    ``radius`` is that map's spectral radius, the square of R's: second moments converge, from any start, where it is
    below 1, to ``covariance`` (k x k; None where they do not), while the reverse SDE (kappa = 1), its coefficients
    frozen at t, has ``exact`` (None where that does not converge).
    Noise is additive in every scheme here, Q does not depend on z, so that mean and mean square are stable together;
    with noise in proportion to z, which no scheme here has, the mean square would be unstable first.
    """

    radius: float
    covariance: np.ndarray | None
    exact: np.ndarray | None


@dataclass(frozen=True)
class Oscillation:
    """A step on the oscillator beside the exact flow, float64 (n,), over theta = h omega: the phase per step in
    radians, numerical less exact, and the relative error |R| / |exact| - 1 of the amplitude (negative: damping)."""

    theta: np.ndarray
    phase_error: np.ndarray
    amplitude_error: np.ndarray


@dataclass(frozen=True)
class Stability:
    """The stability of a program. Times are forward diffusion times; a step of size h goes from t to t - h."""

    program: NetworkProgram

    @cached_property
    def _table(self) -> CoefficientTable:
        return CoefficientTable(self.program)

    @cached_property
    def frozen(self) -> FrozenProblems:
        """The linear problems with the score or the field frozen, on this process."""
        return FrozenProblems(self.program.process)

    # -- one step --------------------------------------------------------------------------------------------
    def amplification(self, h: float, jacobian: complex | np.ndarray, t: float | None = None) -> np.ndarray:
        """The k x k matrix of one step from t to t - h when eps = jacobian z, frozen in time.

        For a multistep method it acts on z and the kept outputs, k (1 + history) in all, the past in steps of h too.
        ``jacobian`` is k x k, a stack of them, or a number that multiplies the identity. t defaults to t_max. Raises
        InputError for a step that leaves (0, t_max].
        """
        start, k = self._start(h, t), len(self.program.blocks)
        matrix = np.asarray(jacobian) * np.eye(k) if np.ndim(jacobian) == 0 else np.asarray(jacobian)
        if matrix.shape[-2:] != (k, k):
            raise InputError(f"the Jacobian of eps has shape {matrix.shape}; accepted: a number or {k} x {k}")
        return self._step(start, h, lambda _: matrix).matrix

    def _step(self, start: float, h: float, jacobian: Callable[[float], np.ndarray]) -> AffineMap:
        zeros = np.zeros(len(self.program.blocks))
        past = self._past(start, h)
        return affine_step(self.program, self._table, start, start - h, lambda time: (jacobian(time), zeros), past)

    def _score_step(self, start: float, h: float, score: np.ndarray) -> AffineMap:
        """The step where the score is ``score`` z (..., k, k) at every time."""
        return self._step(start, h, partial(self.frozen.network_of_score, score))

    def _past(self, start: float, h: float) -> list[float]:
        """Earlier times in steps of h; those beyond t_max are as good, because the Jacobian is frozen."""
        return [start + (j + 1) * h for j in range(self.program.history)]

    def score_jacobian(self, eigenvalue: Any, t: float) -> np.ndarray:
        """The Jacobian of the network when the position score has this eigenvalue and momentum is at equilibrium.

        eps = -L^T s, so K = -L^T diag(eigenvalue, -1/M): on one block K = -sigma * eigenvalue. Unit-variance Gaussian
        data have the eigenvalue -1; data of small width sigma_d at small t about -1/sigma_d^2. Of an array of
        eigenvalues (...), a stack (..., k, k).
        """
        return self.frozen.network_of_score(self.frozen.score(eigenvalue), t)

    def _frozen_score(self, h: float, eigenvalue: Any, start: float) -> np.ndarray:
        return self._score_step(start, h, self.frozen.score(eigenvalue)).matrix

    def radius(self, h: float, eigenvalue: complex, t: float | None = None) -> float:
        """The spectral radius of one step for a position score with this eigenvalue, frozen over the step."""
        return float(spectral_radius(self._frozen_score(h, eigenvalue, self._start(h, t))))

    def region(self, h: Iterable[float], eigenvalues: Iterable[complex], t: float | None = None) -> np.ndarray:
        """Spectral radii, float64 (len(eigenvalues), len(h)); the scheme is stable where they are at most one."""
        values = np.array(list(eigenvalues))
        columns = [spectral_radius(self._frozen_score(step, values, self._start(step, t))) for step in h]
        return np.stack(columns, axis=-1)

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

    def transformed(self, h: float, jacobian: complex | np.ndarray, t: float | None = None) -> np.ndarray:
        """E(s, t)^{-1} R: one step of a conjugate integrator in its own variable zhat = A z, anchored at A_t = I.

        The theorem of arXiv 2310.07894 on conjugate Euler with B = lambda I: there R = E(s, t) (I + h Lambda) with
        Lambda = -lambda I - (1/h) int_s^t A_u eta(u) du K, A_t = I, so that zhat does not grow where every
        eigenvalue lambda_tilde of Lambda has |1 + h lambda_tilde| <= 1. A step goes back in time: both terms carry
        the minus sign of dz/d(-t), and lambda > 0 damps. Here on VP at lambda = 1.3, the integral by hand:

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

        The state z itself is multiplied by R, which has the factor E(s, t) = exp(int_s^t (lambda - L)) besides: here
        2.19, so that the step that passes the theorem's test expands z. Along a grid these factors telescope to
        A_s^{-1} A_t of the whole way, a fixed number.

        >>> float(round(abs(1 + h * lambda_tilde), 4)), float(round(abs(i.stability.amplification(h, k, t)[0, 0]), 4))
        (0.6033, 1.3184)

        On two blocks (test_stability_theorem.py) I + h Lambda is not normal and differs from step to step, so that
        eigenvalues below one bound neither a step's norm nor a product of steps: see ``growth`` and ``along``.
        Raises InputError for a scheme that has no propagator E(s, t).
        """
        propagator = self._propagator(start := self._start(h, t), start - h)
        step = self.amplification(h, jacobian, t)
        if self.program.history:
            raise InputError(
                "a multistep scheme keeps outputs, which have no transformed variable; take a one-step one"
            )
        return np.linalg.solve(propagator, step)

    def _propagator(self, start: float, end: float) -> np.ndarray:
        definitions, k = self.program.definitions, len(self.program.blocks)
        names = {str(f): f for f in definitions}
        calls = [f"propagator_{a}{b}" for a in self.program.blocks for b in self.program.blocks]
        if not set(calls) & set(names):
            raise InputError("the scheme has no propagator E(s, t); accepted: conjugate integrators")
        entries = [names[c](t, s) if c in names else 0 for c in calls]
        parameters = {**self.program.process.parameters, **self.program.parameters}
        values = function(entries, (t, s), definitions, parameters)(start, end)
        return np.array(values, dtype=float).reshape(k, k)

    # -- the frozen field: the textbooks' plane -----------------------------------------------------------------
    def frozen_field(self, mu: Any, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Amplification (..., K, K) on the textbooks' test problem, whose exact factor per step is e^mu; mu (...).

        One block: z' = J z with J constant, mu = -h J any complex numbers. Where the scheme does no more than evaluate
        the field (Euler, Heun) the result does not depend on h and t. One that integrates a part of the field exactly
        depends on them; with h None it is its limit of short steps at fixed mu. t defaults to t_max / 2.

        Two blocks: the damped oscillator of the process's own frequency omega, for a pair mu, conj(mu) with |mu| = h
        omega: the step from t is h = |mu| / omega, and t defaults to t_max. Infinite where that step leaves (0, t).

        Raises InputError for a stochastic scheme, for more than two blocks, and for an h on two.
        """
        k, last = len(self.program.blocks), self.program.process.t_max
        if self.program.stochastic:
            raise InputError("the scheme is stochastic and does not solve z' = J z; see mean_square and region")
        if k > 2 or (k == 2 and h is not None):
            raise InputError(f"on {k} blocks the plane of h lambda needs " + ("one or two" if k > 2 else "no h"))
        values = np.asarray(mu)
        if k == 2:
            return self._oscillator(values, last if t is None else t)
        start = last / 2 if t is None else t
        if h is not None:
            return self._field_step(values, h, self._start(h, start))
        return self._short_steps(values, start)[0]

    def _field_step(self, mu: np.ndarray, h: float, start: float) -> np.ndarray:
        jacobian = (-mu / h)[..., None, None]
        step = self._step(start, h, lambda time: self.frozen.network_of_field(jacobian, time)).matrix
        return self._in_states(step, h)

    def _in_states(self, step: np.ndarray, h: float) -> np.ndarray:
        """The matrix with kept outputs measured in h times themselves, so that no entry grows as h falls."""
        k = len(self.program.blocks)
        weights = np.concatenate([np.ones(k), np.full(step.shape[-1] - k, h)])
        return step * weights[:, None] / weights

    def _short_steps(self, mu: np.ndarray, start: float) -> tuple[np.ndarray, float]:
        """The limit of short steps by Richardson's extrapolation, and the size of its last correction."""
        whole, half, quarter = (self._field_step(mu, SHORT * start / 2**n, start) for n in range(3))
        coarse, fine = 2 * half - whole, 2 * quarter - half
        best = (4 * fine - coarse) / 3
        return best, float(np.abs(best - fine).max(initial=0.0))

    def _oscillator(self, mu: np.ndarray, start: float) -> np.ndarray:
        """One step for every size |mu| that occurs."""
        size = len(self.program.blocks) * (1 + self.program.history)
        sizes, which = np.unique(np.round(np.abs(mu), 14), return_inverse=True)
        which = which.reshape(mu.shape)
        out = np.full((*mu.shape, size, size), np.inf, dtype=complex)
        for number, length in enumerate(sizes):
            h = float(length) / self.frozen.frequency(start)
            if 0 < h < start:
                here = which == number
                score = self.frozen.oscillator(mu[here], start)
                out[here] = self._in_states(self._score_step(start, h, score).matrix, h)
        return out

    def polynomial(self, h: float | None = None, t: float | None = None) -> np.ndarray:
        """The stability function of a one-step scheme on one block, R(mu) = c_0 + c_1 mu + ...: float64 coefficients.

        Its degree is at most the evaluations of a step, so that its values at roots of unity give it exactly; h and t
        as for ``frozen_field``. Raises InputError for a multistep scheme, whose R is an algebraic function, and where
        ``frozen_field`` does.

        >>> import integrator_analysis as ia
        >>> bool(np.allclose(ia.derive("vp/RK4").stability.polynomial(), [1, 1, 1 / 2, 1 / 6, 1 / 24], atol=1e-11))
        True
        """
        if self.program.history or len(self.program.blocks) > 1:
            raise InputError("a stability polynomial belongs to a one-step scheme on one block; see frozen_field")
        count = self.program.nfe_per_step + 1
        values = self.frozen_field(np.exp(2j * np.pi * np.arange(count) / count), h, t)[:, 0, 0]
        return np.fft.fft(values).real / count

    def at(self, mu: Any, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Spectral radii of ``frozen_field``, float64 of mu's shape. The scheme is stable where they are at most 1."""
        return spectral_radius(self.frozen_field(mu, h, t))

    def limit(self, direction: complex, h: float | None = None, t: float | None = None) -> float:
        """How far mu = h lambda may go along ``direction`` from 0 before |R| > 1: 0 if not at all, inf if for ever.

        The first crossing, bracketed 2% apart and found by root finding; h and t as for ``frozen_field``. On two blocks
        also inf where the scheme is stable up to the longest step.
        """
        tolerance, unit, last = 1e-12, direction / abs(direction), np.inf
        if len(self.program.blocks) == 1 and h is None and not self.program.stochastic:
            start = self.program.process.t_max / 2 if t is None else t
            tolerance = max(tolerance, 10 * self._short_steps(np.array(0.5 * unit), start)[1])
        if len(self.program.blocks) == 2:
            tolerance = 1e-7 if abs(unit.imag) < 1e-3 else 1e-10  # a double eigenvalue is known to half the digits
            last = self.farthest(t)
        return first_unstable(lambda mu: self.at(mu, h, t), unit, tolerance, last)

    def farthest(self, t: float | None = None) -> float:
        """Two blocks: the |mu| that steps from t stay below, that of a step to 0."""
        start = self.program.process.t_max if t is None else t
        return self.frozen.frequency(start) * start

    @cached_property
    def real_limit(self) -> float:
        """The largest h |lambda| for real decaying lambda, in the limit of short steps.

        >>> import integrator_analysis as ia
        >>> def limit(base):
        ...     return ia.derive(f"flow/conjugate(base={base}, predict=velocity)").stability.real_limit
        >>> limit("Euler"), limit("Heun"), limit("midpoint")
        (2.0, 2.0, 2.0)
        >>> [round(limit(base), 9) for base in ("RK3", "RK4", "AB2", "AB3", "AB4")]
        [2.512745327, 2.785293563, 1.0, 0.545454545, 0.3]
        >>> [round(ia.derive(spec).stability.real_limit, 6) for spec in ("vp/DDIM", "vp/DEIS-tAB1")]
        [2.0, 1.0]

        (Hairer and Wanner, Solving ODEs II, IV.2 and V.1: Euler and order two 2, order three 2.5127, order four
        2.7853, Adams-Bashforth 1, 6/11 and 3/10. DDIM is Euler and DEIS-tAB1 Adams-Bashforth in this limit.)
        """
        return self.limit(-1.0)

    @cached_property
    def imaginary_limit(self) -> float:
        """The largest h omega for an undamped oscillation of frequency omega, in the limit of short steps.

        >>> import integrator_analysis as ia
        >>> def limit(base):
        ...     return ia.derive(f"flow/conjugate(base={base}, predict=velocity)").stability.imaginary_limit
        >>> limit("Euler"), limit("Heun"), limit("AB2")
        (0.0, 0.0, 0.0)
        >>> [round(limit(base), 7) for base in ("RK3", "RK4", "AB3")]
        [1.7320508, 2.8284271, 0.7236272]
        >>> round(ia.derive("psld/BAB(naive)").stability.imaginary_limit, 6)
        2.0

        (sqrt(3), 2 sqrt(2) and 0.7236: Hairer and Wanner, IV.2 and V.1; velocity Verlet 2.)
        """
        return self.limit(1j)

    def bounds(self, h: float | None = None, t: float | None = None) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of a box in the plane of mu that holds the region of stability, with a margin."""
        last = self.farthest(t) if len(self.program.blocks) == 2 else np.inf
        return bounding_box(lambda mu: self.at(mu, h, t), last)

    def order_star(self, mu: Any, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Spectral radius over |e^mu|, of mu's shape: the order star is where it exceeds 1.

        At the origin p + 1 sectors of the star meet p + 1 of its complement for a scheme of order p (Wanner, Hairer
        and Norsett, BIT 18 (1978) 475).
        """
        return self.at(mu, h, t) / np.exp(np.real(mu))

    # -- growth, second moments, oscillation: the frozen score ---------------------------------------------------
    def growth(self, h: float, eigenvalue: float, t: float | None = None) -> Growth:
        """Transient growth of powers of one step with the score frozen, in units of the prior's standard deviations.

        For a multistep method ``peak`` is that of the state alone, started with a past at rest in it.
        """
        matrix, start = self._scaled(h, np.asarray(eigenvalue), self._start(h, t))
        return growth(matrix, start, POWERS)

    def peaks(self, h: Iterable[float], eigenvalues: Iterable[float], t: float | None = None) -> np.ndarray:
        """The largest norm of the state after any number of steps, (len(eigenvalues), len(h)); inf: unstable."""
        values = np.array(list(eigenvalues))
        return np.stack([peak(*self._scaled(step, values, self._start(step, t)), POWERS)[0] for step in h], axis=-1)

    def _scaled(self, h: float, values: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
        """The frozen score's step in units of the prior, and what makes z with its kept outputs from z."""
        scale, k = np.tile(np.sqrt(self.frozen.prior), 1 + self.program.history), len(self.program.blocks)
        matrix = self._frozen_score(h, values, start) * scale / scale[:, None]
        kept = matrix[..., k : 2 * k, :k] if self.program.history else matrix[..., :0, :k]
        rest = np.tile(kept, (self.program.history, 1)) if self.program.history else kept
        eye = np.broadcast_to(np.eye(k), (*rest.shape[:-2], k, k))
        return matrix, np.concatenate([eye, rest], axis=-2)

    def mean_square(self, h: float, eigenvalue: float, t: float | None = None) -> MeanSquare:
        """The second moments of one step with the score frozen, at a real eigenvalue of the position score.

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
        start = self._start(h, t)
        step = self._score_step(start, h, self.frozen.score(eigenvalue))
        radius = float(spectral_radius(step.matrix)) ** 2
        k = len(self.program.blocks)
        covariance = None
        if radius < 1 - 1e-12:
            covariance = solve_discrete_lyapunov(step.matrix, step.noise @ step.noise.conj().T)[:k, :k]
        exact = self.frozen.stationary(self.frozen.score(eigenvalue), start)
        return MeanSquare(radius, covariance, exact)

    def oscillation(self, theta: np.ndarray, h: float | None = None, t: float | None = None) -> Oscillation:
        """Phase and amplitude per step on the undamped oscillator mu = i theta, theta = h omega; see ``frozen_field``.

        Velocity Verlet turns by 2 arcsin(theta/2), that is theta^3/24 too far, and damps nothing below theta = 2:

        >>> import integrator_analysis as ia
        >>> found = ia.derive("psld/BAB(naive)").stability.oscillation(np.array([0.1, 1.0]))
        >>> [round(float(e), 10) for e in found.phase_error] == [round(2 * np.arcsin(v / 2) - v, 10) for v in (0.1, 1)]
        True
        >>> bool(np.abs(found.amplitude_error).max() < 1e-12)
        True
        """
        theta = np.asarray(theta, dtype=float)
        step = self.frozen_field(1j * theta, h, t)
        if not np.isfinite(step).all():
            raise InputError(
                f"theta = {theta.max():g} is a step of more than t; below {self.farthest(t):g} is accepted"
            )
        values = np.linalg.eigvals(step)
        exact = np.exp(1j * theta)[:, None]
        # The principal eigenvalue: the one nearest to the exact, which tells it from a conjugate and from parasites.
        value = np.take_along_axis(values, np.abs(values - exact).argmin(axis=1)[:, None], axis=1)
        return Oscillation(theta, np.angle(value / exact)[:, 0], np.abs(value)[:, 0] - 1)

    # -- Gaussian data -------------------------------------------------------------------------------------------
    def largest_step(self, variances: Any, t: float | None = None, factor: float = 2.0) -> float:
        """The largest h such that every shorter step from t is stable for data with these variances.

        The score is frozen at that of the data, -S^{-1} with S the covariance of z_t. A step is stable where its
        spectral radius is at most 1 if the exact flow's is, and at most ``factor`` times the exact flow's where that
        expands; the exact flow is the probability-flow ODE's, for a stochastic scheme the reverse SDE's mean (kappa
        = 1). inf if no step down to t = 0 is unstable; 0 for a scheme that excites an undamped oscillator, however
        short its steps.

        >>> import integrator_analysis as ia
        >>> adams = ia.derive("vp(beta_min=20, beta_max=20)/conjugate(base=AB4, predict=velocity)").stability
        >>> rate = 10 / (1 - np.exp(-0.2)) - 10  # beta/2 (1/S - 1) for point data at t = 0.01: the real limit is 0.3
        >>> bool(np.isclose(adams.largest_step([0.0], t=0.01), 0.3 / rate, rtol=1e-8))
        True
        """
        start = self.program.process.t_max if t is None else float(t)
        self._start(start / 2, start)
        score = -np.linalg.inv(self.frozen.marginals(_variances(variances), start))
        noise = 1.0 if self.program.stochastic else 0.0

        def excess(h: float) -> float:
            step = self._score_step(start, h, score).matrix
            exact = spectral_radius(self.frozen.exact(score, start, start - h, noise))
            allowed = np.where(exact <= 1 + 1e-9, 1 + 1e-9, factor * exact)
            return float((spectral_radius(step) - allowed).max())

        return first_above(excess, STEPS * start)

    def along(self, times: Sequence[float], variances: Any) -> np.ndarray:
        """How much too wide samples of Gaussian data become along a grid: float64 (len(times), len(variances)).

        Entry (j, i) is the largest ratio, over directions of (position, momentum), of the numerical standard deviation
        at times[j] to the exact one, for data of variance i and the exact marginal at times[0]. For a deterministic
        one-step scheme it is the norm of the product of the first j steps in whitened coordinates, ||S_j^{-1/2} R_j ...
        R_1 S_0^{1/2}||, and the exact flow, which expands or contracts itself, has 1 at all times.
        """
        grid, values = check_times(times, self.program.process.t_max), _variances(variances)
        k, kept = len(self.program.blocks), self.program.history * len(self.program.blocks)
        eps = self._gaussian_eps(values)
        exact = self.frozen.marginals(values, grid[0])
        covariance = np.pad(exact, ((0, 0), (0, kept), (0, kept)))
        mean = np.zeros(covariance.shape[:-1])
        if self.program.primed:
            mean, covariance = affine_step(self.program, self._table, grid[0], grid[0], eps).moments(mean, covariance)
        ratios = [_widest(covariance[:, :k, :k], exact)]
        with np.errstate(over="ignore", invalid="ignore"):
            for i, (start, end) in enumerate(pairwise(grid)):
                step = affine_step(self.program, self._table, start, end, eps, grid[:i][::-1].tolist())
                mean, covariance = step.moments(mean, covariance)
                ratios.append(_widest(covariance[:, :k, :k], self.frozen.marginals(values, end)))
        return np.array(ratios)

    def _gaussian_eps(self, variances: np.ndarray) -> Eps:
        zeros = np.zeros(len(self.program.blocks))

        def eps(time: float) -> tuple[np.ndarray, np.ndarray]:
            return self.frozen.network_of_score(-np.linalg.inv(self.frozen.marginals(variances, time)), time), zeros

        return eps

    def stable_steps(
        self, variances: Any, grid: Callable[[int], Sequence[float]], factor: float = 2.0, most: int = 1000
    ) -> int | None:
        """The number of steps from which on ``along`` stays below ``factor`` at every time and variance.

        ``grid(n)`` gives the n + 1 times of n steps. The number returned is stable, the next smaller one is not, and so
        are all larger ones that are tried: up to four times as many, and to ``most``. None if ``most`` is not enough.
        """
        return _smallest(lambda n: bool((self.along(grid(n), variances) <= factor).all()), most)

    def stable_evaluations(
        self, variances: Any, grid: Callable[[int], Sequence[float]], factor: float = 2.0, most: int = 1000
    ) -> list[int | None]:
        """The smallest stable number of network evaluations for every variance by itself: ``stable_steps`` times
        evaluations per step. Coefficients of a grid are evaluated once for all variances."""
        values = _variances(variances)

        @cache
        def widest(n: int) -> np.ndarray:
            return self.along(grid(n), values).max(axis=0)

        def smallest(i: int) -> int | None:
            return _smallest(lambda n: bool(widest(n)[i] <= factor), most)

        found = [smallest(i) for i in range(len(values))]
        return [None if n is None else n * self.program.nfe_per_step for n in found]


def _smallest(stable: Callable[[int], bool], most: int) -> int | None:
    """The n from which on all numbers tried are stable, with n - 1 not stable; None if that would be beyond ``most``.

    Tried are all n to 8, then a fifth apart, up to four times the last unstable one; then the gap is bisected. A first
    stable n would not do: a single step can be right by accident where three are not.
    """
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
    while after - last > 1:
        middle = (last + after) // 2
        last, after = (last, middle) if stable(middle) else (middle, after)
    return after


def _variances(variances: Any) -> np.ndarray:
    values = np.atleast_1d(np.asarray(variances, dtype=float))
    if values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(values < 0):
        raise InputError("a data spectrum is a list of variances, finite and not negative")
    return values


def _widest(covariance: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The square root of the largest eigenvalue of exact^{-1} covariance, (d); infinite where it is not finite."""
    finite = np.isfinite(covariance).all(axis=(-1, -2))
    whiten = np.linalg.inv(np.linalg.cholesky(exact))
    inner = whiten @ np.where(finite[:, None, None], covariance.real, 0) @ whiten.swapaxes(-1, -2)
    return np.where(finite, np.sqrt(np.maximum(np.linalg.eigvalsh(inner)[:, -1], 0)), np.inf)
