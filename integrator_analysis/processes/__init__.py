"""Forward diffusion processes, one per file. To add one: write its file, and name its family in _FAMILIES here.

One that is not to stay is added by ``register_process``, for the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from integrator_analysis.inputs import InputError, Parameter, did_you_mean
from integrator_analysis.processes.cld import CLD
from integrator_analysis.processes.ddpm import DDPM
from integrator_analysis.processes.edm import EDM
from integrator_analysis.processes.family import ProcessFamily
from integrator_analysis.processes.flow import FLOW
from integrator_analysis.processes.forward_process import Process
from integrator_analysis.processes.process_checks import check_name, check_process
from integrator_analysis.processes.psld import PSLD
from integrator_analysis.processes.subvp import SUB_VP
from integrator_analysis.processes.ve import VE
from integrator_analysis.processes.vp import VP
from integrator_analysis.processes.vp_cosine import VP_COSINE

__all__ = ["FAMILIES", "Process", "ProcessFamily", "process", "processes", "register_process"]

_FAMILIES = {family.name: family for family in (VP, SUB_VP, VP_COSINE, DDPM, VE, EDM, FLOW, PSLD, CLD)}

FAMILIES: Mapping[str, ProcessFamily] = MappingProxyType(_FAMILIES)


def processes() -> Mapping[str, ProcessFamily]:
    """The processes by name, those registered in this session included."""
    return FAMILIES


def register_process(family: ProcessFamily) -> ProcessFamily:
    """Add a process to those of this session, so that specs can name it: every scheme works on it.

    It is built once, with its published parameters, and checked. Raises InputError for a taken name, or for a process
    from which no sampler can be derived: shapes, covariances that are not positive definite, a negative schedule.
    """
    check_name(family.name, "process")
    if family.name in _FAMILIES:
        raise InputError(f"a process named {family.name!r} is known already; choose another name")
    made = family()
    if made.name != family.name:
        raise InputError(f"the family {family.name!r} builds a process named {made.name!r}; give both one name")
    check_process(made)
    _FAMILIES[family.name] = family
    return family


def process(name: str, **parameters: Parameter) -> Process:
    """The process ``name`` with its published parameters, or with those given.

    >>> process("psld").covariance(0.5).shape
    (2, 2)
    >>> process("ddpm", betas=(0.1, 0.2)).mean(2.0) ** 2  # alphas_cumprod[1] = 0.9 * 0.8
    array([[0.72]])

    Raises InputError for an unknown process, an unknown parameter or a value off its domain.
    """
    if name not in FAMILIES:
        raise did_you_mean(name, FAMILIES, "process")
    return FAMILIES[name](**parameters)
