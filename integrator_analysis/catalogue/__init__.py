"""The named schemes, one family per file, each a few declarative lines. SCHEMES maps a scheme's name to its entry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from integrator_analysis.catalogue import (
    classical,
    conjugate_splittings,
    ddim,
    deis,
    dpm_solver,
    exponential,
    splittings,
    unipc,
)
from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.inputs import InputError
from integrator_analysis.processes import FAMILIES

__all__ = ["SCHEMES", "Scheme", "catalogue", "register"]

_SCHEMES = {
    scheme.name: scheme
    for family in (classical, ddim, dpm_solver, deis, unipc, exponential, splittings, conjugate_splittings)
    for scheme in family.SCHEMES
}

SCHEMES: Mapping[str, Scheme] = MappingProxyType(_SCHEMES)


def catalogue() -> Mapping[str, Scheme]:
    """The named schemes by spec, "process/scheme": those whose generated source is kept."""
    return {
        f"{name}/{scheme.name}": scheme for name in FAMILIES for scheme in SCHEMES.values() if name in scheme.processes
    }


def register(scheme: Scheme) -> Scheme:
    """Add a scheme to the catalogue of this session, so that specs can name it. Raises InputError for a taken name."""
    if scheme.name in _SCHEMES:
        raise InputError(f"a scheme named {scheme.name!r} is in the catalogue already; choose another name")
    _SCHEMES[scheme.name] = scheme
    return scheme
