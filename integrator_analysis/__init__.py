"""Integrators of diffusion generative models: derived with sympy, generated as torch source, verified by measurement.

    import integrator_analysis as ia
    i = ia.derive("psld/RVV")        # order, local error, stability, coefficients, source
    ia.verify("psld/RVV").passed     # every derived claim measured on the generated source

Conventions: t is forward diffusion time, t = 0 is data; a step goes from t to s = t - h, h > 0; the state z has k
blocks (position, momentum) of the data's shape, concatenated on dimension 1; network(z, t) returns eps.
"""

from __future__ import annotations

from collections.abc import Mapping

from integrator_analysis.catalogue import SCHEMES, Scheme, register
from integrator_analysis.inputs import InputError
from integrator_analysis.integrator import Integrator, derive, verify
from integrator_analysis.language.text_file import load_text
from integrator_analysis.methods.method import Method
from integrator_analysis.processes import FAMILIES, Process, ProcessFamily, register_process
from integrator_analysis.processes import make_process as process

__all__ = [
    "InputError",
    "Integrator",
    "Method",
    "Process",
    "ProcessFamily",
    "Scheme",
    "catalogue",
    "derive",
    "load_text",
    "process",
    "processes",
    "register",
    "register_process",
    "verify",
]
__version__ = "0.1.0"


def catalogue() -> Mapping[str, Scheme]:
    """The named schemes by spec, "process/scheme": those with kept generated source."""
    return {
        f"{name}/{scheme.name}": scheme for name in FAMILIES for scheme in SCHEMES.values() if name in scheme.processes
    }


def processes() -> Mapping[str, ProcessFamily]:
    """The processes by name."""
    return FAMILIES
