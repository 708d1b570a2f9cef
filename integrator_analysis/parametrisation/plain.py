"""Parametrisations without a rescaled input: score, residual, eps in the Cholesky frame, velocity."""

from __future__ import annotations

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.parametrisation import VELOCITY, Parametrisation
from integrator_analysis.processes import Process


def eps_prediction(process: Process) -> Parametrisation:
    """s = -Lchol^{-T} n, Sigma = Lchol Lchol^T: the noise, in the frame of the lower Cholesky factor."""
    k = len(process.blocks)
    c_out = -(process.kernel.factor.T**-1)
    homogeneous, power = (sympy.Function("mean_x")(t), sympy.S.One) if k == 1 else (None, None)
    zeros = sympy.zeros(k, k).as_immutable()
    inverse = -process.kernel.factor.T
    return Parametrisation("eps", process, zeros, c_out.as_immutable(), homogeneous, power, inverse=inverse)


def score_prediction(process: Process) -> Parametrisation:
    """s = n."""
    k = len(process.blocks)
    return Parametrisation("score", process, sympy.zeros(k, k).as_immutable(), sympy.eye(k).as_immutable())


def residual_prediction(process: Process) -> Parametrisation:
    """s = n - Sigma_inf^{-1} z: what the score has beyond that of the stationary distribution."""
    stationary = process.stationary_covariance
    if stationary is None:
        raise InputError(f"parametrisation residual needs a stationary distribution; {process.name} has none")
    c_skip = -(stationary**-1)
    return Parametrisation("residual", process, c_skip.as_immutable(), sympy.eye(len(process.blocks)).as_immutable())


def velocity_prediction(process: Process) -> Parametrisation:
    """n = z' on the probability-flow ODE: L = 0, eta = 1, the ODE as it stands (flow matching, arXiv 2210.02747)."""
    k = len(process.blocks)
    zeros = sympy.zeros(k, k).as_immutable()
    if k > 1:
        return Parametrisation(VELOCITY, process, zeros, zeros)
    drift, diffusion = process.drift[0, 0], process.diffusion[0, 0]
    return Parametrisation(VELOCITY, process, one_by_one(2 * drift / diffusion), one_by_one(-2 / diffusion))


def one_by_one(e: sympy.Expr) -> sympy.ImmutableMatrix:
    """The 1 x 1 matrix of ``e``."""
    return sympy.ImmutableMatrix([[e]])
