"""Rectified flow (Liu, Gong and Liu, arXiv 2209.03003): x_t = (1 - t) x_0 + t e, networks that return the velocity."""

from __future__ import annotations

import sympy
from sympy.codegen.cfunctions import expm1

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import require
from integrator_analysis.processes.equation import clock
from integrator_analysis.processes.family import ProcessFamily, one_block
from integrator_analysis.processes.forward_process import Process

__all__ = ["FLOW"]


def build(t_max: sympy.Rational, t_min: sympy.Rational) -> Process:
    """dx = -x/(1-t) dt + sqrt(2t/(1-t)) dw: beta = 1/(1-t), so clock = -log(1-t) and t = 1 - exp(-clock).

    F and G G^T are infinite at t = 1; the mean 1 - t and the covariance t^2 are not.
    """
    require(t_max <= 1, "flow", "t_max <= 1", t_max=t_max)
    return Process(
        name="flow",
        title="rectified flow",
        **one_block(-1, -2 * expm1(-clock(t)), 0, 1),
        integrated=-sympy.log(1 - t),
        parameters={},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2209.03003; arXiv 2210.02747",
        grids=("uniform", "cosine"),
        network="velocity",
    )


FLOW = ProcessFamily("flow", "rectified flow", {"t_max": 1.0, "t_min": 1e-3}, build)
