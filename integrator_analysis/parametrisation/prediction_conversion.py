"""From what one network returns to what another would: n_wanted = skip z + scale n_given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.parametrisation import VELOCITY, Parametrisation
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process

__all__ = ["conversion", "network_from_eps"]


def conversion(wanted: Parametrisation, given: Parametrisation) -> tuple[sympy.Matrix, sympy.Matrix]:
    """(skip, scale), k x k, with n_wanted = skip z + scale n_given. Raises InputError where there is none."""
    size = len(given.process.blocks)
    if wanted.name == given.name:
        return sympy.zeros(size, size), sympy.eye(size)
    if wanted.name == VELOCITY:
        return given.drift_expression, given.eta_expression
    if given.name == VELOCITY and size > 1:
        raise InputError(f"a velocity does not give {wanted.name} on process {given.process.name}: G G^T is singular")
    inverse = wanted.c_out_inverse
    return (inverse * (given.c_skip - wanted.c_skip)).as_mutable(), (inverse * given.c_out).as_mutable()


def network_from_eps(process: Process) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """time -> (skip, scale), float64 k x k: what a network of ``process`` returns is skip z + scale eps."""
    k = len(process.blocks)
    if process.network == "eps":
        return lambda time: (np.zeros((k, k)), np.eye(k))
    given = parametrisation("eps", process)
    wanted = parametrisation(process.network, process)
    matrices = conversion(wanted, given)
    table = process.definitions.with_(given.definitions).with_(wanted.definitions)
    values = function([e for m in matrices for e in m], (t,), table, process.parameters)

    def at(time: float) -> tuple[np.ndarray, np.ndarray]:
        skip, scale = np.array(values(time), dtype=float).reshape(2, k, k)
        return skip, scale

    return at
