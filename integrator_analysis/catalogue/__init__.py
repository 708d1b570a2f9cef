"""The named schemes, one family per file, each a few declarative lines. SCHEMES maps a scheme's name to its entry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from integrator_analysis.catalogue import baselines, conjugate, splitting
from integrator_analysis.catalogue.entry import Scheme

__all__ = ["SCHEMES", "Scheme"]

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {scheme.name: scheme for family in (baselines, conjugate, splitting) for scheme in family.SCHEMES}
)
