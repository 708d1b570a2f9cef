"""Conjugate integrators: map z by A with A' = A (B - L), take a step there, map back.

Knows families of B, propagators E(s, t) = A_s^{-1} A_t and weights psi(s, t) = -int_s^t E(s, u) eta(u) du; knows no
splitting. The global A is never formed: it overflows and loses digits; only these local quantities enter a step.
Source: arXiv 2310.07894, section 3.1. Conjugate Euler is z_s = E(s, t) (I - h B) z_t + psi(s, t) eps_t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import sympy

from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.jets import LinearFlow
from integrator_analysis.algebra.matrices import commutes_with_integral, exponential, is_zero
from integrator_analysis.algebra.special import cosh_sqrt, sinhc_sqrt
from integrator_analysis.parametrisation import Parametrisation, epsilon_prediction
from integrator_analysis.processes import Process
from integrator_analysis.processes.base import as_rational
from integrator_analysis.processes.kernel import cholesky, clock, elapsed
from integrator_analysis.program import Block, Combine, Evaluate, Output, Quadrature, StepProgram, Term
from integrator_analysis.symbols import Definition, Definitions, InputError, h, s, t, u

__all__ = ["Conjugate", "lambda_"]

lambda_ = sympy.Symbol("lambda", real=True)
"""The strength of B = lambda I or lambda ones, in units of 1/time."""

FAMILIES = {
    "0": lambda k: sympy.zeros(k, k),
    "lambda*I": lambda k: lambda_ * sympy.eye(k),
    "lambda*ones": lambda k: lambda_ * sympy.ones(k, k),
}


@dataclass(frozen=True)
class Conjugate:
    """Conjugate Euler for B = 0, lambda I or lambda ones (constant in t). ``strength`` is lambda."""

    B: Literal["0", "lambda*I", "lambda*ones"] = "0"
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.B not in FAMILIES:
            raise InputError(f"B = {self.B!r} is not a known family; accepted: {', '.join(FAMILIES)}")

    def lower(self, process: Process) -> StepProgram:
        """The step program. Raises InputError where B - L does not commute with its integral."""
        parametrisation = epsilon_prediction(process)
        k, blocks = len(process.blocks), process.blocks
        matrix = FAMILIES[self.B](k)
        parameters = dict(process.parameters)
        if self.B != "0":
            parameters[lambda_] = as_rational(self.strength, "lambda")
        generator = matrix - parametrisation.drift_matrix(process)
        base = process.definitions.with_(parametrisation.definitions)
        propagator = LinearFlow.named("propagator", blocks, generator, sympy.eye(k), None, t, s)
        weight = LinearFlow.named(
            "weight", blocks, generator, sympy.zeros(k, k), parametrisation.eta.as_mutable(), t, s
        )

        closed, table = _named_parts(self._propagator(process, matrix, generator, base))
        table |= {e.func: Definition((t, s), c) for e, c in zip(propagator.entries, closed, strict=True) if c != 0}
        named = sympy.Matrix(k, k, lambda i, j: propagator.entries[i, j] if closed[i, j] != 0 else 0)
        weights, quadratures = self._weights(process, parametrisation, weight, named)
        definitions = base.with_(table).with_(weights)

        effective = named * (sympy.eye(k) - h * matrix)
        known = set(definitions) | {f for q in quadratures for f in q.functions}
        updates = []
        for i, block in enumerate(blocks):
            terms = [Term(effective[i, j], Block(b)) for j, b in enumerate(blocks) if effective[i, j] != 0]
            terms += [
                Term(weight.entries[i, j], Output("eps_0", b))
                for j, b in enumerate(blocks)
                if weight.entries[i, j].func in known
            ]
            updates.append((block, tuple(terms)))
        return StepProgram(
            process=process,
            parametrisation=parametrisation,
            unknown="eps",
            statements=(Evaluate("eps_0", t), Combine(tuple(updates), "conjugate Euler step of all blocks")),
            definitions=definitions,
            parameters=parameters,
            flows=(propagator, weight),
            quadratures=quadratures,
            derivation=self._derivation(
                matrix, parametrisation.drift_matrix(process), parametrisation.eta, quadratures
            ),
        )

    def _propagator(
        self, process: Process, matrix: sympy.Matrix, generator: sympy.Matrix, definitions: Definitions
    ) -> sympy.Matrix:
        """exp(int_s^t (B - L)), which is E(s, t) only where the integrand commutes with its own integral."""
        if not commutes_with_integral(generator.applyfunc(definitions.resolve), t):
            raise InputError(
                f"B = {self.B} on process {process.name}: B - L does not commute with its integral, "
                "so E(s, t) has no exponential form; accepted here: B = 0, lambda*I, or a constant noise schedule"
            )
        integral = (t - s) * matrix - elapsed(t, s) * process.drift_per_unit
        return exponential(integral, process.relations)

    def _weights(
        self, process: Process, parametrisation: Parametrisation, weight: LinearFlow, propagator: sympy.Matrix
    ) -> tuple[Mapping[sympy.Function, Definition], tuple[Quadrature, ...]]:
        if self.B == "0" and len(process.blocks) == 1:
            return _point_data_weight(process, weight.entries[0, 0].func), ()
        from_s_to_u = {t: u}
        integrand = -(propagator.xreplace(from_s_to_u) * parametrisation.eta.xreplace(from_s_to_u))
        kept = [(e.func, i) for e, i in zip(weight.entries, integrand, strict=True) if i != 0]
        return {}, (Quadrature(tuple(f for f, _ in kept), tuple(i for _, i in kept)),)

    def _derivation(
        self, matrix: sympy.Matrix, drift: sympy.Matrix, eta: sympy.Matrix, quadratures: tuple[Quadrature, ...]
    ) -> tuple[str, ...]:
        return (
            f"Conjugation by A' = A (B - L) with B = {self.B}: the probability-flow ODE z' = L z + eta eps becomes "
            "zhat' = A B A^{-1} zhat + A eta eps for zhat = A z.",
            f"Here L = F = {drift.tolist()}, eta = -(1/2) G G^T C_out = {eta.tolist()}, B = {matrix.tolist()}.",
            "One Euler step of that ODE, mapped back: z <- E(s, t) (I - h B) z + psi(s, t) eps, "
            "E(s, t) = A_s^{-1} A_t, psi(s, t) = -int_s^t E(s, u) eta(u) du.",
            "psi by Gauss-Legendre quadrature in sqrt(u), 32 nodes."
            if quadratures
            else "psi in closed form: -E(s, 0) times the difference of sigma/alpha, the antiderivative of A eta.",
        )


def _named_parts(matrix: sympy.Matrix) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
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


def _point_data_weight(process: Process, weight: sympy.Function) -> dict[sympy.Function, Definition]:
    """Definition of ``weight`` = psi(s, t) for B = 0 on one block: -alpha_s (Phi_t - Phi_s) with Phi = sigma/alpha.

    For data at a point eps is constant along a trajectory, so z = alpha x_0 + sigma eps solves the ODE, which makes
    sigma/alpha the antiderivative of A eta. That is checked by differentiation before it is used.
    """
    kernel = process.kernel
    b = sympy.Symbol("b", positive=True)
    in_clock = {clock(t): b}
    alpha = kernel.transition[0, 0].xreplace(in_clock)
    sigma = sympy.sqrt(kernel.covariance[0, 0].xreplace(in_clock))
    eta = process.diffusion_per_unit[0, 0] / (2 * sigma)
    drift = process.drift_per_unit[0, 0]
    residual = (sympy.diff(sigma / alpha, b) - sympy.exp(-drift * b) * eta).rewrite(sympy.exp)
    if not is_zero(sympy.simplify(residual)):
        raise ArithmeticError(f"sigma/alpha is not an antiderivative of A eta on process {process.name}")
    mean, factor = sympy.Function("mean_x"), cholesky(process.blocks, 0, 0)
    covariance = kernel.covariance[0, 0].xreplace({clock(t): clock(u)})
    transition = kernel.transition[0, 0].xreplace({clock(t): clock(u)})
    in_clock_time = {clock: elapsed}
    rules = in_clock_time | {
        mean: lambda t, s: stable_difference(transition, u, t, s, in_clock_time),
        factor: lambda t, s: stable_difference(covariance, u, t, s, in_clock_time) / (factor(t) + factor(s)),
    }
    ratio = sympy.Function("ratio_difference")
    return {
        ratio: Definition((t, s), stable_difference(factor(u) / mean(u), u, t, s, rules)),
        weight: Definition((t, s), -mean(s) * ratio(t, s)),
    }
