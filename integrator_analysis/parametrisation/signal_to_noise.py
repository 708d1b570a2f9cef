"""The signal-to-noise ratio of a process: rho, lambda = -log rho, their slopes, and the direction of z that tells x_0.

Knows the kernel's mean and covariance; knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.symbols import t
from integrator_analysis.processes import Process

__all__ = ["log_snr", "measures", "pull", "ratio", "slope_of"]

ratio = sympy.Function("ratio")
"""rho(t) = (Psi^T Sigma^{-1} Psi)^{-1/2}, sigma/alpha on one block: noise per unit of signal. What z_t says about x_0
can only decrease with t, so rho increases on every process."""

log_snr = sympy.Function("log_snr")
"""lambda(t) = -log rho(t), half the logarithm of the signal-to-noise ratio."""


def slope_of(variable: sympy.Function) -> sympy.Function:
    """The function that names the derivative of rho or lambda."""
    return sympy.Function(f"slope_{variable}")


def pull(process: Process) -> sympy.Matrix:
    """Sigma^{-1} Psi by its named entries: the direction of z that tells x_0."""
    return sympy.Matrix([sympy.Function(f"pull_{block}")(t) for block in process.blocks])


def measures(process: Process) -> Mapping[sympy.Function, Definition]:
    """What rho, lambda and their derivatives stand for, and on two blocks the entries of ``pull``.

    The slope of rho follows from (Psi^T Sigma^{-1} Psi)' = -|G^T Sigma^{-1} Psi|**2.
    """
    factor, blocks = process.kernel.factor, process.blocks
    table: dict[sympy.Function, Definition] = {}
    mean = sympy.Matrix([sympy.Function(f"mean_{b}")(t) for b in blocks])
    if len(blocks) == 1:
        body = factor[0, 0] / mean[0]
        slope = process.diffusion[0, 0] / (2 * mean[0] * factor[0, 0])
    else:
        body = 1 / sympy.sqrt(sum(e**2 for e in factor.lower_triangular_solve(mean)))
        named = pull(process)
        values = factor.T.upper_triangular_solve(factor.lower_triangular_solve(mean))
        table = {name.func: Definition((t,), value) for name, value in zip(named, values, strict=True)}
        slope = ratio(t) ** 3 * (named.T * process.diffusion * named)[0] / 2
    return table | {
        ratio: Definition((t,), body),
        log_snr: Definition((t,), -sympy.log(ratio(t))),
        slope_of(ratio): Definition((t,), slope),
        slope_of(log_snr): Definition((t,), -slope_of(ratio)(t) / ratio(t)),
    }
