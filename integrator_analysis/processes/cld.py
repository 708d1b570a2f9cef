"""Critically damped Langevin diffusion (Dockhorn, Vahdat and Kreis, arXiv 2112.07068): noise on the momentum only."""

from __future__ import annotations

import sympy
from sympy import Rational as Q

from integrator_analysis.inputs import require
from integrator_analysis.processes.family import ProcessFamily
from integrator_analysis.processes.forward_process import Process

__all__ = ["CLD"]


def build(Gamma: Q, M: Q | None, gamma: Q, beta: Q, t_max: Q, t_min: Q) -> Process:
    """F = beta [[0, 1/M], [-1, -Gamma/M]], G G^T = diag(0, 2 Gamma beta); M None: critical damping, Gamma^2 = 4 M."""
    holds = Gamma > 0 and gamma > 0 and beta > 0 and (M is None or M > 0)
    needs = "Gamma > 0, gamma > 0, beta > 0, M > 0 if given"
    require(holds, "cld", needs, Gamma=Gamma, gamma=gamma, beta=beta, M=M)
    critical = M is None or Gamma**2 == 4 * M
    damping, mass, small_gamma, speed = sympy.symbols("Gamma M gamma beta_0", positive=True)
    return Process(
        name="cld",
        title=("critically damped" if critical else "off-critical") + " Langevin diffusion (CLD)",
        blocks=("x", "m"),
        drift_per_unit=sympy.Matrix([[0, 1 / mass], [-1, -damping / mass]]),
        diffusion_per_unit=sympy.diag(0, 2 * damping),
        schedule=speed,
        initial_covariance=sympy.diag(0, small_gamma * mass),
        stationary_covariance=sympy.diag(1, mass),
        parameters={damping: Gamma, mass: Gamma**2 / 4 if critical else M, small_gamma: gamma, speed: beta},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2112.07068",
        grids=("quadratic", "log-SNR"),
    )


PUBLISHED = {"Gamma": 1.0, "M": None, "gamma": 0.04, "beta": 4.0, "t_max": 1.0, "t_min": 1e-3}
CLD = ProcessFamily("cld", "Langevin diffusion, critically damped unless M is given", PUBLISHED, build)
