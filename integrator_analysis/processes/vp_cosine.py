"""The variance-preserving process with the cosine schedule (Nichol and Dhariwal, arXiv 2102.09672), continuous time."""

from __future__ import annotations

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import require
from integrator_analysis.processes.family import ProcessFamily, one_block
from integrator_analysis.processes.forward_process import Process

__all__ = ["VP_COSINE"]


def build(offset: sympy.Rational, t_max: sympy.Rational, t_min: sympy.Rational) -> Process:
    """VP, mean f(t) = cos(angle (t + offset)) / cos(angle offset), angle = pi / (2 (1 + offset)); f^2 is alpha_bar."""
    require(offset >= 0 and t_max < 1, "vp_cosine", "offset >= 0, t_max < 1", offset=offset, t_max=t_max)
    shift, angle, start = sympy.symbols("offset angle cosine_0", positive=True)
    turn = sympy.pi / (2 * (1 + offset))
    return Process(
        name="vp_cosine",
        title="variance preserving (VP), cosine schedule",
        **one_block(-sympy.S.Half, 1, 0, 1),
        integrated=-2 * sympy.log(sympy.cos(angle * (t + shift)) / start),
        parameters={shift: offset, angle: turn, start: sympy.cos(turn * offset)},
        t_max=float(t_max),
        t_min=float(t_min),
        source="arXiv 2102.09672, equation 17; t_max of arXiv 2206.00927",
        grids=("uniform", "cosine"),
    )


PUBLISHED = {"offset": 0.008, "t_max": 0.9946, "t_min": 1e-3}
VP_COSINE = ProcessFamily("vp_cosine", "variance preserving, cosine schedule", PUBLISHED, build)
