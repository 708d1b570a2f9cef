"""Stability in the complex plane of mu = h lambda: amplification on the textbooks' test equation, limits, order stars.

Knows one step (one_step.py) on the frozen field z' = J z, or on two blocks on the damped oscillator of the process's
own frequency. Knows no grid of times. A step goes backwards, so that mu = -h J and Re mu < 0 is decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from integrator_analysis.analysis.stability.growth import spectral_radius
from integrator_analysis.analysis.stability.limits import bounding_box, first_unstable
from integrator_analysis.analysis.stability.one_step import OneStep
from integrator_analysis.inputs import InputError

__all__ = ["Oscillation", "Plane"]

SHORT = 2.0**-13
"""Of t: the step whose halves are extrapolated to the limit of short steps; a power of two, so that t - h is exact.
Weights keep 1e-11 there, and the remainder of three levels is (h beta)^3 = 1e-9 at most; it is estimated, and the
limits tolerate it."""


@dataclass(frozen=True)
class Oscillation:
    """A step on the undamped oscillator beside the exact flow, float64 (n,) each, over ``theta`` = h omega.

    ``phase_error`` is the phase per step in radians, numerical less exact. ``amplitude_error`` is the relative error
    |R| / |exact| - 1 of the amplitude per step; where it is negative the scheme damps.
    """

    theta: np.ndarray
    phase_error: np.ndarray
    amplitude_error: np.ndarray


@dataclass(frozen=True)
class Plane(OneStep):
    """The plane of mu for a deterministic scheme: where a step is stable, and what it gets of e^mu.

    ``h`` and ``t`` mean the same in all methods: see ``frozen_field``.
    """

    def frozen_field(self, mu: Any, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Return the amplification (..., K, K) on the test equation whose exact factor per step is e^mu, for mu (...).

        One block: z' = J z with J constant, mu = -h J any complex numbers. Where the scheme does no more than evaluate
        the field (Euler, Heun) the result does not depend on h and t. A scheme that integrates a part of the field
        exactly depends on them; with h None its limit of short steps at fixed mu is returned. t defaults to t_max / 2.

        Two blocks: the damped oscillator of the process's own frequency omega, for a pair mu, conj(mu) with |mu| = h
        omega. The step from t has h = |mu| / omega, and t defaults to t_max. Entries are infinite where that step
        leaves (0, t).

        Raises InputError for a stochastic scheme, for more than two blocks, and for an h on two.
        """
        # Two blocks have one frequency at each time, so that mu alone says how long the step is.
        k, last = len(self.program.blocks), self.program.process.t_max
        if self.program.stochastic:
            raise InputError("the scheme is stochastic and does not solve z' = J z; see mean_square and region")
        if k > 2 or (k == 2 and h is not None):
            raise InputError(f"on {k} blocks the plane of h lambda needs " + ("one or two" if k > 2 else "no h"))
        values = np.asarray(mu)
        if k == 2:
            return self._take_oscillator_steps(values, last if t is None else t)
        start = last / 2 if t is None else t
        if h is not None:
            return self._take_field_step(values, h, self._check_start(h, start))
        return self._extrapolate_short_steps(values, start)[0]

    def _take_field_step(self, mu: np.ndarray, h: float, start: float) -> np.ndarray:
        jacobian = (-mu / h)[..., None, None]
        step = self._take_step(start, h, lambda time: self.frozen.network_of_field(jacobian, time)).matrix
        return self._scale_outputs(step, h)

    def _scale_outputs(self, step: np.ndarray, h: float) -> np.ndarray:
        """Return the matrix with kept outputs measured in h times themselves, so that no entry grows as h falls."""
        k = len(self.program.blocks)
        weights = np.concatenate([np.ones(k), np.full(step.shape[-1] - k, h)])
        return step * weights[:, None] / weights

    def _extrapolate_short_steps(self, mu: np.ndarray, start: float) -> tuple[np.ndarray, float]:
        """Return the limit of short steps by Richardson's extrapolation, and the size of its last correction."""
        whole, half, quarter = (self._take_field_step(mu, SHORT * start / 2**n, start) for n in range(3))
        # The error is c_1 h + c_2 h^2 + ...: halving h once cancels c_1, the second pair of halvings c_2.
        coarse, fine = 2 * half - whole, 2 * quarter - half
        best = (4 * fine - coarse) / 3
        return best, float(np.abs(best - fine).max(initial=0.0))

    def _take_oscillator_steps(self, mu: np.ndarray, start: float) -> np.ndarray:
        """Return the steps on the oscillator: one call for every size |mu| that occurs, since |mu| fixes h."""
        size = len(self.program.blocks) * (1 + self.program.history)
        # Sizes that differ by rounding alone are one step: points of a circle share its coefficients.
        sizes, which = np.unique(np.round(np.abs(mu), 14), return_inverse=True)
        which = which.reshape(mu.shape)
        out = np.full((*mu.shape, size, size), np.inf, dtype=complex)
        for number, length in enumerate(sizes):
            h = float(length) / self.frozen.frequency(start)
            if 0 < h < start:
                here = which == number
                score = self.frozen.oscillator(mu[here], start)
                out[here] = self._scale_outputs(self._take_score_step(start, h, score).matrix, h)
        return out

    def polynomial(self, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Return the stability function of a one-step scheme on one block: float64 (c_0, c_1, ...), R = sum c_n mu^n.

        Its degree is at most the number of evaluations in a step, so that its values at roots of unity give it
        exactly. Raises InputError for a multistep scheme, whose R is an algebraic function, and where
        ``frozen_field`` does.

        >>> import integrator_analysis as ia
        >>> bool(np.allclose(ia.derive("vp/RK4").stability.polynomial(), [1, 1, 1 / 2, 1 / 6, 1 / 24], atol=1e-11))
        True
        """
        if self.program.history or len(self.program.blocks) > 1:
            raise InputError("a stability polynomial belongs to a one-step scheme on one block; see frozen_field")
        count = self.program.nfe_per_step + 1
        # A polynomial of degree < count from its values at the count-th roots of unity: a discrete Fourier transform.
        values = self.frozen_field(np.exp(2j * np.pi * np.arange(count) / count), h, t)[:, 0, 0]
        return np.fft.fft(values).real / count

    def at(self, mu: Any, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Return spectral radii of ``frozen_field``, of mu's shape; the scheme is stable where they are at most 1."""
        return spectral_radius(self.frozen_field(mu, h, t))

    def limit(self, direction: complex, h: float | None = None, t: float | None = None) -> float:
        """Return how far mu may go from 0 along ``direction`` before |R| > 1: 0 if not at all, inf if for ever.

        The first crossing is bracketed 2% apart and found by root finding. On two blocks the result is also inf where
        the scheme is stable up to the longest step.
        """
        tolerance, unit, last = 1e-12, direction / abs(direction), np.inf
        if len(self.program.blocks) == 1 and h is None and not self.program.stochastic:
            start = self.program.process.t_max / 2 if t is None else t
            # What the extrapolation leaves at mu = unit/2 must not count as growth.
            tolerance = max(tolerance, 10 * self._extrapolate_short_steps(np.array(0.5 * unit), start)[1])
        if len(self.program.blocks) == 2:
            tolerance = 1e-7 if abs(unit.imag) < 1e-3 else 1e-10  # a double eigenvalue is known to half the digits
            last = self.farthest(t)
        return first_unstable(lambda mu: self.at(mu, h, t), unit, tolerance, last)

    def farthest(self, t: float | None = None) -> float:
        """Return, on two blocks, the |mu| that steps from t stay below: that of a step from t to 0."""
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
        """Return (left, right, bottom, top) of a box that holds the region of stability, with a margin."""
        last = self.farthest(t) if len(self.program.blocks) == 2 else np.inf
        return bounding_box(lambda mu: self.at(mu, h, t), last)

    def order_star(self, mu: Any, h: float | None = None, t: float | None = None) -> np.ndarray:
        """Return the spectral radius over |e^mu|, of mu's shape: the order star is where it exceeds 1.

        At the origin p + 1 sectors of the star meet p + 1 of its complement for a scheme of order p (Wanner, Hairer
        and Norsett, BIT 18 (1978) 475).
        """
        return self.at(mu, h, t) / np.exp(np.real(mu))

    def oscillation(self, theta: np.ndarray, h: float | None = None, t: float | None = None) -> Oscillation:
        """Return phase and amplitude errors per step on the undamped oscillator mu = i theta, theta = h omega.

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
