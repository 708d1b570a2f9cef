"""The propagator E(s, t) = A_s^{-1} A_t of a conjugation, and other functions of the two ends of a step.

Knows linear flows and the noise between two times; knows no stage and no network. The global A is never formed: it
overflows and loses digits, while E of one step stays near I.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.matrices import commutes_with_integral, exponential
from integrator_analysis.algebra.special import cosh_sqrt, difference, log1p, sinhc_sqrt
from integrator_analysis.algebra.symbols import h, s, t, u
from integrator_analysis.methods.conjugation.transformed_ode import TransformedODE
from integrator_analysis.parametrisation.frames import turn, turn_definition
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.signal_to_noise import pull, ratio
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import clock, elapsed
from integrator_analysis.processes.kernel import cholesky, noise_between
from integrator_analysis.program.statements import advance

__all__ = [
    "Propagator",
    "advance_definitions",
    "named_parts",
    "ordered",
    "propagator_of",
    "ratio_difference",
    "spread_between",
    "two_time_matrix",
]

ratio_difference = sympy.Function("ratio_difference")
"""rho(t) - rho(s), with t - s as an exact factor."""


@dataclass(frozen=True)
class Propagator:
    """E(s, t) of one conjugation.

    ``closed`` is E(s, t) written out, or its names where it is an ``ordered`` exponential, which has no closed form.
    ``entries`` are the functions that name E's entries; ``definitions`` say what they stand for.
    """

    closed: sympy.Matrix
    entries: sympy.ImmutableMatrix
    definitions: Mapping[sympy.Function, Definition]
    ordered: bool = False

    def between(self, start: sympy.Expr, end: sympy.Expr) -> sympy.Matrix:
        """E(end, start) by its named entries; those that are plain numbers stand for themselves."""
        if start == end:
            return sympy.eye(self.closed.rows)
        return sympy.Matrix(
            *self.closed.shape,
            lambda i, j: self.closed[i, j] if self.closed[i, j].is_Rational else self.entries[i, j].func(start, end),
        )


def propagator_of(ode: TransformedODE) -> Propagator:
    """E(s, t) of the ODE z' = (L - B) z, in closed form where there is one, else as an ordered exponential."""
    par, process, named = ode.parametrisation, ode.process, bool(ode.b_entries)
    entries, m = ode.flow.entries, par.homogeneous
    table: dict[sympy.Function, Definition] = {}
    if not any(par.drift) and not named:
        closed = exponential(h * ode.matrix, process.parameters)
    elif m is not None and par.name != "eps" and not named:
        closed = sympy.Matrix([[m.xreplace({t: s}) / m * sympy.exp(h * ode.matrix[0, 0])]])
    elif par.turning is not None and not ode.conjugated:
        closed, table = _rotating_frame(par), {turn: turn_definition(par.turning)}
    elif _is_ordered(ode):
        return Propagator(sympy.Matrix(entries), entries, ordered(ode.flow), ordered=True)
    else:
        integral = h * ode.matrix - elapsed(t, s) * process.drift_per_unit
        closed, table = named_parts(exponential(integral, process.parameters))
    table |= {e.func: Definition((t, s), c) for e, c in zip(entries, closed, strict=True) if c != 0}
    return Propagator(closed, entries, table)


def _is_ordered(ode: TransformedODE) -> bool:
    """Whether B - L does not commute with its integral, or is not integrated in closed form here."""
    generator = (ode.matrix - ode.parametrisation.drift).applyfunc(ode.definitions.resolve)
    return bool(ode.b_entries) or any(ode.parametrisation.c_skip) or not commutes_with_integral(generator, t)


def _rotating_frame(par: Parametrisation) -> sympy.Matrix:
    """R_s R_t^{-1} with R = K Rot(theta), K the frame's factor: exact where exp(int L) is not."""
    factor, angle = sympy.Matrix(par.frame), turn(t, s)
    rotation = sympy.Matrix([[sympy.cos(angle), -sympy.sin(angle)], [sympy.sin(angle), sympy.cos(angle)]])
    return factor.xreplace({t: s}) * rotation * factor**-1


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


def advance_definitions(ode: TransformedODE) -> dict[sympy.Function, Definition]:
    """What ``advance``, the change of the step's variable from t to s, stands for, and rho(t) - rho(s).

    Both are written so that nothing cancels when t and s are close.
    """
    table: dict[sympy.Function, Definition] = {}
    if ode.size == 1:
        table[ratio_difference] = Definition((t, s), _ratio_difference_of_one_block(ode.process))
    elif ode.flow.variable is not None:
        table = _ratio_difference_by_information(ode.process)
    log_difference = log1p(ratio_difference(t, s) / ratio(s))
    body = {"t": -h, "rho": -ratio_difference(t, s), "log-SNR": log_difference}[ode.variable]
    return table | {advance: Definition((t, s), body)}


def _ratio_difference_of_one_block(process: Process) -> sympy.Expr:
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


def _ratio_difference_by_information(process: Process) -> dict[sympy.Function, Definition]:
    """rho(t) - rho(s) from the loss of information 1/rho_s**2 - 1/rho_t**2 = pull_s^T spread carry^T pull_t.

    carry = exp(int_s^t F), and spread is the noise between s and t: with Sigma_t = carry (Sigma_s + spread) carry^T
    and Psi_t = carry Psi_s both sides are Psi_s^T [Sigma_s^{-1} - (Sigma_s + spread)^{-1}] Psi_s.
    """
    spread, table = spread_between(process)
    forward = process.kernel.transition.xreplace({clock(t): elapsed(t, s)})
    carry = two_time_matrix("carry", process.blocks)
    table |= {name.func: Definition((t, s), e) for name, e in zip(carry, forward, strict=True)}
    at_t, at_s = pull(process), pull(process).xreplace({t: s})
    loss = sympy.Function("information_loss")
    factored = ((spread * at_s).T * (carry.T * at_t))[0]
    table[loss] = Definition((t, s), difference(1 / ratio(s) ** 2, 1 / ratio(t) ** 2, factored))
    rise = loss(t, s) * ratio(s) ** 2 * ratio(t) ** 2 / (ratio(s) + ratio(t))
    return table | {ratio_difference: Definition((t, s), rise)}


def spread_between(process: Process) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
    """The noise between s and t carried back to s, a symmetric matrix by its names, and what the names stand for.

    It is int_s^t E(s, u) G G^T E(s, u)^T du with E = exp(-int F), by which Sigma grows from s to t.
    """
    matrix, table = noise_between(replace(process, drift_per_unit=-process.drift_per_unit))
    k, lower = len(process.blocks), two_time_matrix("spread", process.blocks)
    symmetric = sympy.Matrix(k, k, lambda i, j: lower[max(i, j), min(i, j)])
    return symmetric, table | {
        symmetric[i, j].func: Definition((t, s), matrix[i, j]) for i in range(k) for j in range(i + 1)
    }
