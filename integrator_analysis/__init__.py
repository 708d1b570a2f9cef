"""Integrators of diffusion generative models: derived with sympy, generated as torch source, verified by measurement.

    import integrator_analysis as ia
    i = ia.derive("psld/RVV")        # order, local error, stability, coefficients, source
    ia.verify("psld/RVV").passed     # every derived claim measured on the generated source

Conventions: t is forward diffusion time, t = 0 is data; a step goes from t to s = t - h, h > 0; the state z has k
blocks (position, momentum) of the data's shape, concatenated on dimension 1; network(z, t) returns eps.
"""

from __future__ import annotations

from collections.abc import Mapping

from integrator_analysis import figures, notation
from integrator_analysis.analysis.conditions import gaussian_slope_of_b, order_conditions, solve_conditions
from integrator_analysis.analysis.problems import MixtureProblem
from integrator_analysis.base_methods import Interpolatory, RungeKutta, Stage
from integrator_analysis.catalogue import SCHEMES, Scheme, register
from integrator_analysis.catalogue.entry import Method
from integrator_analysis.codegen import kernel_source
from integrator_analysis.conjugation import Conjugate
from integrator_analysis.integrator import Integrator, derive, verify
from integrator_analysis.processes import FAMILIES, Process, ProcessFamily, process, register_process
from integrator_analysis.processes.base import one_block
from integrator_analysis.splitting import Splitting
from integrator_analysis.symbols import InputError, t
from integrator_analysis.textfile import load_text
from integrator_analysis.words import Factor

__all__ = [
    "Conjugate",
    "Factor",
    "InputError",
    "Integrator",
    "Interpolatory",
    "Method",
    "MixtureProblem",
    "Process",
    "ProcessFamily",
    "RungeKutta",
    "Scheme",
    "Splitting",
    "Stage",
    "catalogue",
    "derive",
    "figures",
    "gaussian_slope_of_b",
    "kernel_source",
    "load_text",
    "notation",
    "one_block",
    "order_conditions",
    "process",
    "processes",
    "register",
    "register_process",
    "solve_conditions",
    "t",
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
