"""The predicted x_0 = E[x_0 | z_t] from the state and what the network returns there: a step to no noise.

With Sigma = L L^T, u = L^{-1} Psi and zeta = L^{-1} z, what z says of x_0 is y = rho^2 u . zeta, rho = 1/|u|, and with
eps = zeta - u x_0 the prediction is x_0 = rho^2 u . (zeta - eps).
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.symbols import t
from integrator_analysis.parametrisation.parametrisation import VELOCITY
from integrator_analysis.parametrisation.prediction_conversion import conversion
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.parametrisation.signal_to_noise import measures, pull, ratio
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import rate, unit_diffusion

__all__ = ["data_weights", "tells_data"]


def tells_data(process: Process) -> bool:
    """Whether what networks of the process return tells x_0: a velocity on several blocks does not."""
    return process.network != VELOCITY or len(process.blocks) == 1


def data_weights(process: Process) -> tuple[tuple[sympy.Expr, ...], Mapping[sympy.Function, Definition]]:
    """(a_1, ..., a_k, b_1, ..., b_k), with x_0 = sum of a_i z_i + sum of b_i n_i; and what the names in them stand for.

    n is what networks of the process return. Empty where that does not tell x_0.
    """
    if not tells_data(process):
        return (), {}
    if process.network == VELOCITY:
        return _from_velocity(process), {}
    factor, blocks = process.kernel.factor, process.blocks
    if len(blocks) == 1:
        mean = sympy.Function(f"mean_{blocks[0]}")(t)
        state, output = sympy.Matrix([[1 / mean]]), sympy.Matrix([[-factor[0, 0] / mean]])
    else:
        pulled = ratio(t) ** 2 * pull(process)
        state, output = pulled.T, -pulled.T * factor
    network = parametrisation(process.network, process)
    skip, scale = conversion(parametrisation("eps", process), network)  # eps = skip z + scale n
    return (*(state + output * skip), *(output * scale)), {**measures(process), **network.definitions}


def _from_velocity(process: Process) -> tuple[sympy.Expr, ...]:
    """(a, b) on one block: z = alpha x_0 + sigma eps and n = alpha' x_0 + sigma' eps, solved for x_0.

    With dz = beta N z dt + sqrt(beta D) dw, alpha' = beta N alpha and (sigma^2)' = 2 beta N sigma^2 + beta D. Written
    out in t, since alpha may be 0 where a walk begins: what cancels must not be divided by it.
    """
    alpha, variance = (matrix[0, 0] for matrix in process.kernel.in_time)
    n, d, beta = process.drift_per_unit[0, 0], process.diffusion_per_unit[0, 0], process.definitions[rate].body
    if unit_diffusion in process.definitions:
        d = process.definitions[unit_diffusion].body
    weights = (2 * n * variance + d) / (d * alpha), -2 * variance / (beta * d * alpha)
    return tuple(sympy.simplify(weight) for weight in weights)
