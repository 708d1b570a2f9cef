"""How long an expansion of a step program will take, estimated before it is begun.

Knows sizes of programs only. The estimate grows with blocks, order, evaluations (kept ones too) and noises. It tells
seconds from hours: for the schemes of the catalogue, to the order that they need and to one more, it lies within a
factor of ten of the time on one core of 2025.
"""

from __future__ import annotations

from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.parametrisation import PLAIN, VELOCITY
from integrator_analysis.program.step_program import StepProgram

__all__ = ["BUDGET", "check_budget", "expected_seconds"]

BUDGET = 120.0
"""Seconds that a derivation may be expected to take unless a user allows more; the whole catalogue takes 20."""

SETUP = 0.003
"""Seconds for each evaluation and order: rings, coefficients, series of a few terms."""
FIFTH, FIFTH_PER_BLOCK = 0.04, 17.0
"""Seconds for each evaluation at order five, on one block, and the factor for each block more."""
GROWTH, GROWTH_PER_BLOCK = 2.5, 3.2
"""The factor for each order more, on one block, and what it grows by for each block more."""
FEWER_JETS = dict.fromkeys(PLAIN, 8) | {VELOCITY: 50}
"""What is saved where the unknown is multiplied by constants, or by nothing: no jets of functions of time."""


def expected_seconds(program: StepProgram, order: int) -> float:
    """Return an estimate for the expansion of ``program`` through h**order, from its sizes."""
    fields = 1 + len(program.evaluations) + program.history
    more = len(program.blocks) - 1
    noises = len(program.noises) * (1 + program.history)
    # Setting up grows with the order alone, series by a factor for each order: that of order five is the measure.
    series = FIFTH * FIFTH_PER_BLOCK**more * (GROWTH * GROWTH_PER_BLOCK**more) ** (order - 5)
    if not noises:
        series /= FEWER_JETS.get(program.parametrisation.name, 1)
    return fields * (SETUP * order + series * (1 + noises))


def check_budget(program: StepProgram, order: int, budget: float) -> None:
    """Raise InputError where the estimate exceeds ``budget`` seconds; it names the estimate and how to allow it."""
    expected = expected_seconds(program, order)
    if not expected <= budget:
        raise InputError(
            f"the expansion through h**{order} on {len(program.blocks)} block(s) with {len(program.evaluations)} "
            f"evaluation(s) is expected to take about {expected:.2g} s, more than the budget of {budget:g} s; allow it "
            f"with budget={_round_up(expected)} in Python, --budget {_round_up(expected)} on the command line"
        )


def _round_up(seconds: float) -> str:
    """Return seconds that are enough, in two digits."""
    return f"{1.2 * seconds:.2g}" if seconds < 10 else f"{round(1.2 * seconds, -1):.0f}"
