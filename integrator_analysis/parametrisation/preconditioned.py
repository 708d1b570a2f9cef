"""Parametrisations with a skip connection: x_0, v, EDM's preconditioning and the mixed score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.frames import marginal_factor, turning_rate
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.plain import eps_prediction, one_by_one
from integrator_analysis.processes import Process


def x0_prediction(process: Process) -> Parametrisation:
    """n = E[x_0 | z] = (z + sigma**2 s) / alpha (Tweedie); on more blocks n = P^{-1} (z + Sigma s), P = exp(int F).

    There n is the mean of the whole initial state, (x_0, 0) for point data, so it is constant along a trajectory.
    """
    if len(process.blocks) == 1:
        alpha, sigma = _one_block_kernel("x0", process)
        return Parametrisation(
            "x0", process, one_by_one(-1 / sigma**2), one_by_one(alpha / sigma**2), sigma, -sympy.S.One
        )
    inverse = process.kernel.factor**-1
    precision = inverse.T * inverse
    forward, named = _transition(process)
    return Parametrisation(
        "x0",
        process,
        (-precision).as_immutable(),
        (precision * forward).as_immutable(),
        turning=turning_rate(process, process.kernel.factor),
        frame=process.kernel.factor.as_immutable(),
        inverse=forward.adjugate() / forward.det() * process.kernel.factor * process.kernel.factor.T,
        extra=named,
    )


def _transition(process: Process) -> tuple[sympy.Matrix, Mapping[sympy.Function, Definition]]:
    """P(t) = exp(int_0^t F) by its named entries, and what they stand for."""
    matrix = process.kernel.in_time[0]
    names = [sympy.Function(f"transition_{a}{b}") for a in process.blocks for b in process.blocks]
    size = len(process.blocks)
    return sympy.Matrix(size, size, lambda i, j: names[i * size + j](t)), {
        name: Definition((t,), e) for name, e in zip(names, matrix, strict=True)
    }


SIGMA_DATA = sympy.Rational(1, 2)
"""EDM's standard deviation of the data (arXiv 2206.00364, table 1)."""


def mixed_prediction(process: Process) -> Parametrisation:
    """Mixed score (arXiv 2106.05931, section 3.2): C_skip is the score of unit-variance Gaussian data, C_out eps's."""
    factor, table = marginal_factor(process, sympy.S.One, "marginal_unit")
    return replace(
        _without_c_out("mixed", process, factor, table),
        c_out=eps_prediction(process).c_out,
        inverse=eps_prediction(process).inverse,
    )


def edm_prediction(process: Process) -> Parametrisation:
    """EDM's preconditioning (arXiv 2206.00364, table 1) on one block: n is its network F, sigma_data = 1/2.

    C_skip is the score of Gaussian data of variance sigma_data**2, and C_out gives n the variance one for them.
    """
    alpha, sigma = _one_block_kernel("edm", process)
    v = SIGMA_DATA**2
    factor, table = marginal_factor(process, v, "marginal_edm")
    c_out = one_by_one(SIGMA_DATA * alpha / (sigma * factor[0, 0]))
    return replace(_without_c_out("edm", process, factor, table), c_out=c_out)


def _without_c_out(
    name: str, process: Process, factor: sympy.Matrix, table: Mapping[sympy.Function, Definition]
) -> Parametrisation:
    """C_skip = -S^{-1} with S = K K^T, K = ``factor``, and what solves its linear part: K (one block) or K Rot (two).

    C_out is zero, for the caller to fill in.
    """
    k, inverse = len(process.blocks), factor**-1
    return Parametrisation(
        name,
        process,
        (-inverse.T * inverse).as_immutable(),
        sympy.zeros(k, k).as_immutable(),
        homogeneous=factor[0, 0] if k == 1 else None,
        turning=turning_rate(process, factor) if k == 2 else None,
        frame=factor.as_immutable(),
        extra=table,
    )


def v_prediction(process: Process) -> Parametrisation:
    """n = (alpha eps - sigma x_0) / sqrt(alpha**2 + sigma**2): v-prediction (arXiv 2202.00512, appendix D)."""
    alpha, sigma = _one_block_kernel("v", process)
    factor, table = marginal_factor(process, sympy.S.One, "marginal_unit")
    c_out = one_by_one(-alpha / (sigma * factor[0, 0]))
    return replace(_without_c_out("v", process, factor, table), c_out=c_out)


def _one_block_kernel(name: str, process: Process) -> tuple[sympy.Expr, sympy.Expr]:
    """alpha and sigma of a process on one block: z_t = alpha x_0 + sigma e. Raises InputError for one on more."""
    if len(process.blocks) != 1:
        raise InputError(
            f"parametrisation {name} is defined on one block; process {process.name} has "
            f"{', '.join(process.blocks)}; accepted there: eps, eps-rotated, score, x0, velocity, anchor, mixed, "
            "residual"
        )
    return sympy.Function("mean_x")(t), process.kernel.factor[0, 0]
