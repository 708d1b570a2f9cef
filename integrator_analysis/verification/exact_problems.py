"""Problems that some schemes solve exactly, whatever the step: constant eps, Gaussian data of the anchor's variance.

Knows lowered programs and processes; runs no generated source. Whether a scheme is exact on a problem is decided by
the derived step, in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.gaussian import Eps, affine_step, gaussian_eps
from integrator_analysis.parametrisation.frames import variance
from integrator_analysis.processes import Process
from integrator_analysis.program.step_program import StepProgram

__all__ = ["ExactProblem", "exact_problems"]

STEPS = ((0.9, 0.2), (0.6, 0.55), (0.3, 0.05))
"""In fractions of t_max: long steps, since any scheme is nearly exact in short ones."""
EXACT = 1e-11
"""Relative to the result. Coefficients agree with their definitions to 1e-13, reference flows to 1e-13."""


@dataclass(frozen=True)
class ExactProblem:
    """The probability flow with an eps that is affine in z: ``eps(time)`` gives its matrix (k, k) and offset (k)."""

    name: str
    process: Process
    eps: Eps

    def steps(self, history: int) -> list[tuple[np.ndarray, float, float, list[float]]]:
        """States (n, k) at a start, the start, the end, and ``history`` earlier times, newest first."""
        k, whole = len(self.process.blocks), self.process.t_max
        states = np.vstack([np.eye(k), np.linspace(-1.5, 2.0, k)[None]])
        return [
            (states, a * whole, b * whole, [(a + 0.03 * (j + 1)) * whole for j in range(history)]) for a, b in STEPS
        ]

    def solution(
        self, z: np.ndarray, start: float, end: float, past: Sequence[float]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The exact states (n, k) at the times of ``past``, and at ``end``."""
        return self.flow(z, [start, *past]), self.flow(z, [start, end])[0]

    def flow(self, z: np.ndarray, times: Sequence[float]) -> list[np.ndarray]:
        """The exact states at all but the first of ``times`` from z (n, k) at the first, by scipy's DOP853."""
        process, shape = self.process, z.shape
        k = len(process.blocks)
        entries = [*process.drift, *(process.diffusion / 2)]
        values = function(entries, (t,), process.definitions, process.parameters)

        def slope(time: float, flat: np.ndarray) -> np.ndarray:
            state = flat.reshape(shape)
            drift, half = np.array(values(time), dtype=float).reshape(2, k, k)
            matrix, offset = self.eps(time)
            eps = state @ matrix.T + offset
            return (
                state @ drift.T + np.linalg.solve(np.linalg.cholesky(process.covariance(time)).T, eps.T).T @ half.T
            ).ravel()

        found, state = [], z.ravel()
        for begin, end in pairwise(times):
            state = solve_ivp(slope, (begin, end), state, method="DOP853", rtol=2.3e-14, atol=1e-16).y[:, -1]
            found.append(state.reshape(shape))
        return found


def exact_problems(program: StepProgram, table: CoefficientTable) -> list[ExactProblem]:
    """The problems on which all steps of ``ExactProblem.steps``, as derived, end in the exact state.

    None for a stochastic scheme, nor for a process whose networks do not return eps.
    """
    process = program.process
    if program.stochastic or process.network != "eps":
        return []
    k = len(process.blocks)
    tried = [ExactProblem("constant eps", process, lambda _: (np.zeros((k, k)), np.ones(k)))]
    width = program.parameters.get(variance)
    if width is not None:
        tried.append(ExactProblem("the anchor's Gaussian data", process, gaussian_eps(process, 0.0, float(width))))
    return [
        problem
        for problem in tried
        if all(_is_exact(program, table, problem, *s) for s in problem.steps(program.history))
    ]


def _is_exact(
    program: StepProgram,
    table: CoefficientTable,
    problem: ExactProblem,
    z: np.ndarray,
    start: float,
    end: float,
    past: Sequence[float],
) -> bool:
    """Whether one derived step, from the exact past, ends in the exact state."""
    k, history = len(program.blocks), program.history
    kept = np.zeros((len(z), 0))
    times = [start, *past]
    # a step maps to the new state and the output that it keeps, k entries each: those of earlier steps are the past
    for state, time, after in zip(problem.flow(z, times), past, times, strict=False):
        row = np.hstack([state, np.zeros((len(z), k * history))])
        earlier = affine_step(program, table, time, after, problem.eps)
        kept = np.hstack([kept, (row @ earlier.matrix.T + earlier.offset)[:, k : 2 * k]])
    step = affine_step(program, table, start, end, problem.eps, past)
    exact = problem.flow(z, [start, end])[0]
    result = (np.hstack([z, kept]) @ step.matrix.T + step.offset)[:, :k]
    return bool(np.abs(result - exact).max() <= EXACT * max(1.0, np.abs(exact).max()))
