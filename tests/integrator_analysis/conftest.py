"""The two processes as they are defined on paper, in mpmath at its working precision: the oracle of digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import mpmath
import pytest

Matrix = mpmath.matrix
Clock = Callable[[mpmath.mpf], mpmath.mpf]


@dataclass(frozen=True)
class PaperProcess:
    """dz = beta N z dt + sqrt(beta D) dw, Sigma(0) = ``start``, stationary covariance ``prior``; all numbers exact.

    The covariance is the stationary form Sigma_inf + E (Sigma_0 - Sigma_inf) E^T, E = exp(N b), which the package does
    not use because it cancels near t = 0; callers take enough digits for it. ``exponential`` is exp(N b), closed.
    """

    drift_per_unit: Matrix
    diffusion_per_unit: Matrix
    start: Matrix
    prior: Matrix
    beta: Clock
    clock: Clock
    exponential: Callable[[mpmath.mpf], Matrix]
    names: str

    def drift(self, t: mpmath.mpf) -> Matrix:
        return self.beta(t) * self.drift_per_unit

    def diffusion(self, t: mpmath.mpf) -> Matrix:
        return self.beta(t) * self.diffusion_per_unit

    def covariance(self, t: mpmath.mpf) -> Matrix:
        e = self.exponential(self.clock(t))
        return self.prior + e * (self.start - self.prior) * e.T

    def factor(self, t: mpmath.mpf) -> Matrix:
        """The lower Cholesky factor of the covariance."""
        return mpmath.cholesky(self.covariance(t))

    def c_out(self, t: mpmath.mpf) -> Matrix:
        """score = c_out eps."""
        return -(self.factor(t).T ** -1)

    def eta(self, t: mpmath.mpf) -> Matrix:
        """The factor of eps in the probability-flow ODE."""
        return -self.diffusion(t) * self.c_out(t) / 2


def variance_preserving(low: str = "0.1", high: str = "20") -> PaperProcess:
    """beta = low + (high - low) t, F = -beta/2, G^2 = beta."""
    a, b = mpmath.mpf(low), mpmath.mpf(high)
    one = mpmath.matrix([[1]])
    return PaperProcess(
        drift_per_unit=-one / 2,
        diffusion_per_unit=one,
        start=0 * one,
        prior=one,
        beta=lambda t: a + (b - a) * t,
        clock=lambda t: a * t + (b - a) * t**2 / 2,
        exponential=lambda clock: mpmath.exp(-clock / 2) * one,
        names="x",
    )


def phase_space(big_gamma: str = "0.01", nu: str = "4.01") -> PaperProcess:
    """F = (beta/2) [[-Gamma, 1/M], [-1, -nu]], G G^T = beta diag(Gamma, M nu), critical damping, beta = 8."""
    g, n, beta = mpmath.mpf(big_gamma), mpmath.mpf(nu), mpmath.mpf(8)
    mass, d = 4 / (g - n) ** 2, (n - g) / 4

    def exponential(b: mpmath.mpf) -> Matrix:
        return mpmath.exp(-(g + n) * b / 4) * mpmath.matrix([[1 + b * d, b / (2 * mass)], [-b / 2, 1 - b * d]])

    return PaperProcess(
        drift_per_unit=mpmath.matrix([[-g, 1 / mass], [-1, -n]]) / 2,
        diffusion_per_unit=mpmath.diag([g, mass * n]),
        start=mpmath.diag([0, mpmath.mpf("0.04") * mass]),
        prior=mpmath.diag([1, mass]),
        beta=lambda _: beta,
        clock=lambda t: beta * t,
        exponential=exponential,
        names="xm",
    )


FAMILIES = {"vp": variance_preserving, "psld": phase_space}


@pytest.fixture(scope="session")
def on_paper() -> Callable[..., PaperProcess]:
    """(name, parameters as decimal text) -> the process, at mpmath's working precision of the moment."""
    return lambda name, *parameters: partial(FAMILIES[name], *parameters)()
