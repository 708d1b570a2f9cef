"""What every builder of step programs is: an object that is lowered on a process."""

from __future__ import annotations

from typing import Protocol

from integrator_analysis.processes import Process
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Method"]


class Method(Protocol):
    """Anything that becomes a step program on a process."""

    def lower(self, process: Process) -> StepProgram:
        """One step of the method on ``process``. Raises InputError where the method does not exist there."""
        ...
