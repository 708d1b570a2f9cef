"""Phase-space Langevin diffusion (Pandey and Mandt, arXiv 2303.01748): critically damped unless M is given."""

from __future__ import annotations

import sympy
from sympy import Rational as Q

from integrator_analysis.inputs import require
from integrator_analysis.processes.family import ProcessFamily
from integrator_analysis.processes.forward_process import Process

__all__ = ["PSLD"]


def build(Gamma: Q, nu: Q, gamma: Q, beta: Q, t_max: Q, t_min: Q, M: Q | None) -> Process:
    """F = (beta/2) [[-Gamma, 1/M], [-1, -nu]], G G^T = beta diag(Gamma, M nu); M None: 1/M = (Gamma - nu)^2 / 4."""
    needs = "Gamma >= 0, nu > 0, Gamma != nu, gamma > 0, beta > 0, M > 0 if given"
    holds = Gamma >= 0 and nu > 0 and (M is not None or Gamma != nu) and gamma > 0 and beta > 0 and (M is None or M > 0)
    require(holds, "psld", needs, Gamma=Gamma, nu=nu, gamma=gamma, beta=beta, M=M)
    critical = M is None or M * (Gamma - nu) ** 2 == 4
    big_gamma, damping, mass, small_gamma, speed = sympy.symbols("Gamma nu M gamma beta_0", positive=True)
    values = {big_gamma: Gamma, damping: nu, mass: 4 / (Gamma - nu) ** 2 if critical else M}
    return Process(
        name="psld",
        title="phase-space Langevin diffusion (PSLD)" + ("" if critical else " off critical damping"),
        blocks=("x", "m"),
        drift_per_unit=sympy.Matrix([[-big_gamma, 1 / mass], [-1, -damping]]) / 2,
        diffusion_per_unit=sympy.diag(big_gamma, mass * damping),
        schedule=speed,
        initial_covariance=sympy.diag(0, small_gamma * mass),
        stationary_covariance=sympy.diag(1, mass),
        parameters=values | {small_gamma: gamma, speed: beta},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2303.01748; parameters of arXiv 2310.07894",
        grids=("quadratic", "log-SNR"),
    )


PUBLISHED = {"Gamma": 0.01, "nu": 4.01, "gamma": 0.04, "beta": 8.0, "t_max": 1.0, "t_min": 1e-3, "M": None}
PSLD = ProcessFamily("psld", "phase-space Langevin diffusion, at critical damping unless M is given", PUBLISHED, build)
