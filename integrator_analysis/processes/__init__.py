"""Forward diffusion processes, one per file. To add one: write its file, and name its family in FAMILIES here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from integrator_analysis.processes.base import Process, ProcessFamily
from integrator_analysis.processes.psld import PSLD
from integrator_analysis.processes.vp import VP
from integrator_analysis.symbols import did_you_mean

__all__ = ["FAMILIES", "Process", "ProcessFamily", "process"]

FAMILIES: Mapping[str, ProcessFamily] = MappingProxyType({family.name: family for family in (VP, PSLD)})


def process(name: str, **parameters: float) -> Process:
    """The process ``name`` with its published parameters, or with those given.

    >>> process("psld").covariance(0.5).shape
    (2, 2)

    Raises InputError for an unknown process, an unknown parameter or a value off its domain.
    """
    if name not in FAMILIES:
        raise did_you_mean(name, FAMILIES, "process")
    return FAMILIES[name](**parameters)
