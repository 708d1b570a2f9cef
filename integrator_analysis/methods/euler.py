"""Euler's method and Euler-Maruyama on the equations as they stand, in steps of size h from t to t - h.

In reverse time the probability-flow ODE is dz = [-F z + (1/2) G G^T s] dh, and the reverse SDE
dz = [-F z + G G^T s] dh + G dw. Knows no conjugation and no splitting: these are the baselines of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.symbols import h, t
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.program.statements import Block, Combine, Evaluate, Noise, Output, Term
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Euler", "EulerMaruyama"]

START = Evaluate("eps_0", t)


def _forward_row(process: Process, row: int, score_factor: sympy.Expr) -> tuple[str, tuple[Term, ...]]:
    """The update block <- block + h * (row of -F z + score_factor G G^T s), with all at the step's start."""
    blocks, drift, diffusion = process.blocks, -process.drift, score_factor * process.diffusion
    terms = [Term(h * drift[row, j] + int(row == j), Block(b)) for j, b in enumerate(blocks)]
    terms += [Term(h * diffusion[row, j], Output(START.name, b)) for j, b in enumerate(blocks)]
    return blocks[row], tuple(term for term in terms if term.coefficient != 0)


@dataclass(frozen=True)
class Euler:
    """Explicit Euler on the probability-flow ODE: the black-box baseline. Order 1, one evaluation per step."""

    def lower(self, process: Process) -> StepProgram:
        """The step program; every process has one."""
        updates = [_forward_row(process, row, sympy.Rational(1, 2)) for row in range(len(process.blocks))]
        return _program(
            process,
            (START, Combine(tuple(updates), "Euler step of all blocks")),
            ("Euler step of the probability-flow ODE in reverse time: z <- z + h [-F z + (1/2) G G^T s(z, t)].",),
        )


@dataclass(frozen=True)
class EulerMaruyama:
    """Euler-Maruyama on the reverse SDE: weak order 1, one evaluation per step."""

    def lower(self, process: Process) -> StepProgram:
        """The step program; every process has one."""
        updates = []
        for row, block in enumerate(process.blocks):
            name, terms = _forward_row(process, row, sympy.S.One)
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
