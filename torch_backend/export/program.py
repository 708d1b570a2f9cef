"""A step as a torch.export program in a .pt2 file, with the facts that its caller needs and its certificate.

Knows which schemes have such a step; computes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch_backend.export.text import check_certified
from torch_backend.loop import time_grid
from torch_backend.programs import export_step, facts_of, saved
from torch_backend.source import module_from_source

__all__ = ["STEPS", "check_program", "step_program"]

STEPS = 50
"""Uniform steps of the grid whose coefficients go into the file, where none is asked for."""


def check_program(source: str) -> None:
    """Raise ValueError, one sentence, for a scheme whose step cannot stand without its network."""
    module = module_from_source(source, "torch_backend_export_candidate")
    if getattr(module, "PRIMED", False):
        raise ValueError(
            f"{module.SPEC} reads an evaluation before its first step; export a module, or the loop with its network"
        )
    if hasattr(module, "B"):
        raise ValueError(f"{module.SPEC} takes a B for every step; export a module")


def step_program(source: str, certificate: Mapping[str, Any], times: Sequence[float] | None = None) -> bytes:
    """The content of the .pt2 file: the step over ``times``, and ``facts.json`` with its facts and its certificate.

    Raises ValueError as ``check_program`` and ``check_times`` do, and for a certificate of another source.
    """
    check_program(source)
    check_certified(source, certificate)
    module = module_from_source(source, "torch_backend_export_candidate")
    walk = time_grid("uniform", STEPS, module.T_MAX, module.T_MIN) if times is None else times
    return saved(export_step(module, walk), {**facts_of(module, walk), "certificate": dict(certificate)})
