"""What a catalogue entry is: a name, a method that can be lowered, the processes it is named on, and its source.

Knows no mathematics: the method's ``lower`` does everything, and order, stability, code and certificate follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrator_analysis.methods.method import Method

__all__ = ["Scheme"]


@dataclass(frozen=True)
class Scheme:
    """A named scheme. ``processes`` are those whose generated source is kept; ``summary`` says what it is."""

    name: str
    method: Method
    processes: tuple[str, ...]
    summary: str
    citation: str
