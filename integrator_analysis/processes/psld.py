"""Phase-space Langevin diffusion (Pandey and Mandt, arXiv 2303.01748) at critical damping: position and momentum."""

from __future__ import annotations

import sympy

from integrator_analysis.processes.base import Process, ProcessFamily
from integrator_analysis.symbols import InputError

__all__ = ["PSLD"]


def build(
    Gamma: sympy.Rational,
    nu: sympy.Rational,
    gamma: sympy.Rational,
    beta: sympy.Rational,
    t_max: sympy.Rational,
    t_min: sympy.Rational,
) -> Process:
    """F = (beta/2) [[-Gamma, 1/M], [-1, -nu]], G G^T = beta diag(Gamma, M nu), 1/M = (Gamma - nu)^2 / 4."""
    if Gamma < 0 or nu <= 0 or Gamma == nu or gamma <= 0 or beta <= 0 or not 0 < t_min < t_max:
        raise InputError(
            "process psld needs Gamma >= 0, nu > 0, Gamma != nu, gamma > 0, beta > 0, 0 < t_min < t_max, got "
            f"Gamma={Gamma}, nu={nu}, gamma={gamma}, beta={beta}, t_min={t_min}, t_max={t_max}"
        )
    big_gamma, damping, mass, small_gamma, speed = sympy.symbols("Gamma nu M gamma beta_0", positive=True)
    return Process(
        name="psld",
        title="phase-space Langevin diffusion (PSLD)",
        blocks=("x", "m"),
        drift_per_unit=sympy.Matrix([[-big_gamma, 1 / mass], [-1, -damping]]) / 2,
        diffusion_per_unit=sympy.diag(big_gamma, mass * damping),
        schedule=speed,
        initial_covariance=sympy.diag(0, small_gamma * mass),
        stationary_covariance=sympy.diag(1, mass),
        parameters={big_gamma: Gamma, damping: nu, mass: 4 / (Gamma - nu) ** 2, small_gamma: gamma, speed: beta},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2303.01748; parameters of arXiv 2310.07894",
        relations={mass: 4 / (big_gamma - damping) ** 2},
    )


PSLD = ProcessFamily(
    "psld",
    "phase-space Langevin diffusion at critical damping",
    {"Gamma": 0.01, "nu": 4.01, "gamma": 0.04, "beta": 8.0, "t_max": 1.0, "t_min": 1e-3},
    build,
)
