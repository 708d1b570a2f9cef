"""How a network's output gives the score: s(z, t) = C_skip(t) z + C_out(t) eps(z, t).

Knows the kernel's Cholesky factor; knows no sampler. Epsilon prediction is C_skip = 0, C_out = -L^{-T} with
Sigma = L L^T the covariance of the perturbation kernel (arXiv 2310.07894, section 2; lower Cholesky factor).
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from integrator_analysis.processes import Process
from integrator_analysis.symbols import Definition, Definitions, t

__all__ = ["Parametrisation", "epsilon_prediction"]


@dataclass(frozen=True)
class Parametrisation:
    """``c_out`` is k x k in named functions of t; ``eta`` names -(1/2) G G^T C_out, the drift's factor of eps."""

    name: str
    c_out: sympy.ImmutableMatrix
    eta: sympy.ImmutableMatrix
    definitions: Definitions

    def drift_matrix(self, process: Process) -> sympy.Matrix:
        """L(t) = F - (1/2) G G^T C_skip of the probability-flow ODE z' = L z + eta eps; here C_skip = 0."""
        return process.drift


def epsilon_prediction(process: Process) -> Parametrisation:
    """s = -L^{-T} eps with the lower Cholesky factor of Sigma(t)."""
    c_out = -(process.kernel.factor.T**-1)
    eta = -process.diffusion * c_out / 2
    blocks, k = process.blocks, len(process.blocks)
    named = sympy.zeros(k, k)
    table = {}
    for i in range(k):
        for j in range(k):
            if eta[i, j] != 0:
                name = sympy.Function(f"eta_{blocks[i]}{blocks[j]}")
                named[i, j] = name(t)
                table[name] = Definition((t,), eta[i, j])
    return Parametrisation("eps", c_out.as_immutable(), named.as_immutable(), Definitions(table))
