"""Euler's method and Euler-Maruyama on the untransformed equations, in steps from t to t - h.

Their rows of linear terms and score terms are what splittings read as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.symbols import h, t
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.program.statements import Block, Combine, Evaluate, Noise, Output, Term
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Euler", "EulerMaruyama", "forward_step"]

START = Evaluate("eps_0", t)


def forward_step(
    process: Process, row: int, linear: sympy.Matrix, score_factor: sympy.Expr, size: sympy.Expr, evaluation: Evaluate
) -> tuple[str, tuple[Term, ...]]:
    """The update block <- block + size * (row of ``linear`` z + score_factor G G^T s), at the evaluation's time."""
    blocks, at = process.blocks, {t: evaluation.time}
    linear, diffusion = linear.xreplace(at), score_factor * process.diffusion.xreplace(at)
    terms = [Term(size * linear[row, j] + int(row == j), Block(b)) for j, b in enumerate(blocks)]
    terms += [Term(size * diffusion[row, j], Output(evaluation.name, b)) for j, b in enumerate(blocks)]
    return blocks[row], tuple(term for term in terms if term.coefficient != 0)


@dataclass(frozen=True)
class Euler:
    """Explicit Euler on the probability-flow ODE: the black-box baseline. Order 1, one evaluation per step."""

    def lower(self, process: Process) -> StepProgram:
        updates = [
            forward_step(process, row, -process.drift, sympy.Rational(1, 2), h, START)
            for row in range(len(process.blocks))
        ]
        return _program(
            process,
            (START, Combine(tuple(updates), "Euler step of all blocks")),
            ("Euler step of the probability-flow ODE in reverse time: z <- z + h [-F z + (1/2) G G^T s(z, t)].",),
        )


@dataclass(frozen=True)
class EulerMaruyama:
    """Euler-Maruyama on the reverse SDE: weak order 1, one evaluation per step."""

    def lower(self, process: Process) -> StepProgram:
        updates = []
        for row, block in enumerate(process.blocks):
            name, terms = forward_step(process, row, -process.drift, sympy.S.One, h, START)
            variance = process.diffusion[row, row]
            if variance != 0:
                terms = (*terms, Term(sympy.sqrt(h * variance), Noise(f"xi_{block}")))
            updates.append((name, terms))
        return _program(
            process,
            (START, Combine(tuple(updates), "Euler-Maruyama step of all blocks")),
            ("Euler-Maruyama step of the reverse SDE: z <- z + h [-F z + G G^T s(z, t)] + sqrt(h) G xi.",),
        )


def _program(process: Process, statements: tuple[Evaluate | Combine, ...], account: tuple[str, ...]) -> StepProgram:
    noisy = any(
        isinstance(term.operand, Noise)
        for st in statements
        if isinstance(st, Combine)
        for _, terms in st.updates
        for term in terms
    )
    return StepProgram(
        process=process,
        parametrisation=parametrisation("score", process).noisy(sympy.Integer(noisy)),
        statements=statements,
        definitions=process.definitions,
        parameters=process.parameters,
        account=account,
    )
