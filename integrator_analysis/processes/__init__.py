"""Forward diffusion processes, one per file. To add one: write its file, and name its family in FAMILIES here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from integrator_analysis.processes.base import Parameter, Process, ProcessFamily
from integrator_analysis.processes.cld import CLD
from integrator_analysis.processes.ddpm import DDPM
from integrator_analysis.processes.edm import EDM
from integrator_analysis.processes.flow import FLOW
from integrator_analysis.processes.psld import PSLD
from integrator_analysis.processes.subvp import SUB_VP
from integrator_analysis.processes.ve import VE
from integrator_analysis.processes.vp import VP
from integrator_analysis.processes.vp_cosine import VP_COSINE
from integrator_analysis.symbols import did_you_mean

__all__ = ["FAMILIES", "Process", "ProcessFamily", "process"]

FAMILIES: Mapping[str, ProcessFamily] = MappingProxyType(
    {family.name: family for family in (VP, SUB_VP, VP_COSINE, DDPM, VE, EDM, FLOW, PSLD, CLD)}
)


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
