"""The variance-exploding process (Song et al., arXiv 2011.13456, equation 9): no drift, geometric sigma."""

from __future__ import annotations

import sympy
from sympy import Rational as Q
from sympy.codegen.cfunctions import expm1

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import require
from integrator_analysis.processes.family import ProcessFamily, one_block
from integrator_analysis.processes.forward_process import Process

__all__ = ["VE"]


def build(sigma_min: Q, sigma_max: Q, t_max: Q, t_min: Q) -> Process:
    """dx = sqrt(d sigma^2/dt) dw, sigma(t) = sigma_min (sigma_max/sigma_min)^t, Sigma(t) = sigma(t)^2.

    The convention is that data carry variance sigma_min^2 at t = 0: Sigma(0) = sigma_min^2, not 0.
    """
    require(0 < sigma_min < sigma_max, "ve", "0 < sigma_min < sigma_max", sigma_min=sigma_min, sigma_max=sigma_max)
    low, high, growth = sympy.symbols("sigma_min sigma_max log_ratio", positive=True)
    return Process(
        name="ve",
        title="variance exploding (VE)",
        **one_block(0, 1, low**2, None),
        integrated=low**2 * expm1(2 * growth * t),
        prior_covariance=sympy.Matrix([[high**2]]),
        parameters={low: sigma_min, high: sigma_max, growth: sympy.log(sigma_max / sigma_min)},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2011.13456, equation 9",
        grids=("uniform", "uniform"),
    )


PUBLISHED = {"sigma_min": 0.01, "sigma_max": 50.0, "t_max": 1.0, "t_min": 1e-5}
VE = ProcessFamily("ve", "variance exploding", PUBLISHED, build)
