"""The propagator E(s, t) of a conjugation by its named entries, and other functions of two times.

Knows linear flows; knows no stage and no network.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.special import cosh_sqrt, sinhc_sqrt
from integrator_analysis.algebra.symbols import h, s, t, u
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import clock, elapsed
from integrator_analysis.processes.kernel import cholesky

__all__ = ["named_parts", "ordered"]

ratio_difference = sympy.Function("ratio_difference")
"""rho(t) - rho(s), with t - s as an exact factor."""


def ordered(flow: LinearFlow) -> dict[sympy.Function, Definition]:
    """E(s, t) as the ordered exponential of the flow's generator."""
    generator = flow.generator.xreplace({t: u})
    return {e.func: Definition((t, s), sympy.Integer(n), generator=generator) for n, e in enumerate(flow.entries)}


def named_parts(matrix: sympy.Matrix) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
    """A 2 x 2 exponential with its scalar functions named, so that each is computed once and can be read."""
    table: dict[sympy.Function, Definition] = {}
    if matrix.rows > 1:
        parts = {sympy.exp: "growth", cosh_sqrt: "even_part", sinhc_sqrt: "odd_part"}
        discriminants = {atom.args[0] for kind in (cosh_sqrt, sinhc_sqrt) for atom in matrix.atoms(kind)}
        for value in discriminants:
            table[sympy.Function("discriminant")] = Definition((t, s), value)
            matrix = matrix.xreplace({value: sympy.Function("discriminant")(t, s)})
        for kind, name in parts.items():
            for atom in matrix.atoms(kind):
                table[sympy.Function(name)] = Definition((t, s), atom)
                matrix = matrix.xreplace({atom: sympy.Function(name)(t, s)})
    return matrix, table


def two_time_matrix(name: str, blocks: Sequence[str]) -> sympy.Matrix:
    """A matrix over blocks of functions of (t, s), named name_xx and so on."""
    size = len(blocks)
    return sympy.Matrix(size, size, lambda i, j: sympy.Function(f"{name}_{blocks[i]}{blocks[j]}")(t, s))


def lower_triangle(matrix: sympy.Matrix) -> sympy.Matrix:
    """The lower triangle, zero above."""
    return sympy.Matrix(*matrix.shape, lambda i, j: matrix[i, j] if j <= i else 0)


def ratio_difference_of(process: Process) -> sympy.Expr:
    """rho(t) - rho(s) of one block, rho = sigma/alpha, with t - s as an exact factor."""
    table = process.definitions
    moments = {c: table[c.func](t) for c in process.kernel.in_time[1][0, 0].atoms(AppliedUndef) if c.func != clock}
    transition, covariance = (m[0, 0].xreplace(moments).xreplace({t: u}) for m in process.kernel.in_time)
    mean, factor = sympy.Function("mean_x"), cholesky(process.blocks, 0, 0)
    rules = {
        clock: elapsed,
        mean: lambda t, s: stable_difference(transition, u, t, s, {clock: elapsed}, h),
        factor: lambda t, s: stable_difference(covariance, u, t, s, {clock: elapsed}, h) / (factor(t) + factor(s)),
    }
    return stable_difference(factor(u) / mean(u), u, t, s, rules, h)
