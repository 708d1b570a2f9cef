"""The stages of a conjugate integrator: states within a step, and the evaluations taken there."""

from __future__ import annotations

from integrator_analysis.methods.base_methods import Stage


def moments_needed(stage: Stage) -> int:
    """How many powers of x a stage integrates."""
    simplified = stage.rule != "integral" and len(stage.through) == 2
    return 1 if simplified else len(stage.through)


def evaluation_name(number: int) -> str:
    return f"eps_{number}" if number >= 0 else f"past_{-number}"
