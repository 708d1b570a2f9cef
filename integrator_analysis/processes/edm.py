"""The process of EDM (Karras, Aittala, Aila and Laine, arXiv 2206.00364): no drift, sigma(t) = t."""

from __future__ import annotations

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.processes.family import ProcessFamily, one_block
from integrator_analysis.processes.forward_process import Process

__all__ = ["EDM"]


def build(t_max: sympy.Rational, t_min: sympy.Rational) -> Process:
    """dx = sqrt(2 t) dw: the noise level is the time, and the prior has standard deviation t_max."""
    top = sympy.Symbol("sigma_max", positive=True)
    return Process(
        name="edm",
        title="the process of EDM, sigma(t) = t",
        **one_block(0, 1, 0, None),
        schedule=2 * t,
        prior_covariance=sympy.Matrix([[top**2]]),
        parameters={top: t_max},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2206.00364, table 1",
        grids=("karras", "log-SNR"),
    )


EDM = ProcessFamily("edm", "no drift, sigma(t) = t", {"t_max": 80.0, "t_min": 0.002}, build)
