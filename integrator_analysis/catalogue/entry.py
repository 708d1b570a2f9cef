"""What a catalogue entry is: a name, a method that can be lowered, the processes it is named on, and its source.

Knows no mathematics: the method's ``lower`` does everything, and order, stability, code and certificate follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from integrator_analysis.processes import Process
from integrator_analysis.program import StepProgram

__all__ = ["Method", "Scheme"]


class Method(Protocol):
    """Anything that becomes a step program on a process."""

    def lower(self, process: Process) -> StepProgram: ...


@dataclass(frozen=True)
class Scheme:
    """A named scheme. ``processes`` are those whose generated source is kept; ``summary`` says what it is."""

    name: str
    method: Method
    processes: tuple[str, ...]
    summary: str
    source: str
