"""Parametrisations in a frame in which eps is constant: gDDIM's rotating one, and the data anchor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.symbols import s, t, u
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.plain import eps_prediction
from integrator_analysis.processes import Process

__all__ = ["turn", "turn_definition", "variance"]


def turning_rate(process: Process, factor: sympy.Matrix) -> sympy.Expr:
    """theta' = (K^{-1} F K + (1/2) K^{-1} G G^T K^{-T})_12, so that R = K Rot(theta) solves
    R' = (F + (1/2) G G^T S^{-1}) R, for any S = K K^T that solves S' = F S + S F^T + G G^T, K lower triangular.

    With S = Sigma this is gDDIM's factor (arXiv 2206.05564); Rot = [[cos, sin], [-sin, cos]].
    """
    if len(process.blocks) != 2:
        raise InputError(f"process {process.name} has {len(process.blocks)} blocks; the rotating frame needs two")
    inverse = factor**-1
    return (inverse * process.drift * factor + inverse * process.diffusion * inverse.T / 2)[0, 1]


def eps_rotated_prediction(process: Process) -> Parametrisation:
    """s = -R^{-T} n with gDDIM's factor R, R R^T = Sigma: eps in the frame in which it is constant for point data.

    On one block R is sigma, and this is eps.
    """
    if len(process.blocks) == 1:
        return replace(eps_prediction(process), name="eps-rotated")
    return _constant_in_frame("eps-rotated", process, process.kernel.factor, {}, {})


def _constant_in_frame(
    name: str,
    process: Process,
    factor: sympy.Matrix,
    extra: Mapping[sympy.Function, Definition],
    parameters: Mapping[sympy.Symbol, sympy.Rational],
) -> Parametrisation:
    """s = -R^{-T} n with R = K Rot(theta), K = ``factor``: n is constant where R^{-1} z is. The angle is 0 at t_max."""
    k = len(process.blocks)
    rotation, table = sympy.eye(k), dict(extra)
    if k == 2:
        angle, end = sympy.Function("angle"), sympy.Rational(str(process.t_max))
        cos, sin = sympy.cos(angle(t)), sympy.sin(angle(t))
        rotation = sympy.Matrix([[cos, sin], [-sin, cos]])
        table |= {turn: turn_definition(turning_rate(process, factor)), angle: Definition((t,), turn(t, end))}
    return Parametrisation(
        name,
        process,
        sympy.zeros(k, k).as_immutable(),
        (-(factor.T**-1) * rotation).as_immutable(),
        homogeneous=sympy.Function("mean_x")(t) if k == 1 else None,
        frame=factor.as_immutable(),
        constant=(factor * rotation).as_immutable(),
        inverse=-rotation.T * factor.T,
        parameters=parameters,
        extra=table,
    )


variance = sympy.Symbol("v", positive=True)
"""The data's variance along one direction, for an anchored parametrisation."""

ANCHOR = sympy.Rational(1, 4)
"""The value of ``variance`` unless one is given: for analyses; samplers take those of the data."""


def marginal_factor(
    process: Process, v: sympy.Expr, prefix: str
) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
    """The lower Cholesky factor of S = v Psi Psi^T + Sigma, the covariance of z_t for data of variance v, by name.

    ``prefix`` tells one v from another: a program holds the definitions of two parametrisations.
    """
    k, blocks = len(process.blocks), process.blocks
    table: dict[sympy.Function, Definition] = {}

    def name(i: int, j: int) -> sympy.Expr:
        return sympy.Function(f"{prefix}_{blocks[i]}{blocks[j]}")(t)

    for i in range(k):
        for j in range(i + 1):
            means = sympy.Function(f"mean_{blocks[i]}")(t) * sympy.Function(f"mean_{blocks[j]}")(t)
            entry = v * means + sympy.Function(f"covariance_{blocks[i]}{blocks[j]}")(t)
            rest = entry - sum(name(i, m) * name(j, m) for m in range(j))
            table[name(i, j).func] = Definition((t,), sympy.sqrt(rest) if i == j else rest / name(j, j))
    return sympy.Matrix(k, k, lambda i, j: name(i, j) if j <= i else 0), table


def anchor_prediction(process: Process) -> Parametrisation:
    """The data anchor: s = -R^{-T} n with R R^T = S, the covariance of z_t for Gaussian data of variance v.

    For those data n = R^{-1} z is constant along a trajectory, so a step with B = 0 is exact; for v = 0 this is eps.
    z stands for the centred state z - Psi mean. v is a parameter: samplers take it per direction of the data.
    """
    if process.network != "eps":
        raise InputError(
            f"an anchored parametrisation centres the state, which a network that returns {process.network} would see; "
            f"process {process.name} is not accepted, those with eps networks are"
        )
    factor, table = marginal_factor(process, variance, "marginal")
    return _constant_in_frame("anchor", process, factor, table, {variance: ANCHOR})


turn = sympy.Function("turn")
"""turn(t, s) = theta(t) - theta(s), the angle by which the rotating frame turns from s to t."""


def turn_definition(turning: sympy.Expr) -> Definition:
    """turn as an integral of theta'."""
    return Definition((t, s), turning.xreplace({t: u}), integral=True)
