"""What a catalogue entry is: a name, a method that can be lowered, the processes it is named on, and its citation.

Knows no mathematics: the method's ``lower`` does everything, and order, stability, code and certificate follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrator_analysis.methods.method import Method

__all__ = ["Scheme"]


@dataclass(frozen=True)
class Scheme:
    """A named scheme.

    ``processes`` are those for which generated source is committed. ``summary`` says in plain words what the method
    is, for someone who looks for it by name; ``citation`` is where it was published.
    """

    name: str
    method: Method
    processes: tuple[str, ...]
    summary: str
    citation: str
