"""The variance-preserving process (Song et al., arXiv 2011.13456, equation 11): one block, linear beta."""

from __future__ import annotations

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import require
from integrator_analysis.processes.family import ProcessFamily, one_block
from integrator_analysis.processes.forward_process import Process

__all__ = ["VP"]


def build(beta_min: sympy.Rational, beta_max: sympy.Rational, t_max: sympy.Rational, t_min: sympy.Rational) -> Process:
    """dx = -(beta/2) x dt + sqrt(beta) dw with beta(t) = beta_min + (beta_max - beta_min) t."""
    require(0 < beta_min <= beta_max, "vp", "0 < beta_min <= beta_max", beta_min=beta_min, beta_max=beta_max)
    low, high = sympy.symbols("beta_min beta_max", positive=True)
    return Process(
        name="vp",
        title="variance preserving (VP)",
        **one_block(-sympy.S.Half, 1, 0, 1),
        schedule=low + (high - low) * t,
        parameters={low: beta_min, high: beta_max},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2011.13456, equation 11",
        grids=("quadratic", "quadratic"),
    )


VP = ProcessFamily("vp", "variance preserving", {"beta_min": 0.1, "beta_max": 20.0, "t_max": 1.0, "t_min": 1e-3}, build)
